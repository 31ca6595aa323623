"""What is published beside a head file: its pictures, and its adapter as PEFT opens it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapterhub.errors import AdapterError
from adapterhub.publishing.content import TaskToPublish
from adapterhub.publishing.figures import draw
from adapterhub.store.headfile import parse_head

Extras = Mapping[str, Mapping[str, bytes]]
"""By name of the task: content by path."""


def extras_of(tasks: Sequence[TaskToPublish]) -> Extras:
    """Returns the files beside each head; none where the head file has nothing to show.

    Raises:
        MissingExtraError: There is something to draw, and matplotlib is not installed.
    """
    return {task.name: {**_pictures(task), **_peft_files(task)} for task in tasks}


def _pictures(task: TaskToPublish) -> dict[str, bytes]:
    if task.spec.diagnostics is None:
        return {}
    drawn = draw(task.spec.diagnostics, task.spec.labels)
    return {f"figures/{task.name}-{title}.png": data for title, data in drawn.items()}


def _peft_files(task: TaskToPublish) -> dict[str, bytes]:
    """Returns `peft/<task>/…`, which PEFT opens by `subfolder=`; empty where PEFT has no form."""
    if task.spec.adapter is None:
        return {}
    # PEFT takes seconds to import, and most tasks have no adapter.
    from adapterhub.store.peft_export import export_peft

    head = parse_head(task.data, source=task.name)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / task.name
        try:
            export_peft(head, place)
        except AdapterError:
            # Some adapters are none of PEFT's; the head file has them, and the card says no more.
            return {}
        return {f"peft/{task.name}/{path.name}": path.read_bytes() for path in place.iterdir()}
