"""An encoder under the name that the record of freezing has for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.run_trunk import ExecutionContext

_MAX_WINDOWS = 16
"""As in scoring."""


@dataclass(frozen=True, eq=False)
class NamedEncoder:
    """An encoder and its name.

    Attributes:
        name: `albert` or `bert`.
        backbone: Its weights.
        encoder: The same on the best device.
    """

    name: str
    backbone: Backbone
    encoder: Encoder

    @property
    def context(self) -> ExecutionContext:
        """Returns where texts are computed."""
        return ExecutionContext(self.encoder, TextTokenizer(self.backbone.tokenizer), _MAX_WINDOWS)


def open_named(name: str, source: str | Path) -> NamedEncoder:
    """Returns an encoder, as `open_backbone` takes it, on the best device."""
    backbone = open_backbone(source)
    return NamedEncoder(name, backbone, Encoder(backbone))
