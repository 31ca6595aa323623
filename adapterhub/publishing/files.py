"""The files of one publication: heads, registry, card, evaluation results, pictures."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from adapterhub.publishing.card import CARD_NAME, write_card
from adapterhub.publishing.content import TaskToPublish
from adapterhub.publishing.extras import Extras
from adapterhub.publishing.measures import evaluation_results
from adapterhub.publishing.merging import Merged
from adapterhub.store.registry import REGISTRY_NAME


def files_of(
    merged: Merged,
    tasks: Sequence[TaskToPublish],
    *,
    repo: str,
    card: bytes | None,
    extras: Extras,
) -> dict[str, bytes]:
    """Returns the content of every file that a publication writes, by path.

    Args:
        merged: The registry with the tasks in it.
        tasks: What is being published.
        repo: `owner/name`.
        card: The card as it is; None where there is none.
        extras: What `extras_of` gave.

    Raises:
        RemoteContentError: The card as it is cannot be kept.
    """
    versions, entries = merged.versions, merged.content.tasks
    newest = [task for task in tasks if versions[task.name] == entries[task.name].newest]
    files = {REGISTRY_NAME: merged.data}
    # What stands in the card is about the newest version of a task.
    files[CARD_NAME] = write_card(card, merged.content, newest, repo=repo, extras=extras)
    for task in tasks:
        if task.name in merged.added:
            record = entries[task.name].versions[versions[task.name]]
            files[record.file] = task.data
    for task in newest:
        files |= extras.get(task.name, {})
        if results := evaluation_results(task.name, task.spec):
            text = yaml.safe_dump(results, sort_keys=False, allow_unicode=True)
            files[f".eval_results/{task.name}.yaml"] = text.encode()
    return files
