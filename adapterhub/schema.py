"""The base of everything that is stored as JSON in head files, registries and their like."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Spec(BaseModel):
    """Settings of all specs: frozen, strict, unknown fields refused, finite numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
    later: ClassVar[tuple[str, ...]] = ()
    """Fields that the first version did not have; left out of files where they are not set."""

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        for name in self.later:
            # Files from before a field existed keep their bytes, and so their sha256.
            if name in content and getattr(self, name) == type(self).model_fields[name].default:
                del content[name]
        return content
