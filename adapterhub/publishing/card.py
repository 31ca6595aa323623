"""The model card, README.md: generated from the tasks, without touching text that people wrote.

Generated text stands between marks. The rest of the file is kept, so that two publishers do not
lose each other's sections. The sentences are in `card.md.jinja`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapterhub.errors import RegistryError, RemoteContentError
from adapterhub.publishing.hub_metadata import front_matter, render_front_matter
from adapterhub.publishing.layout import MOST_CARD_BYTES, Present, lay_out
from adapterhub.publishing.model_index import model_index
from adapterhub.publishing.rendering import escape
from adapterhub.publishing.task_section import task_section
from adapterhub.publishing.widget import widget
from adapterhub.remote.find import FoundTask
from adapterhub.store.entries import RegistryContent
from adapterhub.store.yamlsafe import read_yaml

CARD_NAME = "README.md"
MOST_BYTES = 4 * 2**20

_FRONT = re.compile(r"\A---\r?\n(.*?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def write_card(
    content: RegistryContent,
    tasks: Sequence[FoundTask],
    *,
    repo: str,
    extras: Mapping[str, Collection[str]],
    there: Present,
    removed: Collection[str] = (),
) -> dict[str, bytes]:
    """Returns the card of a repository, and the pages of its tasks, by path.

    Args:
        content: The whole registry.
        tasks: The tasks to publish.
        repo: `owner/name`.
        extras: Paths of the files beside the head of each task.
        there: The repository before.
        removed: Tasks that were in the registry before.

    Raises:
        RemoteContentError: The current card is not UTF-8, too long, or its front matter is not
            plain YAML.
    """
    values, body = _parts(there.card, repo)
    paths = [path for task in tasks for path in extras.get(task.name, ())]
    has_peft = any(path.startswith("peft/") for path in paths)
    before, shown = values.pop("model-index", None), values.pop("widget", None)
    index = model_index(before, content, tasks, repo=repo, removed=removed)
    values = front_matter(values, content, tasks, has_peft=has_peft)
    values |= {"widget": found} if (found := widget(shown, content, tasks, removed=removed)) else {}
    values |= {"model-index": index} if index else {}
    front = render_front_matter(values) + "\n"
    sections = {
        task.name: task_section(repo, task.name, task.spec, extras.get(task.name, ()))
        for task in tasks
    }
    body = body.strip("\n") or f"# {escape(repo.partition('/')[2])}"
    room = MOST_CARD_BYTES - len(front.encode())
    body, pages = lay_out(body, content, sections, repo=repo, there=there, room=room)
    return {CARD_NAME: (front + body + "\n").encode(), **pages}


def _parts(before: bytes | None, repo: str) -> tuple[dict[str, Any], str]:
    """Returns the front matter and the body of a card."""
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
            f"its {CARD_NAME} is not UTF-8 (line {line}), so it cannot be kept. Save it as "
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
