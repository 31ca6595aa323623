"""The schema of an adapter."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, model_validator

from adapterhub.schema import Spec
from adapterhub.specs.names import Sha256, Site


class AdapterSpec(Spec):
    """The adapter of a task.

    Attributes:
        method: PEFT's name of the method in lower case, for instance `lora`, or `block`.
        depths: The passes that it changes, ascending: `d` is the pass from depth d to d + 1.
        sites: The linear maps that it changes.
        tie_depths: Whether all depths share the same adapter weights, as in plain PEFT.
        config: PEFT's configuration; empty for `block`.
        parameters: Number of parameters over all depths.
        digest: sha256 of the adapter; equal digests compute the same function.
    """

    method: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    depths: tuple[Annotated[int, Field(ge=0, le=1_023)], ...] = Field(min_length=1)
    sites: tuple[Site, ...] = Field(min_length=1)
    tie_depths: bool = False
    config: dict[str, JsonValue] = Field(default={})
    parameters: int = Field(ge=1)
    digest: Sha256

    @property
    def from_depth(self) -> int:
        """Returns the depth at which the branch of this adapter leaves the trunk."""
        return self.depths[0]

    @model_validator(mode="after")
    def _is_consistent(self) -> AdapterSpec:
        if list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"adapter depths {self.depths} are not ascending and distinct")
        if len(set(self.sites)) != len(self.sites):
            raise ValueError(f"adapter sites {self.sites} name one site twice")
        return self
