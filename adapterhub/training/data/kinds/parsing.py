"""Rows of words with heads and relations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from adapterhub.errors import UsageError
from adapterhub.kinds import INSIDE, USUAL_TARGETS
from adapterhub.training.data.columns import HEADS, OFFSETS, RELATIONS, Columns, choice
from adapterhub.training.data.kinds.reader import Example, Reader
from adapterhub.training.data.labels import Target, find_labels
from adapterhub.training.data.records import Records
from adapterhub.training.data.words.tree_rows import read_tree
from adapterhub.training.data.words.trees import Arc
from adapterhub.training.data.words.units import have_parts
from adapterhub.training.options import TrainingOptions


class ParsingReader(Reader):
    """Reads dependency trees."""

    kind = "parsing"

    def claim(self, records: Records, options: TrainingOptions) -> str | None:
        """Returns the column of relations, where rows of words are trees.

        Raises:
            UsageError: They have heads and tags, and neither kind nor target is given.
        """
        if options.kind is None and options.heads != HEADS:  # who names heads means a tree
            return options.target or RELATIONS
        names = records.columns
        has_trees = {options.tokens, options.heads, RELATIONS} <= set(names)
        if options.target is not None or not has_trees:
            return None
        if options.kind is not None:
            return RELATIONS if options.kind == self.kind else None
        if "tags" in names:
            raise UsageError(
                f"The rows have tags and dependency trees; {choice('tagging', 'parsing')}."
            )
        # A label beside the words of a text was the target before there was parsing, and still is.
        return None if any(name in names for name in USUAL_TARGETS) else RELATIONS

    def columns(self, columns: Columns, records: Records, options: TrainingOptions) -> Columns:
        """Returns which columns to read; texts with the offsets of words where there are any."""
        has_text = any(options.text in record.values for record in records.rows)
        placed = (options.text, OFFSETS) if has_text else None
        return replace(columns, heads=options.heads, placed=placed)

    def parse(self, records: Records, columns: Columns) -> list[Example]:
        """Returns the examples of all rows."""
        return [Example((), read_tree(records, record, columns)) for record in records.rows]

    def labels(
        self, inputs: Sequence[tuple[str, ...]], targets: Sequence[Target], records: Records
    ) -> tuple[str, ...]:
        """Returns the relations, with that of units inside a word if there are any."""
        labels = find_labels(self.kind, targets, records)
        trees = cast("Sequence[tuple[Arc, ...]]", targets)
        return (*labels, INSIDE) if have_parts((texts[0] for texts in inputs), trees) else labels
