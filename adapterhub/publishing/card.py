"""The model card, README.md: generated from the tasks, without touching text that people wrote.

Generated text stands between marks, one pair for the overview and one for each task. The rest of
the file is kept, so that two publishers do not lose each other's sections. The sentences are in
`card.md.jinja`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from adapterhub.diagnostics import figure_text, rows_text
from adapterhub.publishing.figures import is_drawable
from adapterhub.publishing.front_matter import card_bytes, read_card
from adapterhub.publishing.hub_metadata import front_matter, hub_dataset, metric_name
from adapterhub.publishing.keeping import with_ours
from adapterhub.remote.find import FoundTask
from adapterhub.specs import TaskSpec
from adapterhub.store.entries import RegistryContent
from adapterhub.store.retired import deprecation_text
from adapterhub.tags import entity_types

_OVERVIEW = "top"
_ATTENTION = "written by adapterhub; text outside of these marks is kept"
_WORST = 5
_SOURCE = re.compile(r"package:[a-z0-9][a-z0-9._-]*|[\w.-]+/[\w.-]+@[\w./-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
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


class _Markdown(str):
    """Text that is Markdown already."""


def write_card(
    before: bytes | None,
    content: RegistryContent,
    tasks: Sequence[FoundTask],
    *,
    repo: str,
    extras: Mapping[str, Collection[str]],
    earlier: RegistryContent | None = None,
) -> bytes:
    """Returns the card of a repository with the sections of `tasks` added or replaced.

    Args:
        before: The current card, or None.
        content: The whole registry.
        tasks: The tasks to publish.
        repo: `owner/name`.
        extras: Paths of the files beside the head of each task.
        earlier: The registry before, if the repository had one.

    Raises:
        RemoteContentError: The current card is not UTF-8, too long, or its front matter is not
            plain YAML.
    """
    card = read_card(before, repo)
    paths = [path for task in tasks for path in extras.get(task.name, ())]
    index = card.values.get("model-index")
    ours = front_matter(content, tasks, index=index, has_peft=_has_peft(paths))
    card = with_ours(card, ours, front_matter(earlier, ()) if earlier else None)
    body = card.body.strip("\n") or f"# {escape(repo.partition('/')[2])}"
    overview = _render("overview", repo=repo, tasks=sorted(content.tasks.items()))
    body = _put(body, _OVERVIEW, overview, after=None)
    for task in sorted(tasks, key=lambda task: task.name):
        section = task_section(repo, task.name, task.spec, extras.get(task.name, ()))
        body = _put(body, f"task:{task.name}", section, after=_OVERVIEW)
    for name in (earlier.tasks.keys() if earlier else set()) - content.tasks.keys():
        body = _marks(f"task:{name}").sub("", body, count=1)
    return card_bytes(replace(card, body=body))


def task_section(repo: str, name: str, spec: TaskSpec, extras: Collection[str]) -> str:
    """Returns the section of one task, from its spec alone.

    Args:
        repo: `owner/name`.
        name: Name of the task in the repository.
        spec: The whole task.
        extras: Paths of the files published beside its head.
    """
    return _render(
        "task",
        repo=repo,
        name=name,
        spec=spec,
        labels=_labels(spec),
        source=_source(spec),
        dataset=_dataset(spec),
        errors=_errors(spec),
        measured=dict.fromkeys(rows_text(one, spec.used_for(one)) for one in spec.metrics),
        optimistic=dict.fromkeys(one.split for one in spec.metrics if spec.used_for(one)),
        is_crossed=any(one.split == "cross-validation" for one in spec.metrics),
        pictures=[path for path in sorted(extras) if path.endswith(".png")],
        has_peft=_has_peft(extras),
    )


def escape(value: object) -> str:
    """Returns a value so that Markdown and HTML show it as it is, on one line."""
    if isinstance(value, _Markdown):
        return value
    return " ".join(_CONTROL.sub(" ", str(value)).split()).translate(_ESCAPES)


def _code(text: str) -> _Markdown:
    return _Markdown(re.sub(r"[^A-Za-z0-9._/:@-]", "", text))


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
    environment.filters.update(code=_code, figure=figure_text, metric_name=metric_name)
    environment.filters.update(deprecation=deprecation_text)
    return environment.get_template("card.md.jinja")


def _render(block: str, **values: object) -> str:
    template = _template()
    text = "".join(template.blocks[block](template.new_context(values)))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _has_peft(paths: Collection[str]) -> bool:
    return any(path.startswith("peft/") for path in paths)


def _labels(spec: TaskSpec) -> Sequence[str]:
    labels = entity_types(spec.labels) if spec.kind == "tagging" else spec.labels
    if all(map(is_drawable, labels)):
        return labels
    # The picture of the confusion matrix has numbers in their place.
    return [f"{number} {label}" for number, label in enumerate(labels, 1)]


def _source(spec: TaskSpec) -> str:
    backbone = spec.backbone
    source = f"{backbone.name}@{backbone.revision}" if backbone.revision else backbone.name
    # The name comes from a file, and this stands in a block of code.
    return source if _SOURCE.fullmatch(source) else "./folder-of-the-backbone"


def _dataset(spec: TaskSpec) -> str:
    if spec.training is None:
        return "not named"
    name, shown = hub_dataset(spec), spec.training.dataset
    link = f"[{escape(shown)}](https://huggingface.co/datasets/{name})"
    return shown if name is None else _Markdown(link)


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


def _put(body: str, name: str, section: str, *, after: str | None) -> str:
    """Returns the body with the text between the marks of `name` replaced or inserted."""
    start, end = f"<!-- adapterhub:{name} ({_ATTENTION}) -->", f"<!-- /adapterhub:{name} -->"
    block = f"{start}\n\n{section}\n\n{end}"
    marks = _marks(name)
    if marks.search(body):
        return marks.sub(lambda _: block, body, count=1)
    if after is None:
        title = re.match(r"#[^\n]*\n*", body)
        cut = title.end() if title else 0
        return f"{body[:cut].rstrip()}\n\n{block}\n\n{body[cut:].lstrip()}".strip("\n")
    last = [found.end() for found in re.finditer(r"<!-- /adapterhub:[^\n]* -->", body)][-1]
    return f"{body[:last]}\n\n{block}{body[last:]}"


def _marks(name: str) -> re.Pattern[str]:
    end = re.escape(f"<!-- /adapterhub:{name} -->")
    return re.compile(rf"<!-- adapterhub:{re.escape(name)} [^\n]*-->.*?{end}", re.DOTALL)
