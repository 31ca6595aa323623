"""The part of a card that is about one task, from what its head file says and nothing else."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from adapterhub.publishing.figures import is_drawable
from adapterhub.publishing.hub_metrics import METRIC_NAMES, hub_dataset
from adapterhub.publishing.markdown import bullets, plain, table
from adapterhub.specs import EarlierTask, TaskSpec
from adapterhub.tags import entity_types

_MOST_LABELS = 60
_WORST = 5
_SOURCE = re.compile(r"package:[a-z0-9][a-z0-9._-]*|[\w.-]+/[\w.-]+@[\w./-]+", re.ASCII)
_SAYS = {
    "single_label": "one of the labels below, with a score",
    "multi_label": "any number of the labels below, each with a score",
    "regression": "a number",
    "tagging": "the spans of these types, with their places in the text",
}


def task_section(repo: str, name: str, spec: TaskSpec, extras: Collection[str]) -> str:
    """Returns the section of one task.

    Args:
        repo: `owner/name`.
        name: Name of the task in the repository.
        spec: The whole task.
        extras: Paths of the files that are published beside its head.
    """
    parts = [f"## {plain(name)}", *_about(spec)]
    parts += ["### Use", _use(repo, name, spec)]
    if spec.metrics:
        parts += ["### Measured", *_measured(spec)]
    pictures = [path for path in sorted(extras) if path.endswith(".png")]
    parts += [f"![{path.rpartition('-')[2][:-4]}]({path})" for path in pictures]
    parts += ["### Cost", _cost(spec)]
    if any(map(is_peft, extras)):
        parts.append(f'Its adapter alone opens with PEFT, by `subfolder="peft/{name}"`.')
    if spec.training is not None:
        parts += ["### Training", _training(spec)]
    parts += ["### Known limits", bullets(_limits(spec))]
    return "\n\n".join(parts)


def is_peft(path: str) -> bool:
    """Returns whether a file in a repository belongs to an adapter as PEFT saves one."""
    return path.startswith("peft/")


def passes_text(spec: TaskSpec) -> str:
    """Returns what a task costs beside a whole ALBERT: `reads depth 6 of 12: 0.5 passes`."""
    whole = spec.backbone.num_hidden_layers
    share = spec.deepest / whole
    return f"reads depth {spec.deepest} of {whole}: {share:.2g} passes"


def _about(spec: TaskSpec) -> Iterator[str]:
    if spec.description:
        yield plain(spec.description)
    fields = " and ".join(f"`{field}`" for field in spec.fields)
    fields += ", each alone, and compares them;" if spec.apart else ","
    facts = [f"Reads {fields} answers with {_SAYS[spec.kind]}."]
    if spec.value_range is not None:
        facts[0] = f"Reads {fields} answers with a number from {_range(spec)}."
    if spec.languages:
        facts.append(f"Made for: {', '.join(map(plain, spec.languages))}.")
    if spec.license:
        facts.append(f"Licence of the head: {plain(spec.license)}.")
    yield " ".join(facts)
    if labels := _labels(spec):
        yield labels


def _labels(spec: TaskSpec) -> str:
    labels = entity_types(spec.labels) if spec.kind == "tagging" else spec.labels
    shown = [plain(label) for label in labels[:_MOST_LABELS]]
    if not all(map(is_drawable, labels)):
        # The picture of the confusions has numbers in their place.
        shown = [f"{number} {label}" for number, label in enumerate(shown, 1)]
    more = f", and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else ""
    return f"Labels ({len(labels)}): {', '.join(shown)}{more}" if labels else ""


def _use(repo: str, name: str, spec: TaskSpec) -> str:
    text = '"…"'
    if len(spec.fields) == 2:
        text = f'{{"{spec.fields[0]}": "…", "{spec.fields[1]}": "…"}}'
    lines = [
        "```python",
        "from adapterhub import Hub",
        f"hub = Hub({_backbone_argument(spec)})",
        f'print(hub.score({text}, tasks="{repo}:{name}").to_columns())',
        "```",
    ]
    return "\n".join(lines)


def _backbone_argument(spec: TaskSpec) -> str:
    backbone = spec.backbone
    source = f"{backbone.name}@{backbone.revision}" if backbone.revision else backbone.name
    # The name comes from a file, and this stands in a block of code.
    if _SOURCE.fullmatch(source):
        return f'backbone="{source}"'
    return 'backbone="./folder-of-the-backbone"'


def _measured(spec: TaskSpec) -> Iterator[str]:
    dataset = _dataset(spec)
    yield table(
        ("figure", "value", "data set", "split", "rows"),
        [
            (
                plain(METRIC_NAMES.get(metric.name, metric.name)),
                f"{metric.value:.4f}",
                dataset,
                plain(metric.split),
                str(metric.rows),
            )
            for metric in spec.metrics
        ],
    )
    if spec.calibration.temperature != 1.0:
        yield f"Scores are calibrated with the temperature {spec.calibration.temperature:.4g}."


def _dataset(spec: TaskSpec) -> str:
    if spec.training is None:
        return "not named"
    name = hub_dataset(spec)
    shown = plain(spec.training.dataset)
    return f"[{shown}](https://huggingface.co/datasets/{name})" if name else shown


def _cost(spec: TaskSpec) -> str:
    depths = "+".join(map(str, spec.head.depths))
    mix = f" It reads a learned mix of the depths {depths}." if len(spec.head.depths) > 1 else ""
    adapter = ""
    if spec.adapter is not None:
        start = spec.adapter.from_depth
        adapter = (
            f" Its adapter ({plain(spec.adapter.method)}, {spec.adapter.parameters:,} numbers) "
            f"starts at depth {start}: the {start} passes below are shared with other tasks."
        )
    grams = spec.head.ngrams
    ngrams = f" Beside it {grams:,} n-grams of pieces have weights of their own." if grams else ""
    return (
        f"This head {passes_text(spec)} of the backbone, shared with all other tasks of a call."
        f"{mix}{adapter}{ngrams} Pooling: `{spec.head.pooling}`. Backbone: {_backbone(spec)}."
    )


def _backbone(spec: TaskSpec) -> str:
    backbone = spec.backbone
    commit = f" at commit `{backbone.revision[:12]}`" if backbone.revision else ""
    return f"{plain(backbone.name)}{commit}, fingerprint `{backbone.fingerprint[:23]}…`"


def _training(spec: TaskSpec) -> str:
    record = spec.training
    assert record is not None
    terms = (
        f" (terms of the data: {plain(record.dataset_license)})" if record.dataset_license else ""
    )
    earlier = record.continued_from
    return (
        f"Trained on {record.rows:,} rows of {_dataset(spec)}{terms}, with the backbone frozen. "
        f"{'' if earlier is None else _continued(earlier)}"
        f"Of {record.candidates} heads that were tried this one was chosen on the validation rows: "
        f"{record.epochs} epochs, learning rate {record.learning_rate:g}, weight decay "
        f"{record.weight_decay:g}, seed {record.seed}. sha256 of the rows: "
        f"`{record.data_digest[:16]}…`."
    )


def _continued(earlier: EarlierTask) -> str:
    terms = f" (terms of the data: {plain(earlier.dataset_license)})"
    dataset = f", trained on {plain(earlier.dataset)}" if earlier.dataset else ""
    return (
        f"Its adapter went on from that of `{plain(earlier.task)}`{dataset}"
        f"{terms if earlier.dataset_license else ''}. "
    )


def _limits(spec: TaskSpec) -> Iterator[str]:
    averaged = "features" if spec.apart else "answers"
    yield (
        f"Reads windows of {spec.max_length} tokens. Longer texts are cut into windows whose "
        f"{averaged} are averaged."
    )
    if spec.kind == "single_label":
        yield "Always answers one of its labels, also for texts that none of them fits."
    if spec.languages:
        yield f"Other languages than {', '.join(map(plain, spec.languages))} were not measured."
    if any(metric.split == "validation" for metric in spec.metrics):
        yield (
            "The validation rows also chose the head and its calibration, so that new texts can "
            "score worse."
        )
    yield from _mistakes(spec)
    yield "Belongs to this one backbone; adapterhub refuses it on any other."


def _mistakes(spec: TaskSpec) -> Iterator[str]:
    found = spec.diagnostics
    if found is None:
        return
    pairs = [(pair.rows, pair.true, pair.given) for pair in found.confused] or [
        (count, true, given)
        for true, row in enumerate(found.confusion)
        for given, count in enumerate(row)
        if true != given and count
    ]
    worst = sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:_WORST]
    if worst:
        told = (
            f"{plain(spec.labels[true])} taken for {plain(spec.labels[given])} ({count})"
            for count, true, given in worst
        )
        yield f"Most frequent mistakes in {found.rows:,} rows: {', '.join(told)}."


def _range(spec: TaskSpec) -> str:
    assert spec.value_range is not None
    return "{:g} to {:g}".format(*spec.value_range)
