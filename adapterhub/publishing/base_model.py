"""The repository on the Hub that published tasks name as their backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapterhub.errors import BackboneMismatchError, UsageError
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.model.backbone.sources import hub_name
from adapterhub.remote.find import FoundTask
from adapterhub.specs import BackboneSpec, identity


def on_base_model(tasks: Sequence[FoundTask], base_model: str | None) -> Sequence[FoundTask]:
    """Returns tasks as they are published: their backbone named as it can be opened elsewhere.

    The head files stay as they are: they hold the fingerprint, which is what counts. Registry,
    card and PEFT's settings are made of what is returned.

    Args:
        tasks: The tasks.
        base_model: `owner/name`, or `owner/name@revision`; None takes what the registry names
            that a task came from, or else its head file.

    Raises:
        UsageError: It is not the name of a repository.
        BackboneError: It cannot be opened.
        BackboneMismatchError: A task was made for another backbone.
    """
    if base_model is None:
        return [_as_listed(task) for task in tasks]
    if hub_name(base_model) is None:
        raise UsageError(
            f"The base model {base_model[:200]!r} is not a repository on the Hub; write owner/name "
            f"or owner/name@commit. `adapterhub publish-backbone` makes one."
        )
    backbone = open_backbone(base_model).spec
    return [_on(task, backbone) for task in tasks]


def _as_listed(task: FoundTask) -> FoundTask:
    entry = task.backbone
    if entry is None or not entry.is_portable:
        return task
    return _named(task, entry.source, entry.revision)


def _on(task: FoundTask, backbone: BackboneSpec) -> FoundTask:
    own = task.spec.backbone
    if own.fingerprint != backbone.fingerprint:
        raise BackboneMismatchError(
            task.name,
            identity(own),
            identity(backbone),
            f"task '{task.name}' was made for the backbone {identity(own)}, and the base model is "
            f"{identity(backbone)}. `adapterhub publish-backbone` publishes that of a task.",
        )
    return _named(task, backbone.name, backbone.revision)


def _named(task: FoundTask, name: str, revision: str | None) -> FoundTask:
    backbone = task.spec.backbone.model_copy(update={"name": name, "revision": revision})
    spec = task.spec.model_copy(update={"backbone": backbone})
    return replace(task, header=replace(task.header, spec=spec))
