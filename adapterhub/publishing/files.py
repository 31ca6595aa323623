"""The files of one commit: heads, registry, card, evaluation results, figures, PEFT folders."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adapterhub.errors import AdapterError, UsageError
from adapterhub.publishing.card import write_card
from adapterhub.publishing.eval_results import (
    is_old,
    is_ours,
    read_benchmarks,
    results_file,
    results_path,
)
from adapterhub.publishing.figures import draw
from adapterhub.publishing.layout import Present
from adapterhub.publishing.merging import Merged
from adapterhub.remote.download_count import CONFIG_NAME
from adapterhub.remote.find import FoundTask
from adapterhub.store.atomic import removed_at_end
from adapterhub.store.registry import REGISTRY_NAME

Extras = Mapping[str, Mapping[str, bytes]]
"""Content by path, by name of the task."""


def extras_of(tasks: Sequence[FoundTask], benchmarks: Sequence[str] = ()) -> Extras:
    """Returns the files published beside each head: figures, PEFT's format, results.

    Args:
        tasks: The tasks.
        benchmarks: As `read_benchmarks` takes them.

    Raises:
        UsageError: A benchmark is of none of the tasks.
        MissingExtraError: There are figures to draw and matplotlib is not installed.
    """
    named = read_benchmarks(benchmarks, {task.name: task.spec for task in tasks})
    return {
        task.name: {
            **_pictures(task),
            **_peft_files(task),
            **({results_path(task.name): results_file(task.spec, own)} if own else {}),
        }
        for task in tasks
        for own in [named.get(task.name)]
    }


def _pictures(task: FoundTask) -> dict[str, bytes]:
    drawn = draw(task.spec)
    return {f"figures/{task.name}-{title}.png": data for title, data in drawn.items()}


def _peft_files(task: FoundTask) -> dict[str, bytes]:
    """Returns `peft/<task>/…`, which PEFT opens by `subfolder=`; empty if PEFT has no format."""
    if task.spec.adapter is None:
        return {}
    # PEFT takes seconds to import, and most tasks have no adapter.
    from adapterhub.peft.export_folder import export_peft

    with tempfile.TemporaryDirectory() as folder, removed_at_end(Path(folder)):
        place = Path(folder) / task.name
        try:
            export_peft(task.load(), place)
        except AdapterError:
            # PEFT has no format for this adapter; it is published in the head file alone.
            return {}
        return {f"peft/{task.name}/{path.name}": path.read_bytes() for path in place.iterdir()}


CONFIG = b'{\n  "library": "adapterhub",\n  "load": "adapterhub.Hub.from_hub"\n}\n'
"""The Hub counts requests for this file as downloads. It has no `model_type`, so that transformers
says of the repository that it is no model of its own."""

# By the names that are written, since people may put other files into the same folders.
_BESIDE = re.compile(
    r"tasks/(.+)\.md"
    r"|figures/(.+)-(?:calibration|confusion|abstention)\.png"
    r"|peft/([^/]+)/(?:adapter_config\.json|(?:adapter_model|head)\.safetensors|README\.md)"
)


def files_of(
    merged: Merged, tasks: Sequence[FoundTask], *, repo: str, extras: Extras, there: Present
) -> dict[str, bytes | None]:
    """Returns the content of every file that a commit changes, by path; None deletes the file.

    Files beside an older version are deleted: they would be taken for those of the newest.

    Args:
        merged: The registry with the tasks in it.
        tasks: The tasks to publish.
        repo: `owner/name`.
        extras: The result of `extras_of`.
        there: The repository before.

    Raises:
        RemoteContentError: The current card cannot be kept.
    """
    versions, entries = merged.versions, merged.content.tasks
    newest = [task for task in tasks if _is_newest(merged, task)]
    files: dict[str, bytes | None] = {REGISTRY_NAME: merged.data}
    names = {task.name for task in newest}
    files |= dict.fromkeys(path for path in there.files if task_of(path) in names)
    files |= dict.fromkeys(_outdated_results(merged, extras, there))
    # The card describes the newest version of a task.
    files |= write_card(
        merged.content, newest, repo=repo, extras=extras, there=there, earlier=merged.before
    )
    if CONFIG_NAME not in there.files:
        files[CONFIG_NAME] = CONFIG
    for task in tasks:
        if task.name in merged.added:
            record = entries[task.name].versions[versions[task.name]]
            files[record.file] = task.data
    for task in newest:
        files |= extras.get(task.name, {})
    return files


def _outdated_results(merged: Merged, extras: Extras, there: Present) -> Iterator[str]:
    """Yields files of results that were ours, and are of an older version or in an older form.

    Raises:
        UsageError: A file that will be written is somebody else's.
    """
    known = merged.before.tasks if merged.before else {}
    gone = known.keys() - merged.content.tasks.keys()
    names = {results_path(name): name for name in (*merged.content.tasks, *gone)}
    for path, data in there.read_all(names).items():
        name = names[path]
        if is_old(data, name) or (is_ours(data) and name in {*merged.added, *gone}):
            yield path
        elif path in extras.get(name, {}) and not is_ours(data):
            raise UsageError(
                f"The results {path} are in the repository, written by somebody else. Add the "
                f"benchmark there by hand, or remove the file, and publish again."
            )


def _is_newest(merged: Merged, task: FoundTask) -> bool:
    return merged.versions[task.name] == merged.content.tasks[task.name].newest


def task_of(path: str) -> str | None:
    """Returns the task that a file beside a head belongs to, or None for other files."""
    found = _BESIDE.fullmatch(path)
    return None if found is None else next(filter(None, found.groups()))
