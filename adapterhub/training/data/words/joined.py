"""Words of examples -> the text that they are of, with their targets in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapterhub.training.data.kinds.reader import Example
from adapterhub.training.data.labels import Target
from adapterhub.training.data.tagging import TaggedWords, are_characters, join_words
from adapterhub.training.data.words.trees import ParsedWords, join_tree
from adapterhub.training.options import Joining


def joining_of(examples: Sequence[Example], joining: Joining) -> Joining:
    """Returns how the words of examples are joined, given the option that says it."""
    if joining != "auto":
        return joining
    words = (example.truth for example in examples)
    tagged = [truth for truth in words if isinstance(truth, TaggedWords)]
    return "none" if are_characters(tagged) else "auto"


def joined_rows(
    examples: Iterable[Example], joining: Joining
) -> tuple[tuple[tuple[str, ...], ...], tuple[Target, ...]]:
    """Returns inputs and targets of examples."""
    rows = [_joined_row(example, joining) for example in examples]
    return tuple(inputs for inputs, _ in rows), tuple(target for _, target in rows)


def _joined_row(example: Example, joining: Joining) -> tuple[tuple[str, ...], Target]:
    if isinstance(example.truth, ParsedWords):
        parsed = join_tree(example.truth, joining)
        return (parsed.text,), parsed.arcs
    if not isinstance(example.truth, TaggedWords):
        return example.inputs, example.truth
    spanned = join_words(example.truth, joining)
    return (spanned.text,), spanned.spans
