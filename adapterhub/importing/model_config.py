"""What the config.json of a classifier of transformers says about its task; without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.errors import AdapterError
from adapterhub.families import FAMILIES
from adapterhub.kinds import KINDS, Kind
from adapterhub.model.backbone.config import CONFIG_FILE
from adapterhub.peft.saved_files import CLASSIFIERS, Reads

_KINDS: Mapping[str | None, Kind] = {
    row.problem_type: row.name for row in reversed(tuple(KINDS.values()))
}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a config.json of transformers contains about a task.

    Attributes:
        reads: What the model predicts for; None if not given.
        kind: The kind of problem it was trained for; None if not given.
        labels: Its labels in order; empty if not given.
    """

    reads: Reads | None = None
    kind: Kind | None = None
    labels: tuple[str, ...] = ()


def read_model_config(folder: Path) -> ModelConfig:
    """Returns what the config.json of a folder contains; empty if there is none.

    Raises:
        AdapterError: It is not valid, or its model is no classifier of texts, tokens or choices.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return ModelConfig()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        architectures = [*(values.get("architectures") or []), None]
        names = values.get("id2label") or {}
        labels = tuple(str(names[str(index)]) for index in range(len(names)))
    except (OSError, ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
        raise AdapterError(folder, f"{CONFIG_FILE} is not valid: {error!r}") from error
    architecture = str(architectures[0])
    encoders = {f"{family.title}Model" for family in FAMILIES.values()}
    if architectures[0] is not None and architecture not in encoders | CLASSIFIERS.keys():
        raise AdapterError(
            folder,
            f"it is an {architecture[:80]}; expected {_expected(values)}, whose classifier is a "
            f"head",
        )
    return ModelConfig(
        reads=CLASSIFIERS.get(architecture),
        kind=_KINDS.get(str(values.get("problem_type"))),
        labels=labels,
    )


def _expected(values: Mapping[str, Any]) -> str:
    """Returns the classes of classifiers that a config could have named."""
    named = [family for name, family in FAMILIES.items() if name == values.get("model_type")]
    titles = [family.title for family in named or FAMILIES.values()]
    shown = titles[0] if named else f"[{'|'.join(titles)}]"
    ends = ("SequenceClassification", "TokenClassification", "MultipleChoice", "QuestionAnswering")
    *first, last = (f"{shown}For{end}" for end in ends)
    return f"{', '.join(first)} or {last}"
