"""Descriptions as examples, and the examples that can be left out to measure on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS, Kind
from adapterhub.training.data.labels import Target
from adapterhub.training.data.values import read_label, read_text
from adapterhub.training.options import TrainingOptions

Inputs = tuple[str, ...]

NOTHING_TO_CHOOSE_BY = (
    "no label has two examples, of which one could be left out to choose by when the task does not "
    "answer; give more examples, or leave out min_accuracy and none_label"
)

_HARMLESS: Mapping[str, Any] = {"hidden_widths": (), "ngrams": False, "mixes": False}
"""Options of fitting with the values that leave out what prototypes do not have."""
_OF_FITTING = (
    *_HARMLESS,
    *("mentions", "parser_widths", "head_dropout", "learning_rates", "weight_decays"),
    *("epochs", "batch_size", "folds", "tune"),
)


def check_unfitted(options: TrainingOptions, kind: Kind) -> None:
    """Checks that the options ask for nothing that a head without fitted weights has not.

    Raises:
        UsageError: One does.
    """
    if not KINDS[kind].prototypes:
        if options.descriptions:
            raise UsageError(
                f"Option descriptions (--describe) is for prototypes, but the data make a {kind} "
                f"task; choose --kind prototype (in Python kind='prototype')."
            )
        return
    if options.adapter is not None:
        raise UsageError(
            "A prototype task trains no adapter: it has no training steps. To read the adapter of "
            "another task, name that with the option adapter_of (--adapter-of TASK)."
        )
    for name in _OF_FITTING:
        value = getattr(options, name)
        is_given = name in options.model_fields_set and value is not None
        if is_given and value != _HARMLESS.get(name, TrainingOptions.model_fields[name].default):
            raise UsageError(
                f"Option {name} is for heads whose weights are fitted; a prototype task has none, "
                f"only the mean of each label's examples. Leave it out."
            )


def described(
    descriptions: Mapping[str, str], none_label: str | None
) -> tuple[tuple[Inputs, ...], tuple[Target, ...]]:
    """Returns descriptions as rows: inputs and labels.

    Raises:
        UsageError: A label or a sentence is empty, or too long, or the label means none of them.
    """
    inputs: list[Inputs] = []
    labels: list[Target] = []
    for name, sentence in descriptions.items():
        for what, read, value in (("label", read_label, name), ("sentence", read_text, sentence)):
            try:
                read(value)
            except ValueError as error:
                problem = f"{str(error).rstrip('.')}."
                raise UsageError(f"Descriptions: the {what} of '{name}' {problem}") from error
        labels.append(read_label(name))
        if labels[-1] == none_label:
            raise UsageError(
                f"Descriptions: '{name}' is the none_label, which becomes no label of the task; "
                f"leave its description out."
            )
        inputs.append((read_text(sentence),))
    return tuple(inputs), tuple(labels)


def that_can_be_left_out(
    targets: Sequence[Target], groups: Sequence[int], examples: int
) -> tuple[int, ...]:
    """Returns the rows whose label still has another text without them.

    Args:
        targets: The label of each row.
        groups: A number for each row, the same for texts that are hardly told apart.
        examples: Only so many of the rows, from the first, are candidates; the others describe.
    """
    texts: dict[Target, set[int]] = defaultdict(set)
    for label, group in zip(targets, groups, strict=True):
        texts[label].add(group)
    return tuple(row for row in range(examples) if len(texts[targets[row]]) > 1)
