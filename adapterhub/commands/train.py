"""`adapterhub train`: rows with answers in, a task in the registry out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from adapterhub.commands import train_adapter_options as adapted
from adapterhub.commands import train_options as given
from adapterhub.commands.options import AsJson, Backbone, RegistryToWrite, one_of
from adapterhub.commands.printing import counted, note, print_json, print_line
from adapterhub.errors import UsageError

if TYPE_CHECKING:
    from adapterhub.specs import AdapterSpec
    from adapterhub.training.adapters.result import AdapterRow, AdapterTable
    from adapterhub.training.finalize import TrainedTask
    from adapterhub.training.heads.table import SearchTable, TableRow
    from adapterhub.training.options import TrainingOptions

_LISTS = ("depths", "poolings", "hidden_widths", "languages", "aliases")
_NUMBERS = ("learning_rates", "weight_decays", "value_range")
_WHOLE = ("depths", "hidden_widths")
_SIZES = ("cache_max_bytes", "memory_bytes")
# What is an argument of `train` itself, not a field of TrainingOptions.
_OWN = ("data", "task", "registry", "backbone", "as_json")


def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Rows with answers: .jsonl, .csv, .tsv (also .gz) or .parquet."
        ),
    ],
    task: Annotated[str, typer.Option("--task", "-t", metavar="NAME", help="Name of the task.")],
    registry: RegistryToWrite = None,
    backbone: Backbone = None,
    kind: given.Kind = None,
    text: given.Text = None,
    pair: given.Pair = None,
    pairs: given.Pairs = None,
    target: given.Target = None,
    tokens: given.Tokens = None,
    join_tokens: given.JoinTokens = None,
    mentions: given.Mentions = None,
    validation: given.Validation = None,
    split_column: given.SplitColumn = None,
    validation_fraction: given.ValidationFraction = None,
    folds: given.Folds = None,
    skip_unseen: given.SkipUnseen = None,
    seed: given.Seed = None,
    max_rows: given.MaxRows = None,
    max_length: given.MaxLength = None,
    max_windows: given.MaxWindows = None,
    metric: given.Metric = None,
    tolerance: given.Tolerance = None,
    depths: given.Depths = None,
    poolings: given.Poolings = None,
    mixes: given.Mixes = None,
    ngrams: given.Ngrams = None,
    hidden_widths: given.HiddenWidths = None,
    head_dropout: given.HeadDropout = None,
    learning_rates: given.LearningRates = None,
    weight_decays: given.WeightDecays = None,
    epochs: given.Epochs = None,
    batch_size: given.BatchSize = None,
    dataset: given.Dataset = None,
    dataset_license: given.DatasetLicense = None,
    description: given.Description = None,
    languages: given.Languages = None,
    license: given.License = None,  # noqa: A002  # the field's name
    value_range: given.ValueRange = None,
    aliases: given.Aliases = None,
    cache_dir: given.CacheDir = None,
    cache_max_bytes: given.CacheMaxBytes = None,
    memory_bytes: given.MemoryBytes = None,
    adapter: adapted.Adapter = None,
    adapter_of: adapted.AdapterOf = None,
    continue_from: adapted.ContinueFrom = None,
    from_depth: adapted.FromDepth = None,
    rank: adapted.Rank = None,
    alpha: adapted.Alpha = None,
    sites: adapted.Sites = None,
    tie_depths: adapted.TieDepths = None,
    dropout: adapted.Dropout = None,
    learning_rate: adapted.LearningRate = None,
    head_learning_rate: adapted.HeadLearningRate = None,
    patience: adapted.Patience = None,
    precision: adapted.Precision = None,
    search: adapted.Search = None,
    as_json: AsJson = False,
) -> None:
    """Train a task on the frozen backbone and add it to a registry.

    The rows are encoded once, many heads are fitted on that, and the cheapest good one is kept.
    With --adapter the block itself is changed from a depth on, and the head trains with it.
    In brackets: what holds where an option is not given.
    """
    options = _read_options(locals())
    # From here on it takes seconds: torch.
    from adapterhub.store.registry import NEAREST
    from adapterhub.training.train import train as run

    where = registry or NEAREST
    trained = run(data, task=task, options=options, registry=where, backbone=backbone)
    if as_json:
        print_json(_values(trained))
    else:
        _print(trained, "" if registry is None else f" --registry {registry}")


def _read_options(values: Mapping[str, object]) -> TrainingOptions:
    """Returns the options that were given, read from their texts.

    Raises:
        UsageError: One makes no sense.
    """
    from adapterhub.training.options import training_options

    adapter = adapted.read_adapter_options(values)
    apart = (*_OWN, *adapted.NAMES, *(adapted.SHARED if adapter else ()))
    wanted = {k: v for k, v in values.items() if k not in apart and v is not None}
    found = {name: _read(name, value) for name, value in wanted.items()}
    return training_options(**found, adapter=adapter)


def _read(name: str, value: object) -> object:
    option = "--" + name.replace("_", "-")
    if name == "mentions":
        from adapterhub.training.data.mentions import read_mentions

        return read_mentions(Path(str(value)))
    if name in _SIZES:
        from adapterhub.inputs import parse_bytes

        try:
            return parse_bytes(str(value))
        except UsageError as error:
            problem = f"{option} is '{value}'; expected a size such as 500MB, 2GB or 1GiB."
            raise UsageError(problem) from error
    known = _choices().get(name)
    if name not in _LISTS and name not in _NUMBERS:
        return one_of(option, str(value), known) if known else value
    parts = [part.strip() for part in str(value).split(",") if part.strip()]
    if name not in _NUMBERS and name not in _WHOLE:
        return tuple(one_of(option, part, known) if known else part for part in parts)
    number = int if name in _WHOLE else float
    try:
        return tuple(number(part) for part in parts)
    except ValueError as error:
        what = "whole numbers" if name in _WHOLE else "numbers"
        raise UsageError(f"{option} is '{value}'; expected {what} such as 1,2.") from error


def _choices() -> Mapping[str, tuple[str, ...]]:
    from adapterhub.specs import KINDS, TEXT_POOLINGS
    from adapterhub.training.options import Joining, MetricName, PairReading

    return {
        "kind": KINDS,
        "metric": get_args(MetricName),
        "join_tokens": get_args(Joining),
        "pairs": get_args(PairReading),
        "poolings": TEXT_POOLINGS,
    }


def _print(trained: TrainedTask, where: str) -> None:
    print_line(trained.table.render().rstrip())
    measured = (f"{metric.name} {metric.value:.4f}" for metric in trained.metrics)
    if trained.metrics:
        first = trained.metrics[0]
        rows = counted(first.rows, "row")
        print_line(f"Measured on {rows} ({first.split}): {', '.join(measured)}")
    if (saved := trained.saved) is not None:
        note(f"adapterhub: {saved.task}:{saved.version} is in {saved.path}")
        note(f'adapterhub: try: adapterhub score "…" --task {saved.task}{where}')


def _values(trained: TrainedTask) -> dict[str, object]:
    table, saved = trained.table, trained.saved
    values: dict[str, object] = {"task": trained.spec.task}
    if saved is not None:
        values |= {"version": saved.version, "file": str(saved.path)}
        values |= {"aliases": dict(saved.entry.aliases)}
    return {
        **values,
        "kind": trained.spec.kind,
        "labels": list(trained.spec.labels),
        "metrics": {metric.name: metric.value for metric in trained.metrics},
        "measured_on": trained.metrics[0].split if trained.metrics else None,
        "validation_rows": trained.metrics[0].rows if trained.metrics else 0,
        "apart": trained.spec.apart,
        "head": trained.spec.head.model_dump(mode="json"),
        "passes": trained.spec.deepest,
        "separate_passes": trained.spec.backbone.num_hidden_layers,
        "candidates": table.candidates,
        "metric": table.metric,
        "adapter": _adapter_values(trained.spec.adapter),
        "tried": _tried(table),
        "notes": list(table.notes),
    }


def _adapter_values(adapter: AdapterSpec | None) -> dict[str, object] | None:
    if adapter is None:
        return None
    return adapter.model_dump(mode="json", exclude={"config"})


def _tried(table: SearchTable | AdapterTable) -> list[dict[str, object]]:
    rows: Sequence[TableRow | AdapterRow] = table.rows
    return [
        {
            "passes": row.passes,
            "from_depth": getattr(row, "from_depth", None),
            "rank": getattr(row, "rank", None),
            "apart": getattr(row, "apart", False),
            "depths": list(row.head.depths),
            "pooling": row.head.pooling,
            "hidden_width": row.head.hidden_width,
            "parameters": row.parameters,
            "value": row.value,
            "best": index == table.best,
            "chosen": index == table.chosen,
        }
        for index, row in enumerate(rows)
    ]
