"""Rows with one label of a tree, a leaf or one that has others below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from adapterhub.errors import UsageError, nearest
from adapterhub.kinds import KINDS
from adapterhub.label_trees import check_tree, parents_above, parents_by
from adapterhub.specs import MAX_LABELS
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.kinds.multi_label import MultiLabelReader
from adapterhub.training.data.kinds.reader import Numbers, TextReader, Truth
from adapterhub.training.data.labels import Target
from adapterhub.training.data.records import Records
from adapterhub.training.data.values import read_label
from adapterhub.training.options import TrainingOptions


class LabelTreeReader(TextReader):
    """Reads a label per text; its place in the tree follows from its name, or from a mapping."""

    kind = "label_tree"

    def claim(self, records: Records, options: TrainingOptions) -> str | None:
        """Returns the target where the options give a tree and no kind."""
        if options.kind is not None or (options.tree is None and not options.parents):
            return None
        usual = (name for name in KINDS[self.kind].targets if name in records.columns)
        return options.target or next(usual, None)

    def columns(self, columns: Columns, records: Records, options: TrainingOptions) -> Columns:
        """Returns the columns, with the tree of the options."""
        del records
        return replace(columns, tree=options.tree or "", parents=options.parents)

    def reading(self, records: Records, columns: Columns) -> Callable[[object], Truth]:
        """Returns what reads the label of a row."""
        del records
        known = {*columns.parents, *filter(None, columns.parents.values())}

        def read(value: object) -> str:
            label = read_label(value)
            if columns.tree:
                _check_parts(label, columns.tree)
            elif known and label not in known:
                hint = nearest(label, known)
                meant = f"; did you mean {shown(hint)}?" if hint else ""
                raise ValueError(
                    f"is {shown(label)}, which the option parents (--parents FILE) does not have"
                    f"{meant}"
                )
            return label

        return read

    def parents(
        self, names: Sequence[str], columns: Columns | None, records: Records
    ) -> dict[str, str]:
        """Returns the label above each, for those that rows have or that stand above these."""
        if columns is None or not (columns.tree or columns.parents):
            raise UsageError(
                "A label_tree task needs the tree of its labels: the option tree (--tree .) names "
                "what stands between the levels in a label, parents (--parents FILE) the label "
                "above each."
            )
        if columns.tree:
            parents = parents_by(columns.tree, names)
            hint = f"no label has {shown(columns.tree)} in it, such as {shown(names[0])}"
        else:
            parents = parents_above(names, columns.parents)
            hint = "no label of the rows stands under another one"
        if not parents:
            records.refuse(f"{hint}; such labels are no tree, and their kind is 'single_label'")
        leaves = set(names) - set(parents.values())
        if len(leaves) < 2:
            records.refuse(f"all training rows are about '{leaves.pop()}'; nothing can be learned")
        if len(parents) > 2 * MAX_LABELS:
            records.refuse(f"the tree has {len(parents)} labels, at most {2 * MAX_LABELS} can be")
        try:
            check_tree(leaves, parents)
        except ValueError as error:
            records.refuse(str(error))
        return parents

    def truth(self, targets: Sequence[Target], labels: Sequence[str]) -> Numbers:
        """Returns which leaves each row may have: (N, K) float32 zeros and ones."""
        return MultiLabelReader().truth(targets, labels)


def _check_parts(label: str, separator: str) -> None:
    """Checks that a label has a name at every level.

    Raises:
        ValueError: It does not.
    """
    parts = label.split(separator)
    if not all(part.strip() for part in parts):
        raise ValueError(f"is {shown(label)}, where nothing stands beside a {shown(separator)}")
    if any(part != part.strip() for part in parts):
        raise ValueError(
            f"is {shown(label)}, with spaces around {shown(separator)}; write them into the option "
            f"tree, or leave them out of the labels"
        )
