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
    """Returns tasks as they are published: their backbone named by a repository on the Hub.

    The head files stay as they are: they hold the fingerprint, which is what counts. Registry,
    card and PEFT's settings are made of what is returned.

    Args:
        tasks: The tasks.
        base_model: `owner/name`, or `owner/name@revision`; None leaves the tasks as they are.

    Raises:
        UsageError: It is not the name of a repository.
        BackboneError: It cannot be opened.
        BackboneMismatchError: A task was made for another backbone.
    """
    if base_model is None:
        return tasks
    if hub_name(base_model) is None:
        raise UsageError(
            f"The base model {base_model[:200]!r} is not a repository on the Hub; write owner/name "
            f"or owner/name@commit. `adapterhub publish-backbone` makes one."
        )
    backbone = open_backbone(base_model).spec
    return [_on(task, backbone) for task in tasks]


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
    named = own.model_copy(update={"name": backbone.name, "revision": backbone.revision})
    spec = task.spec.model_copy(update={"backbone": named})
    return replace(task, header=replace(task.header, spec=spec))
