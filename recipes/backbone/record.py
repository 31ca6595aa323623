"""What a tuned checkpoint has seen, kept beside its weights for the model card."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from recipes.backbone.checkpoints import Progress

_NAME = "tuning.json"


@dataclass(frozen=True)
class TuningRecord:
    """The sources of a tuning run.

    Attributes:
        start: Where the run was that it started from.
        sets: Rows of each labelled set or text.
        vectors: Sentences of each teacher and language.
    """

    start: Progress
    sets: dict[str, int]
    vectors: dict[str, int]


def write_record(record: TuningRecord, checkpoint: Path) -> None:
    """Writes `tuning.json`."""
    (checkpoint / _NAME).write_text(json.dumps(asdict(record), indent=2) + "\n")


def read_record(checkpoint: Path) -> TuningRecord | None:
    """Returns the record of a checkpoint; None when it was not tuned."""
    path = checkpoint / _NAME
    if not path.is_file():
        return None
    fields = json.loads(path.read_text())
    return TuningRecord(start=Progress(**fields.pop("start")), **fields)
