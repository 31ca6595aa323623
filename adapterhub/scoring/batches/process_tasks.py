"""Tasks that are resident in this process: one encoder per configuration, opened on first use.

Engines such as Spark unpickle a function for each piece of work in a process that lives on, so
what was opened must outlive the function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapterhub.decoding import AnswerOptions
from adapterhub.model.backbone.caller_state import ForkedLock
from adapterhub.model.backbone.open_backbone import choose_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.resident import ResidentTask
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.execution.stages import ResidentCall
from adapterhub.model.execution.task_loader import TaskLoader
from adapterhub.remote.operation import operation
from adapterhub.scoring.batches.pinned import EncoderPlace, PinnedTasks
from adapterhub.store.registries import Registries


@dataclass(frozen=True, slots=True, eq=False)
class _OpenEncoder:
    """An encoder with the tasks that were loaded on it."""

    context: ExecutionContext
    loader: TaskLoader


_LOCK = ForkedLock()
_ENCODERS: dict[EncoderPlace, _OpenEncoder] = {}
_TASKS: dict[PinnedTasks, Mapping[str, ResidentTask]] = {}


def open_pinned(
    tasks: PinnedTasks, fields: Mapping[str, Mapping[str, str]], *, answers: AnswerOptions
) -> ResidentCall:
    """Returns a call of pinned tasks by their names; opens them if need be.

    Args:
        tasks: The tasks.
        fields: By task, the column that a field is read from, by field.
        answers: What is wanted of the predictions.

    Raises:
        ResidentError: A task has other bytes here than where it was pinned.
        AdapterHubError: As `Hub()` and `Hub.load`.
    """
    resident = _open_tasks(tasks)
    context = _ENCODERS[tasks.place].context
    return ResidentCall.of(resident, context=context, fields=fields, answers=answers)


def _open_tasks(tasks: PinnedTasks) -> Mapping[str, ResidentTask]:
    with _LOCK:
        if tasks not in _TASKS:
            opened = _open_encoder(tasks.place)
            pins = {task.name: (task.reference, task.made_by.sha256) for task in tasks.tasks}
            with operation():
                opened.loader.load_pinned(opened.context.encoder.spec, pins)
            names = list(pins)
            # Kept as they are now: another call may load other versions by the same names.
            _TASKS[tasks] = opened.loader.acquire(names, opened.loader.look_up(names))
        return _TASKS[tasks]


@operation()
def _open_encoder(place: EncoderPlace) -> _OpenEncoder:
    if place not in _ENCODERS:
        paths = tuple(map(Path, place.registries))
        opened = choose_backbone(Registries(paths), place.backbone)
        encoder = Encoder(opened, device=place.device, dtype=place.dtype)
        tokenizer = TextTokenizer(opened.tokenizer)
        context = ExecutionContext(encoder, tokenizer, place.max_windows)
        _ENCODERS[place] = _OpenEncoder(context, TaskLoader(paths, context))
    return _ENCODERS[place]
