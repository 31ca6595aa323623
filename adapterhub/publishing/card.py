"""The model card, README.md: generated from the tasks, without touching text that people wrote.

Generated text stands between marks. The rest of the file is kept, so that two publishers do not
lose each other's sections. The sentences are in `card.md.jinja`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from adapterhub.publishing.front_matter import CARD_NAME, card_bytes, read_card
from adapterhub.publishing.hub_metadata import front_matter
from adapterhub.publishing.keeping import strings, with_ours
from adapterhub.publishing.layout import MOST_CARD_BYTES, Present, lay_out
from adapterhub.publishing.model_index import model_index
from adapterhub.publishing.rendering import escape
from adapterhub.publishing.task_section import task_section
from adapterhub.publishing.widget import widget
from adapterhub.remote.find import FoundTask
from adapterhub.store.entries import RegistryContent

_MOST_DATASETS = 4_000
"""Size of the names of data sets; the sections of the tasks have all."""


def write_card(
    content: RegistryContent,
    tasks: Sequence[FoundTask],
    *,
    repo: str,
    extras: Mapping[str, Collection[str]],
    there: Present,
    earlier: RegistryContent | None = None,
) -> dict[str, bytes]:
    """Returns the card of a repository, and the pages of its tasks, by path.

    Args:
        content: The whole registry.
        tasks: The tasks to publish.
        repo: `owner/name`.
        extras: Paths of the files beside the head of each task.
        there: The repository before.
        earlier: The registry before, if the repository had one.

    Raises:
        RemoteContentError: The current card is not UTF-8, too long, or its front matter is not
            plain YAML.
    """
    card = read_card(there.card, repo)
    before, removed = card.values, set(earlier.tasks if earlier else ()) - set(content.tasks)
    paths = [path for task in tasks for path in extras.get(task.name, ())]
    has_peft = any(path.startswith("peft/") for path in paths)
    found = front_matter(content, tasks, has_peft=has_peft)
    ours = {
        **found,
        "datasets": _few(found["datasets"], strings(before.get("datasets"))),
        "widget": widget(before.get("widget"), content, tasks, removed=removed),
        "model-index": model_index(
            before.get("model-index"), content, tasks, repo=repo, removed=removed
        ),
    }
    card = with_ours(card, ours, front_matter(earlier, ()) if earlier else None)
    sections = {
        task.name: task_section(repo, task.name, task.spec, extras.get(task.name, ()))
        for task in tasks
    }
    body = card.body.strip("\n") or f"# {escape(repo.partition('/')[2])}"
    room = MOST_CARD_BYTES - len(card_bytes(replace(card, body="")))
    body, pages = lay_out(body, content, sections, repo=repo, there=there, room=room)
    return {CARD_NAME: card_bytes(replace(card, body=body)), **pages}


def _few(names: Sequence[str], there: Sequence[object]) -> list[str]:
    """Returns the data sets of which the card says so, beside those that it names already."""
    left, found = _MOST_DATASETS - sum(len(str(name)) for name in there), []
    for name in names:
        if name in there or len(name) <= left:
            found.append(name)
            left -= 0 if name in there else len(name)
    return found
