"""Whether rows that are measured on had a part in the training of the task."""

from __future__ import annotations

from adapterhub.errors import AdapterHubError
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import Dataset, read_splits
from adapterhub.training.options import TrainingOptions


def earlier_use(
    data: object, dataset: Dataset, spec: TaskSpec, options: TrainingOptions
) -> str | None:
    """Returns which rows trained, chose or calibrated a task, or None where none are known to.

    Rows are compared by the digests in the head file: all rows, those that `train`
    draws from it by default, and those that it draws from a validation file.

    Args:
        data: The file or table.
        dataset: All of its rows.
        spec: The task.
        options: Names of columns.
    """
    record = spec.training
    if record is None:
        return None
    digest, rows = dataset.digest(), len(dataset)
    if digest == record.data_digest:
        return f"all {rows:,} rows are those that the task was trained on"
    if digest == record.validation_digest:
        return f"all {rows:,} rows chose the head and set its calibration"
    known = options.model_copy(update=_as_trained(dataset, spec))
    for changes in ({"folds": 0}, {"validation": data}):
        try:
            splits = read_splits(data, known.model_copy(update=changes))
        except AdapterHubError:
            continue  # Rows that nothing can be trained on have trained nothing.
        if "folds" in changes and splits.train.digest() == record.data_digest:
            return f"{record.rows:,} of {rows:,} rows are those that the task was trained on"
        if splits.validation.digest() == record.validation_digest:
            return f"{len(splits.validation):,} of {rows:,} rows chose the head"
    return None


def _as_trained(dataset: Dataset, spec: TaskSpec) -> dict[str, object]:
    """Returns the options of a training on these rows, as far as the head file has them."""
    record = spec.training
    changed: dict[str, object] = {"kind": spec.kind, "seed": 0 if record is None else record.seed}
    changed.update((str(role), name) for role, name in dataset.roles.items())
    if spec.row.names_labels:
        changed["labels"] = spec.labels
    if record is not None and record.join_tokens is not None:
        changed["join_tokens"] = record.join_tokens
    if spec.abstention is not None:
        changed["none_label"] = spec.abstention.none_label
    return changed
