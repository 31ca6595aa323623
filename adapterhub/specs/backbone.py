"""The schema of the backbone of a task."""

from __future__ import annotations

from pydantic import Field

from adapterhub.families import FamilyName
from adapterhub.schema import Spec
from adapterhub.specs.names import Fingerprint


class BackboneSpec(Spec):
    """The backbone of a task.

    Attributes:
        name: A Hub name, `package:<name>`, or the name of a folder.
        revision: Commit on the Hub; None for a folder or a shipped backbone.
        fingerprint: sha256 over weights, settings and tokenizer.
        hidden_size: Width H of the hidden states.
        num_hidden_layers: Depth D of the backbone.
        family: Its `model_type` in transformers.
    """

    later = ("family",)
    name: str = Field(min_length=1, max_length=256)
    revision: str | None = None
    fingerprint: Fingerprint
    hidden_size: int = Field(ge=1, le=65_536)
    num_hidden_layers: int = Field(ge=1, le=1_024)
    family: FamilyName = "albert"


def identity(backbone: BackboneSpec) -> str:
    """Returns name, revision and fingerprint of a backbone, shortened for messages."""
    revision = f"@{backbone.revision[:12]}" if backbone.revision else ""
    return f"{backbone.name}{revision} ({backbone.fingerprint[:19]}…)"
