"""What a Hub is made of: the names it knows, its encoder, and the tasks on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.errors import UsageError
from adapterhub.inputs import parse_bytes
from adapterhub.model.backbone.open_backbone import Backbone, choose_backbone
from adapterhub.model.backbone.sources import absolute_source
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.execution.task_loader import TaskLoader
from adapterhub.remote.task_names import TaskNames, names_in


@dataclass(frozen=True, slots=True)
class HubSettings:
    """How a backbone is opened; the fields are arguments of `Hub`."""

    backbone: str | Path | None
    device: str
    dtype: str
    max_bytes: int | str | None
    max_windows: int


@dataclass(frozen=True, slots=True, eq=False)
class HubParts:
    """A backbone on its device, with the names of tasks for it.

    Attributes:
        names: What names of tasks mean.
        backbone: The backbone.
        context: Its encoder and tokenizer.
        tasks: The resident tasks, none at first.
        settings: Those that open the same in another working folder.
    """

    names: TaskNames
    backbone: Backbone
    context: ExecutionContext
    tasks: TaskLoader
    settings: HubSettings


def open_parts(
    registry: str | Path | Sequence[str | Path] | TaskNames | None, settings: HubSettings
) -> HubParts:
    """Opens a registry and loads its backbone on the device.

    Raises:
        RegistryError: A registry is not valid.
        BackboneError: The backbone cannot be opened, or is not the registry's.
        UsageError: A setting is not valid, or the device is not available.
    """
    windows, backbone, device = settings.max_windows, settings.backbone, settings.device
    if type(windows) is not int or windows < 1:
        raise UsageError(f"max_windows is {windows!r}; expected 1 or more.")
    size = parse_bytes(settings.max_bytes)
    names = names_in(registry)
    opened = choose_backbone(names.known(any_backbone=backbone is not None), backbone)
    encoder = Encoder(opened, device=device, dtype=settings.dtype)
    context = ExecutionContext(encoder, TextTokenizer(opened.tokenizer), windows)
    place = absolute_source(backbone)
    return HubParts(
        names=names.on(opened.spec.fingerprint),
        backbone=opened,
        context=context,
        tasks=TaskLoader(names.paths, context, max_bytes=size),
        settings=replace(settings, backbone=place, device=str(device), max_bytes=size),
    )
