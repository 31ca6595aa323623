"""The figures on held-out rows as the first section of the page: what they say, then every set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recipes.quality.held_out.cells import mark_of, points
from recipes.quality.held_out.record import (
    HEAD,
    OTHER_HEAD,
    OTHER_VECTORS,
    HeldOut,
    HeldOutSet,
    Limits,
)
from recipes.quality.held_out.retrieval import render_retrieved
from recipes.quality.page import described_backbone
from recipes.quality.resampling import DRAWS

_MISSING = "–"
_VERDICTS = {1: "ahead", 0: "no difference", -1: "behind"}
_LANGUAGES = {"en": "English", "zh": "Chinese"}


def render(found: HeldOut, plot: str) -> str:
    """Returns the section.

    Args:
        found: The figures.
        plot: The plot's file, from the page.
    """
    lines = ["# Quality of heads on the frozen backbone", "", _verdict(found), ""]
    lines += [*_summary(found.sets), "", f"![Points ahead of the baseline]({plot})", ""]
    lines += [_method(found), "", *_table(found)]
    lines += ["", *_notes(found)]
    if any(OTHER_HEAD in one.figures.of for one in found.sets):
        lines += ["", *_others(found)]
    if found.retrieved:
        lines += ["", *render_retrieved(found)]
    return "\n".join(lines)


def _verdict(found: HeldOut) -> str:
    """Returns in a few sentences what the figures say."""
    signs = [one.ahead.sign for one in found.sets]
    behind = [f"`{one.name}`" for one in found.sets if one.ahead.sign < 0]
    level = [f"`{one.name}`" for one in found.sets if one.ahead.sign == 0]
    text = (
        f"Heads on {described_backbone(found.backbone)} beside a baseline without an encoder, on "
        f"rows that neither chose nor shaped anything: ahead on {signs.count(1)} of "
        f"{len(signs)} data sets, by intervals of 95 %"
    )
    text += f"; no difference on {', '.join(level)}" if level else ""
    return f"{text}; behind on {', '.join(behind)}." if behind else f"{text}; behind on none."


def _summary(sets: Sequence[HeldOutSet]) -> Iterator[str]:
    """Yields how many sets are ahead or behind, by what is predicted and by the backbone's part."""
    yield "| predicted | sets | ahead | no difference | behind | points on average |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    groups = {what: [one for one in sets if one.predicts == what] for what in _in_order(sets)}
    groups |= {
        "all of these": list(sets),
        "all, backbone tuned on training rows": [one for one in sets if one.tuned],
        "all, backbone not tuned on them": [one for one in sets if not one.tuned],
    }
    for language, name in _LANGUAGES.items():
        groups[f"all, {name}"] = [one for one in sets if one.language == language]
    for what, own in groups.items():
        if own:
            signs = [one.ahead.sign for one in own]
            counts = " | ".join(str(signs.count(sign)) for sign in _VERDICTS)
            points = 100 * sum(one.ahead.value for one in own) / len(own)
            yield f"| {what} | {len(own)} | {counts} | {points:+.1f} |"


def _in_order(sets: Sequence[HeldOutSet]) -> list[str]:
    return list(dict.fromkeys(one.predicts for one in sorted(sets, key=lambda one: one.kind)))


def _method(found: HeldOut) -> str:
    return (
        "One half of each validation file chooses and calibrates: the head, the penalty of the "
        "baseline, its other settings, thresholds and tag biases. The other half only measures. "
        "The halves are drawn by a fixed seed as `train` draws a test set: labels are spread "
        "evenly, and equal texts, or questions on one context, stay on one side. Rows with a label "
        "that no training row has are left out, and so are measured rows with a text that is a "
        f"training row of another set that the backbone was tuned on. {_limits(found.limits)}"
        "Baselines have the same rows: TF-IDF with logistic regression (LR) or ridge regression; "
        "of choices the cosine with the prompt or LR; a linear tagger; of questions the span "
        "around which most of their words stand; of trees, with the words given, what each word "
        "is most often attached to. Metrics are macro-F1, Spearman's correlation, F1 of spans, "
        "LAS, accuracy, and F1 of answers. *Points* are hundredths of the metric, with an interval "
        f"of 95 % over {DRAWS:,} paired bootstrap draws of the measured rows: *ahead* and "
        "*behind* where it leaves out 0. "
        f"*Tuned on*: whether the model card lists the set among the {found.listed} whose training "
        r"rows the backbone was tuned on. \*: its stated terms are for research, not for commerce "
        "or a vendor's own; it is measured for these figures only. "
        f"Made by `{command_of(found)}`."
    )


