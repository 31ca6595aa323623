"""The card, README.md: written from the tasks, keeping what people wrote around them.

What adapterhub writes stands between marks, one pair for the top and one for each task. The
rest of the file is left as it is, so that two publishers do not lose each other's sections and a
person's own text stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapterhub.errors import RegistryError, RemoteContentError
from adapterhub.publishing.front_matter import front_matter, render_front_matter
from adapterhub.publishing.hub_metrics import METRIC_NAMES
from adapterhub.publishing.markdown import plain, table
from adapterhub.publishing.publication import TaskToPublish
from adapterhub.publishing.sections import is_peft, task_section
from adapterhub.store.entries import RegistryContent, TaskEntry
from adapterhub.store.yamlsafe import read_yaml

CARD_NAME = "README.md"
MOST_BYTES = 4 * 2**20

_TOP = "top"
_FRONT = re.compile(r"\A---\r?\n(.*?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_ATTENTION = "written by adapterhub; text outside of these marks is kept"


def write_card(
    before: bytes | None,
    content: RegistryContent,
    tasks: Sequence[TaskToPublish],
    *,
    repo: str,
    extras: Mapping[str, Collection[str]],
) -> bytes:
    """Returns the card of a repository with the sections of `tasks` made or replaced.

    Args:
        before: The card as it is; None where there is none.
        content: The whole registry.
        tasks: The tasks that are being published.
        repo: `owner/name`.
        extras: Paths of the files beside the head of each task.

    Raises:
        RemoteContentError: The card as it is is not UTF-8, too long, or its front matter is not
            the plain YAML that can be kept.
    """
    values, body = _parts(before, repo)
    paths = [path for task in tasks for path in extras.get(task.name, ())]
    values = front_matter(values, content, tasks, has_peft=any(map(is_peft, paths)))
    body = body.strip("\n") or f"# {plain(repo.partition('/')[2])}"
    body = _put(body, _TOP, _overview(content, repo), after=None)
    for task in sorted(tasks, key=lambda task: task.name):
        section = task_section(repo, task.name, task.spec, extras.get(task.name, ()))
        body = _put(body, f"task:{task.name}", section, after=_TOP)
    return (render_front_matter(values) + "\n" + body + "\n").encode()


def _parts(before: bytes | None, repo: str) -> tuple[dict[str, Any], str]:
    if before is None:
        return {}, ""
    if len(before) > MOST_BYTES:
        raise RemoteContentError(repo, f"its {CARD_NAME} is longer than {MOST_BYTES} bytes")
    try:
        text = before.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = before.count(b"\n", 0, error.start) + 1
        raise RemoteContentError(
            repo,
            f"its {CARD_NAME} is not UTF-8 (line {line}), so that it cannot be kept. Save it as "
            f"UTF-8, or remove it, and publish again.",
        ) from error
    found = _FRONT.match(text)
    if found is None:
        return {}, text
    try:
        document = read_yaml((found[1] or "").encode(), Path(CARD_NAME))
    except RegistryError as error:
        raise RemoteContentError(
            repo,
            f"the front matter of its {CARD_NAME} cannot be kept: {error.problem}. Correct it, and "
            f"publish again.",
        ) from error
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise RemoteContentError(repo, f"the front matter of its {CARD_NAME} is not a mapping")
    return {str(key): one for key, one in value.items()}, text[found.end() :]


def _put(body: str, name: str, section: str, *, after: str | None) -> str:
    """Returns the body with the text between the marks of `name` replaced, or put in its place."""
    start, end = f"<!-- adapterhub:{name} ({_ATTENTION}) -->", f"<!-- /adapterhub:{name} -->"
    block = f"{start}\n\n{section}\n\n{end}"
    marks = re.compile(
        rf"<!-- adapterhub:{re.escape(name)} [^\n]*-->.*?{re.escape(end)}", re.DOTALL
    )
    if marks.search(body):
        return marks.sub(lambda _: block, body, count=1)
    if after is None:
        title = re.match(r"#[^\n]*\n*", body)
        cut = title.end() if title else 0
        return f"{body[:cut].rstrip()}\n\n{block}\n\n{body[cut:].lstrip()}".strip("\n")
    last = [found.end() for found in re.finditer(r"<!-- /adapterhub:[^\n]* -->", body)][-1]
    return f"{body[:last]}\n\n{block}{body[last:]}"


def _overview(content: RegistryContent, repo: str) -> str:
    rows = [_row(name, entry) for name, entry in sorted(content.tasks.items())]
    first = sorted(content.tasks)[0]
    return "\n\n".join(
        [
            "Small text tasks for `adapterhub`: heads on one frozen ALBERT, which answers any "
            "number of them in one pass over the text.",
            table(("task", "answers", "language", "depths", "measured", "versions", "about"), rows),
            f'```sh\nadapterhub score "…" --task {repo}:{first}\n'
            f"adapterhub add {repo}:{first} --as {first}\n```",
        ]
    )


def _row(name: str, entry: TaskEntry) -> tuple[str, ...]:
    record = entry.versions[entry.newest]
    figure = next(iter(record.metrics.items()), None)
    aliases = (f"{number} is `@{alias}`" for alias, number in sorted(entry.aliases.items()))
    return (
        f"`{name}`",
        entry.kind.replace("_", " "),
        ", ".join(map(plain, entry.languages)),
        "+".join(map(str, record.depths)),
        f"{plain(METRIC_NAMES.get(figure[0], figure[0]))} {figure[1]:.3f}" if figure else "",
        ", ".join([str(entry.newest), *aliases]),
        plain(entry.description),
    )
