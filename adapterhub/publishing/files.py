"""The files of one publication: heads, registry, card, evaluation results, figures, PEFT."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import yaml

from adapterhub.errors import AdapterError
from adapterhub.publishing.card import CARD_NAME, write_card
from adapterhub.publishing.figures import draw
from adapterhub.publishing.hub_metrics import evaluation_results
from adapterhub.publishing.merging import Merged
from adapterhub.remote.read_task import ReadTask
from adapterhub.store.registry import REGISTRY_NAME

Extras = Mapping[str, Mapping[str, bytes]]
"""By name of the task: content by path."""


def extras_of(tasks: Sequence[ReadTask]) -> Extras:
    """Returns the files beside each head; none where the head file has nothing to show.

    Raises:
        MissingExtraError: There is something to draw, and matplotlib is not installed.
    """
    return {task.name: {**_pictures(task), **_peft_files(task)} for task in tasks}


def _pictures(task: ReadTask) -> dict[str, bytes]:
    if task.head.spec.diagnostics is None:
        return {}
    drawn = draw(task.head.spec.diagnostics, task.head.spec.labels)
    return {f"figures/{task.name}-{title}.png": data for title, data in drawn.items()}


def _peft_files(task: ReadTask) -> dict[str, bytes]:
    """Returns `peft/<task>/…`, which PEFT opens by `subfolder=`; empty where PEFT has no form."""
    if task.head.spec.adapter is None:
        return {}
    # PEFT takes seconds to import, and most tasks have no adapter.
    from adapterhub.peft.export_folder import export_peft

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / task.name
        try:
            export_peft(task.head, place)
        except AdapterError:
            # Some adapters are none of PEFT's; the head file has them, and the card says no more.
            return {}
        return {f"peft/{task.name}/{path.name}": path.read_bytes() for path in place.iterdir()}


_BESIDE = re.compile(
    r"\.eval_results/(.+)\.yaml|figures/(.+)-(?:calibration|confusion)\.png|peft/([^/]+)/.+"
)


def files_of(
    merged: Merged,
    tasks: Sequence[ReadTask],
    *,
    repo: str,
    card: bytes | None,
    extras: Extras,
    there: Collection[str] = (),
) -> dict[str, bytes | None]:
    """Returns the content of every file that a publication writes, by path; None where it goes.

    What stood beside an older version goes, since it would be read as the newest one's.

    Args:
        merged: The registry with the tasks in it.
        tasks: What is being published.
        repo: `owner/name`.
        card: The card as it is; None where there is none.
        extras: What `extras_of` gave.
        there: The files that the repository has.

    Raises:
        RemoteContentError: The card as it is cannot be kept.
    """
    versions, entries = merged.versions, merged.content.tasks
    newest = [task for task in tasks if _is_newest(merged, task)]
    files: dict[str, bytes | None] = {REGISTRY_NAME: merged.data}
    names = {task.name for task in newest}
    files |= dict.fromkeys(path for path in there if _task_of(path) in names)
    # What stands in the card is about the newest version of a task.
    files[CARD_NAME] = write_card(card, merged.content, newest, repo=repo, extras=extras)
    for task in tasks:
        if task.name in merged.added:
            record = entries[task.name].versions[versions[task.name]]
            files[record.file] = task.data
    for task in newest:
        files |= extras.get(task.name, {})
        if results := evaluation_results(task.name, task.head.spec):
            text = yaml.safe_dump(results, sort_keys=False, allow_unicode=True)
            files[f".eval_results/{task.name}.yaml"] = text.encode()
    return files


def _is_newest(merged: Merged, task: ReadTask) -> bool:
    return merged.versions[task.name] == merged.content.tasks[task.name].newest


def _task_of(path: str) -> str | None:
    """Returns the task that a file is about, where it is one of those beside heads."""
    found = _BESIDE.fullmatch(path)
    return None if found is None else next(filter(None, found.groups()))
