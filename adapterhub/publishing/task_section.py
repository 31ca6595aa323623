"""The section of one task in a card, or its page: everything in it comes from the spec."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from adapterhub.choices.rows import record_of
from adapterhub.diagnostics import rows_text
from adapterhub.families import FAMILIES
from adapterhub.label_trees import path_of
from adapterhub.publishing.hub_metadata import hub_dataset
from adapterhub.publishing.rendering import Markdown, cut, escape, render
from adapterhub.specs import RISK_COLUMNS, BackboneSpec, TaskSpec, abstention_lines, risk_cells
from adapterhub.store.entries import portable_entry

_WORST = 5
_MOST_LABELS = 500
_LONGEST_SAMPLE = 120
_HUB = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}@[\w./-]{1,100}", re.ASCII)
_PACKAGE = re.compile(r"package:[a-z0-9][a-z0-9._-]*")
_SIGNS = " ,.;:?()+-，。；：？！、"
_SAMPLES = ("This is a text.", "This is another text.", "This is a third text.")
_CHINESE = ("这是一段文字。", "这是另一段文字。", "这是第三段文字。")
_QUESTION = ("Where did Anna fly?", "Anna flew from Berlin to Oslo on Monday.")
_CHINESE_QUESTION = ("李明在哪里工作？", "李明昨天在北京工作。")


@dataclass(frozen=True, slots=True)
class _Home:
    """Where the backbone of a task is.

    Attributes:
        kind: With adapterhub, on the Hub, or in a folder of the publisher.
        source: What opens it.
        model_class: Its class in transformers.
        options: Arguments with which that class opens it for PEFT, after a comma.
        needs_unrolled: Whether PEFT opens the adapter of the task on `adapterhub.unrolled` only.
    """

    kind: Literal["package", "hub", "folder"]
    source: str
    model_class: str
    options: str
    needs_unrolled: bool


def task_section(repo: str, name: str, spec: TaskSpec, extras: Collection[str]) -> str:
    """Returns the section of one task, from its spec alone.

    Args:
        repo: `owner/name`.
        name: Name of the task in the repository.
        spec: The whole task.
        extras: Paths of the files published beside its head.
    """
    sample = _sample(spec)
    labels = spec.row.label_names(spec.labels)
    labels = tuple(label for label in labels if label != spec.row.joining)
    has_peft = any(path.startswith("peft/") for path in extras)
    return render(
        "task",
        repo=repo,
        name=name,
        spec=spec,
        home=_home(spec, has_peft=has_peft),
        sample=sample,
        sample_json=json.dumps(
            record_of(tuple(sample), spec.fields, has_choices=spec.row.of_choices),
            ensure_ascii=False,
        ),
        label_columns=[title for title, _ in _label_figures(spec)],
        labels=_label_rows(spec, labels),
        labels_left=max(len(labels) - _MOST_LABELS, 0),
        dataset=_dataset(spec),
        errors=_errors(spec),
        measured=dict.fromkeys(rows_text(one, spec.used_for(one)) for one in spec.metrics),
        optimistic=dict.fromkeys(one.split for one in spec.metrics if spec.used_for(one)),
        is_crossed=any(one.split == "cross-validation" for one in spec.metrics),
        abstention=()
        if spec.abstention is None
        else abstention_lines(spec.abstention, spec.row.withheld),
        risks=() if spec.abstention is None else [risk_cells(one) for one in spec.abstention.table],
        risk_columns=RISK_COLUMNS,
        pictures=[path for path in sorted(extras) if path.endswith(".png")],
        has_peft=has_peft,
    )


def _record(spec: TaskSpec, texts: Sequence[str]) -> dict[str, object]:
    return record_of(tuple(texts), spec.fields, has_choices=spec.row.of_choices)


def _home(spec: TaskSpec, *, has_peft: bool) -> _Home:
    unrolled, options = False, ""
    if has_peft:
        # PEFT takes seconds to import, and most tasks have no adapter.
        from adapterhub.peft.exportable import opens_on, without_pooling

        unrolled, options = opens_on(spec) != "model", without_pooling(spec)
    model_class = f"{FAMILIES[spec.backbone.family].title}Model"
    return _Home(*_source(spec.backbone), model_class, options, unrolled)


def _source(backbone: BackboneSpec) -> tuple[Literal["package", "hub", "folder"], str]:
    # The name comes from a file, and this stands in a block of code.
    on_hub = f"{backbone.name}@{backbone.revision}"
    if backbone.revision is not None and _HUB.fullmatch(on_hub):
        return "hub", on_hub
    if backbone.revision is None and _PACKAGE.fullmatch(backbone.name):
        return "package", backbone.name
    folder = backbone.model_copy(update={"name": cut(backbone.name, 80), "revision": None})
    source = portable_entry(folder).source
    return "folder", source if source.startswith("./") else "./backbone"


def _sample(spec: TaskSpec) -> Sequence[str]:
    """Returns the texts of the commands: the first example that is safe in any quotes, if any."""
    for example in spec.examples:
        if all(map(_is_plain, example.inputs)):
            return example.inputs
    is_chinese = {tag.partition("-")[0] for tag in spec.languages} == {"zh"}
    if spec.row.slides_second:
        return _CHINESE_QUESTION if is_chinese else _QUESTION
    return (_CHINESE if is_chinese else _SAMPLES)[: 3 if spec.row.of_choices else len(spec.fields)]


def _is_plain(text: str) -> bool:
    """Returns whether a text means itself in any quotes: letters, marks, digits and some signs."""
    return (
        text[:1].isalnum()
        and len(text) <= _LONGEST_SAMPLE
        and all(sign in _SIGNS or unicodedata.category(sign)[0] in "LMN" for sign in text)
    )


def _label_rows(spec: TaskSpec, labels: Sequence[str]) -> list[list[str]]:
    figures = [values for _, values in _label_figures(spec)]
    return [
        [label, *(values[number] for values in figures)]
        for number, label in enumerate(labels[:_MOST_LABELS])
    ]


def _label_figures(spec: TaskSpec) -> list[tuple[str, list[str]]]:
    """Returns what is known of each label: what it is under, threshold, rows, and what is found."""
    columns: list[tuple[str, list[str]]] = []
    if spec.parents:
        paths = [path_of(label, spec.parents)[:-1] for label in spec.labels]
        columns.append(("under", [" › ".join(path) for path in paths]))
    if spec.calibration.thresholds is not None:
        columns.append(("threshold", [f"{one:.3g}" for one in spec.calibration.thresholds]))
    if spec.value_ranges is not None:
        columns.append(("range", [f"{low:g} to {high:g}" for low, high in spec.value_ranges]))
    found = spec.diagnostics
    if found is not None and found.confusion and not spec.per_token:
        totals = [sum(row) for row in found.confusion]
        hits = [row[number] for number, row in enumerate(found.confusion)]
        columns.append((f"{cut(found.split, 20)} rows", [f"{total:,}" for total in totals]))
        shares = zip(hits, totals, strict=True)
        columns.append(
            ("predicted right", [f"{hit / total:.1%}" if total else "" for hit, total in shares])
        )
    return columns


def _dataset(spec: TaskSpec) -> str:
    if spec.training is None:
        return "not named"
    name, shown = hub_dataset(spec), spec.training.dataset
    link = f"[{escape(shown)}](https://huggingface.co/datasets/{name})"
    return shown if name is None else Markdown(link)


def _errors(spec: TaskSpec) -> list[tuple[int, int, int]]:
    """Returns the most frequent errors: rows, index of the true and of the predicted label."""
    found = spec.diagnostics
    if found is None:
        return []
    pairs = [(pair.rows, pair.true, pair.given) for pair in found.confused] or [
        (count, true, given)
        for true, row in enumerate(found.confusion)
        for given, count in enumerate(row)
        if true != given and count
    ]
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:_WORST]
