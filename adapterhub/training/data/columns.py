"""Which columns of labelled rows are read, and what they are."""

from __future__ import annotations

from dataclasses import dataclass

from adapterhub.choices.columns import ChoiceColumns
from adapterhub.kinds import KINDS, Kind, Role

# Scoring reads these fields whatever the columns of a training file are called, so that all
# tasks on one text share one pass.
TEXT = "text"
TEXT_PAIR = "text_pair"
DESCRIPTION = "description"
"""The usual column of what a label is for, where rows have no text."""
OFFSETS = "offsets"
"""The column of the start and end of each word in the text."""
HEADS = "head"
"""The usual column of heads."""
(RELATIONS,) = KINDS["parsing"].targets
"""The usual column of the relations of words to their heads."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What is read from each record.

    Attributes:
        kind: Kind of the task.
        inputs: The text column, or two for a pair; for tagging the column of words.
        target: The column of the target; empty where rows need none.
        labels: Those of an existing task, in its order; empty for a new one.
        unread: All other columns.
        hints: What some of them may be meant for; see `summary`.
        heads: Parsing: the column of heads; empty otherwise.
        placed: Parsing: the column of texts, if there is any, and that of the offsets of words.
        choices: Multiple choice: the columns of prompt and choices, which `inputs` has in order.
        choice_names: The names by which they are found in each row; empty otherwise.
        starts: Question answering: the column of the starts of answers; empty for none.
    """

    kind: Kind
    inputs: tuple[str, ...]
    target: str
    labels: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    heads: str = ""
    placed: tuple[str, str] | None = None
    choices: ChoiceColumns | None = None
    choice_names: tuple[str, ...] = ()
    starts: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Returns the input fields of the task in scoring."""
        row = KINDS[self.kind]
        usual = row.input_fields or (TEXT, TEXT_PAIR)
        # Of pairs each text is read by itself.
        return usual[: min(len(self.inputs), max(row.fields))]

    @property
    def used(self) -> tuple[str, ...]:
        """Returns the columns that every row must have."""
        more = (name for name in (self.heads, self.starts, self.target) if name)
        return (*self.inputs, *more)

    @property
    def roles(self) -> dict[Role, str]:
        """Returns the column that is read, by what it is."""
        roles = KINDS[self.kind].reads
        more: dict[Role, str] = {"heads": self.heads, "starts": self.starts, "target": self.target}
        more = {role: name for role, name in more.items() if name}
        inputs = self.inputs if self.choices is None else self.choices.names
        return {**dict(zip(roles, inputs, strict=False)), **more}


def choice(*kinds: Kind) -> str:
    """Returns what to write to choose one of some kinds."""
    flags = [f"--kind {kind} (in Python kind='{kind}')" for kind in kinds]
    return f"choose {', '.join(flags[:-1])}{' or ' if flags[1:] else ''}{flags[-1]}"


ONE_EACH = "--kind single_label (in Python kind='single_label') if each is one label"
