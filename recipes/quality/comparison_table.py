"""The results of a comparison as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from recipes.quality.comparison import ComparedSet, Comparison
from recipes.quality.systems import (
    FULL,
    HEAD,
    LABELS_PER_EPOCH,
    PER_DEPTH,
    SYSTEMS,
    TIED,
    Outcome,
    Precision,
)

_MISSING = "–"


def render(found: Comparison) -> str:
    """Returns the section: how it was measured, the means by language, a row per data set."""
    lines = ["## Adapters and full fine-tuning", "", _method(found), ""]
    lines += [*_summary(found.sets), "", *_table(found.sets)]
    return "\n".join(lines)


def _method(found: Comparison) -> str:
    backbone, budget = found.backbone, found.budget
    rates = ", ".join(f"{rate:g}" for rate in budget.full_rates)
    best = ", the best of which counts" if len(budget.full_rates) > 1 else ""
    fork = min(backbone.num_hidden_layers * 2 // 3, backbone.num_hidden_layers - 1)
    return (
        f"Backbone `{backbone.name}` ({backbone.fingerprint[:19]}…), "
        f"{backbone.num_hidden_layers} depths of width {backbone.hidden_size}. Four systems on the "
        f"same rows, at most {budget.max_rows:,} to train and as many to validate: a head on the "
        f"frozen states; *{TIED}*: one LoRA for all depths, which is what plain PEFT does on an "
        f"ALBERT; *{PER_DEPTH}*: a LoRA for each depth from {fork} on; *{FULL}*: all weights, by "
        f"transformers' Trainer (AdamW, step size {rates}{best}). LoRA has rank "
        f"{budget.rank} on all six linear maps. The last three take batches of "
        f"{budget.batch_size} rows and at most {budget.epochs} epochs, and stop after "
        f"{budget.patience} epochs without a better one; {FULL} has an epoch per "
        f"{LABELS_PER_EPOCH} labels of a text where that is more. {_precisions(found.sets)} No "
        f"system has n-grams beside it. The validation rows choose head or epoch and are "
        f"measured too, so all columns are too optimistic. *Kept* is {PER_DEPTH} as a part of "
        f"{FULL}. "
        f"*Trained* (numbers), *passes* (per text, where nothing else is scored), *own* (passes "
        f"that no other task shares) and *seconds* (of training; the first system encodes the "
        f"texts for the others) have the four systems in order. "
        f"Made by `scripts/quality --adapters`."
    )


def _precisions(sets: Sequence[ComparedSet]) -> str:
    """Returns a sentence on the precision of training, naming the sets of the rarer one."""
    places: dict[Precision, list[str]] = {}
    for one in sets:
        trained = {name: found for name, found in one.outcomes.items() if name != HEAD}
        for precision in sorted({found.precision for found in trained.values()}):
            own = [name for name, found in trained.items() if found.precision == precision]
            only = f" ({', '.join(own)})" if len(own) < len(trained) else ""
            places.setdefault(precision, []).append(f"{one.name}{only}")
    if len(places) < 2:
        return f"Products are in {next(iter(places), 'float32')}."
    rarer, common = sorted(places, key=lambda precision: len(places[precision]))
    return f"Products are in {common}, but in {rarer} on {', '.join(places[rarer])}."


def _summary(sets: Sequence[ComparedSet]) -> Iterator[str]:
    whole = [one for one in sets if all(system in one.outcomes for system in SYSTEMS)]
    alone = [one for one in whole if not one.pair]
    languages = sorted({one.language for one in alone})
    groups = [(f"`{name}`", [one for one in alone if one.language == name]) for name in languages]
    if len(groups) > 1:
        groups.append(("both", alone))
    # The Trainer reads two texts in one sequence, heads and adapters also apart: not one mean.
    pairs = [one for one in whole if one.pair]
    if pairs:
        groups.append((f"pairs, which {FULL} reads in one sequence", pairs))
    for name, own in groups:
        usable = [one for one in own if _says_something(one)]
        dropped = len(own) - len(usable)
        few = f"{FULL} reached less than half of what a head did"
        note = f" ({dropped} where {few} are left out)" if dropped else ""
        if not usable:
            yield f"- {name}: {few} on {len(own)} sets."
            continue
        worst = min(usable, key=lambda one: _kept(one, PER_DEPTH))
        size = _mean(
            [one.outcomes[PER_DEPTH].trained / one.outcomes[FULL].trained for one in usable]
        )
        means = {
            system: _mean([_kept(one, system) for one in usable])
            for system in (PER_DEPTH, TIED, HEAD)
        }
        behind = sum(_kept(one, PER_DEPTH) < 1 for one in usable)
        yield (
            f"- {name}, {len(usable)} sets{note}: {PER_DEPTH} keeps {means[PER_DEPTH]:.1%} of "
            f"{FULL} on average with {size:.1%} of its parameters. It is behind on {behind}, and "
            f"least is kept on {worst.name}: {_kept(worst, PER_DEPTH):.1%}; {TIED} keeps "
            f"{means[TIED]:.1%}, {HEAD} {means[HEAD]:.1%}."
        )


def _table(sets: Sequence[ComparedSet]) -> Iterator[str]:
    names = ("set", "language", "kind", "rows", "metric", *SYSTEMS, "kept")
    yield f"| {' | '.join((*names, 'trained', 'passes', 'own', 'seconds'))} |"
    yield f"| {' | '.join(['---'] * 3 + ['---:', '---'] + ['---:'] * 9)} |"
    for one in sets:
        kind = f"{one.kind}, pair" if one.pair else one.kind
        values = [_cell(one, system, lambda o: f"{o.value:.3f}") for system in SYSTEMS]
        is_known = one.outcomes.keys() >= set(SYSTEMS) and _says_something(one)
        cells = [
            one.name,
            one.language,
            kind,
            f"{one.train:,} + {one.validation:,}",
            one.metric,
            *values,
            f"{_kept(one, PER_DEPTH):.1%}" if is_known else _MISSING,
            _cells(one, lambda o: f"{o.trained:,}"),
            _cells(one, lambda o: str(o.passes)),
            _cells(one, lambda o: str(o.own_passes)),
            _cells(one, lambda o: f"{o.seconds:,.0f}"),
        ]
        yield f"| {' | '.join(cells)} |"


def _cells(one: ComparedSet, text: Callable[[Outcome], str]) -> str:
    return " / ".join(_cell(one, system, text) for system in SYSTEMS)


def _cell(one: ComparedSet, system: str, text: Callable[[Outcome], str]) -> str:
    return text(one.outcomes[system]) if system in one.outcomes else _MISSING


def _says_something(one: ComparedSet) -> bool:
    # The share means nothing where full fine-tuning hardly learned anything.
    return one.outcomes[FULL].value >= one.outcomes[HEAD].value / 2


def _kept(one: ComparedSet, system: str) -> float:
    return one.outcomes[system].value / one.outcomes[FULL].value


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
