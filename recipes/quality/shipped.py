"""The shipped tasks beside the TF-IDF baseline, on the validation rows that chose among both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from adapterhub.specs import BackboneSpec, Kind, Spec, TaskSpec
from adapterhub.store.atomic import write_atomic
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import Registry, read_registry
from adapterhub.training.data.dataset import Splits, read_splits
from adapterhub.training.options import MetricName, TrainingOptions
from recipes.quality.baseline import baseline
from recipes.quality.datasets import compared_metric, language_of


class QualityRow(Spec):
    """One task.

    Attributes:
        name: Its name.
        kind: Its kind.
        pair: Whether on text pairs.
        language: `zh` where most of its signs are Han, else `en`.
        train: Training rows used.
        validation: Validation rows.
        metric: The metric that is compared.
        head: That of the head.
        baseline: That of TF-IDF + logistic regression.
        depths: The depths that the head reads.
        pooling: How it pools.
        hidden_width: Width of its hidden layer, or None.
        apart: Whether it encodes the two texts of a pair separately.
        ngrams: How many n-grams of word pieces it has, or None.
        from_depth: Where its adapter starts, or None.
    """

    name: str
    kind: Kind
    pair: bool
    language: str
    train: int
    validation: int
    metric: MetricName
    head: float
    baseline: float
    depths: tuple[int, ...]
    pooling: str
    hidden_width: int | None
    apart: bool = False
    ngrams: int | None = None
    from_depth: int | None = None


class Quality(Spec):
    """All results of one backbone.

    Attributes:
        backbone: What the heads were fitted on.
        rows: One per task.
        baselines: Values of the baseline by digest of rows and metric, for any backbone.
    """

    backbone: BackboneSpec
    rows: tuple[QualityRow, ...] = ()
    baselines: dict[str, float] = Field(default_factory=dict)


def measure_tasks(
    tasks: Mapping[str, tuple[Path, TrainingOptions]], *, registry: Path, record: Path
) -> Quality:
    """Returns the metrics of existing tasks, and adds them to `record`.

    Args:
        tasks: Training file and options of the data set of each; what a task learned beside it
            is left out.
        registry: Has the tasks.
        record: File of the metrics; a baseline on the same rows is not fitted again.
    """
    known = read_registry(registry)
    specs = {name: _newest(known, name) for name in tasks}
    backbone = next(iter(specs.values())).backbone
    figures = _read_record(record, backbone)
    baselines = dict(figures.baselines)
    rows = {row.name: row for row in figures.rows if row.name in known.tasks}
    for name, (file, options) in tasks.items():
        splits = read_splits(file, options)
        rows[name] = _row(name, specs[name], splits, _baseline(splits, baselines))
        changes = {"rows": tuple(rows.values()), "baselines": baselines}
        figures = figures.model_copy(update=changes)
        write_atomic(record, figures.model_dump_json(indent=1).encode(), replace=True)
    return figures


def _newest(known: Registry, name: str) -> TaskSpec:
    found = known.resolve(name)
    return read_head(found.path, sha256=found.record.sha256).spec


def _baseline(splits: Splits, known: dict[str, float]) -> float:
    """Returns the metric of the baseline, and adds it to the known ones."""
    metric = compared_metric(splits.train.kind)
    key = f"{splits.train.digest()}:{splits.validation.digest()}:{metric}"
    if key not in known:
        figures = {found.name: found.value for found in baseline(splits, metric=metric)}
        known[key] = figures[metric]
    return known[key]


def _row(name: str, spec: TaskSpec, splits: Splits, reached: float) -> QualityRow:
    metric = compared_metric(spec.kind)
    figures = {found.name: found.value for found in spec.metrics}
    return QualityRow(
        name=name,
        kind=spec.kind,
        pair=len(spec.fields) == 2 and not spec.row.of_choices,
        language=language_of(splits.train),
        train=len(splits.train),
        validation=len(splits.validation),
        metric=metric,
        head=figures[metric],
        baseline=reached,
        depths=spec.head.depths,
        pooling=spec.head.pooling,
        hidden_width=spec.head.hidden_width,
        apart=spec.apart,
        ngrams=spec.head.ngrams,
        from_depth=None if spec.adapter is None else spec.adapter.from_depth,
    )


def _read_record(record: Path, backbone: BackboneSpec) -> Quality:
    if record.is_file():
        known = Quality.model_validate_json(record.read_bytes())
        if known.backbone.fingerprint == backbone.fingerprint:
            return known
        return Quality(backbone=backbone, baselines=known.baselines)
    return Quality(backbone=backbone)