def command_of(found: HeldOut) -> str:
    """Returns the command that makes these figures."""
    limits, usual = found.limits, Limits()
    parts = ["scripts/quality DATA --held-out"]
    parts += [] if limits.max_rows is None else [f"--max-rows {limits.max_rows}"]
    if limits.held_out_rows != usual.held_out_rows:
        parts.append(f"--held-out-rows {limits.held_out_rows}")
    parts += [] if limits.max_tokens is None else [f"--max-tokens {limits.max_tokens}"]
    parts += ["--few-candidates"] if limits.candidates == "few" else []
    parts += ["--bf16"] if limits.precision == "bfloat16" else []
    parts += [] if found.other is None else ["--minilm"]
    return " ".join(parts)


def _limits(limits: Limits) -> str:
    rows = "All" if limits.max_rows is None else f"At most {limits.max_rows:,}"
    text = f"{rows} training rows, and at most {limits.held_out_rows:,} of each half"
    if limits.max_tokens is not None:
        text += f", fewer of long texts ({limits.max_tokens:,} tokens of training rows)"
    if limits.candidates == "few":
        text += "; heads are tried on two depths only, pairs apart"
    return f"{text}{'; the encoder in bfloat16' if limits.precision == 'bfloat16' else ''}. "


def _table(found: HeldOut) -> Iterator[str]:
    yield (
        "| set | language | kind | rows | tuned on | metric | baseline | its metric | head | "
        "points | head is | reads |"
    )
    yield "| --- | --- | --- | ---: | --- | --- | --- | ---: | ---: | ---: | --- | --- |"
    for one in found.sets:
        kind = f"{one.kind}, pair" if one.pair else one.kind
        rows = f"{one.train:,} + {one.choosing:,}; {one.measured:,}"
        base, head = (one.figures.of[system].value for system in ("baseline", HEAD))
        cells = (
            *(f"{one.name}{mark_of(one.restricted)}", one.language, kind, rows),
            *("yes" if one.tuned else "no", one.metric, one.baseline, f"{base:.3f}"),
            *(f"{head:.3f}", points(one.ahead), _VERDICTS[one.ahead.sign], one.reads[HEAD]),
        )
        yield f"| {' | '.join(cells)} |"


def _notes(found: HeldOut) -> Iterator[str]:
    yield "*Rows*: training + choosing; measured."
    shared = [f"{one.shared:,} of `{one.name}`" for one in found.sets if one.shared]
    if shared:
        yield f"Left out for a text that the backbone was tuned on: {', '.join(shared)}."
    known = {one.name for one in found.sets}
    missing = [name for name in found.names if name not in known and name not in found.failed]
    if missing:
        yield f"Not measured: {', '.join(f'`{name}`' for name in missing)}."
    for name, why in found.failed.items():
        yield f"`{name}` could not be measured: {why}"


def _others(found: HeldOut) -> Iterator[str]:
    """Yields the table of another encoder on English sets."""
    name = found.other_name
    yield f"### {name}, on the same rows"
    yield ""
    vectors = f"{name} vectors + LR"
    yield f"| set | metric | head | {vectors} | head on {name} | points of the latter | it is |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | --- |"
    for one in found.sets:
        difference = one.figures.minus(OTHER_HEAD, HEAD)
        if difference is not None:
            systems = (HEAD, OTHER_VECTORS, OTHER_HEAD)
            values = [one.figures.of.get(system) for system in systems]
            texts = [_MISSING if value is None else f"{value.value:.3f}" for value in values]
            cells = [f"{one.name}{mark_of(one.restricted)}", one.metric, *texts]
            yield f"| {' | '.join([*cells, points(difference), _VERDICTS[difference.sign]])} |"
