"""Blocks of `card.md.jinja` to Markdown: no text of a head file breaks out of its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from adapterhub.diagnostics import figure_text
from adapterhub.examples import Example, PredictedLabel
from adapterhub.kinds import ANSWER
from adapterhub.publishing.hub_metadata import metric_name
from adapterhub.store.retired import deprecation_text

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_MOST_WORDS = 20
_ESCAPES = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "\\`*_{}[]()#!~$:@"},
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        # Tables are split at bars, escaped or not.
        "|": "&#124;",
    }
)


class Markdown(str):
    """Text that is Markdown already."""


def render(block: str, **values: object) -> str:
    """Returns a block of the template; its values are escaped where it shows them."""
    template = _template()
    text = "".join(template.blocks[block](template.new_context(values)))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def escape(value: object) -> str:
    """Returns a value so that Markdown and HTML show it as it is, on one line."""
    if isinstance(value, Markdown):
        return value
    return " ".join(_CONTROL.sub(" ", str(value)).split()).translate(_ESCAPES)


def cut(text: str, most: int) -> str:
    """Returns a text of at most `most` characters, on one line."""
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _code(text: str) -> Markdown:
    return Markdown(re.sub(r"[^A-Za-z0-9._/:@-]", "", text))


def _prediction(example: Example, labels: Sequence[str]) -> str:
    """Returns the prediction of an example for people: `positive 0.98`, `Anna is PER 0.99`.

    Of a tree it is the first words: `Anna is nsubj of sings 0.97`.
    """
    if example.value is not None:
        return f"{example.value:.3g}"
    if example.values:
        pairs = zip(labels, example.values, strict=True)
        return ", ".join(f"{name} {value:.3g}" for name, value in pairs)
    is_tree = any(found.head is not None for found in example.labels)
    shown = example.labels[:_MOST_WORDS] if is_tree else example.labels
    parts = [_label_text(example, found) for found in shown]
    left = len(example.labels) - len(shown)
    return ", ".join([*parts, *([f"and {left} more words"] if left else [])]) or "none"


def _label_text(example: Example, found: PredictedLabel) -> str:
    text, head = example.entity(found), example.head(found)
    label = example.choice(found) or found.label
    name = label if text is None else f"{text} is {label}"
    name = text if text is not None and found.label == ANSWER else name
    return f"{name}{'' if head is None else f' of {head}'} {figure_text(found.score, 2)}"


def _cells(example: Example) -> tuple[str, ...]:
    """Returns the texts of an example by field; choices stand in one cell."""
    first, *others = example.inputs
    return (first, " / ".join(others)) if len(others) > 1 else example.inputs


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("adapterhub.publishing", ""),
        # Runs on every value that the template shows, so that none can be forgotten.
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        cells=_cells,
        code=_code,
        cut=cut,
        deprecation=deprecation_text,
        figure=figure_text,
        literal=Markdown,
        metric_name=metric_name,
        number="{:,}".format,
        prediction=_prediction,
    )
    return environment.get_template("card.md.jinja")
