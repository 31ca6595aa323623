"""Which tasks can be exported, on what an export opens, and where it goes; without torch."""

from __future__ import annotations

from pathlib import Path

from adapterhub.errors import AdapterError
from adapterhub.families import FAMILIES
from adapterhub.specs import BLOCK_METHOD, AdapterSpec, TaskSpec
from adapterhub.store.atomic import reason
from adapterhub.store.new_folder import is_free
from adapterhub.store.paths import absolute_path

_NO_POOLING = ("distilbert", "electra")
"""Families whose models have no pooling layer to leave out."""

_PER_MODEL = ("frod", "tinylora")
"""Methods with tensors for the model as a whole, which depend on how many maps it has."""


def exportable_adapter(spec: TaskSpec, source: str) -> AdapterSpec:
    """Returns the adapter of a task that can be exported.

    Args:
        spec: The task.
        source: Its head file, for messages.

    Raises:
        AdapterError: It has no adapter that PEFT knows.
    """
    adapter, source = spec.adapter, f"of {source}"
    if adapter is None:
        raise AdapterError(
            source, f"task '{spec.task}' has none; it is a head on the frozen backbone"
        )
    if adapter.method == BLOCK_METHOD:
        raise AdapterError(
            source, f"task '{spec.task}' has a full copy of the block, which PEFT cannot hold"
        )
    if adapter.tie_depths and adapter.method in _PER_MODEL and not is_stock(spec):
        raise AdapterError(
            source,
            f"its '{adapter.method}' is shared by depths {adapter.depths[0]} to "
            f"{adapter.depths[-1]}, and its tensors cannot be repeated for each of them",
        )
    return adapter


def check_export_folder(folder: str | Path) -> Path:
    """Returns the absolute path of a folder that can be made.

    Raises:
        AdapterError: It is there and not empty, or cannot be read.
    """
    path = absolute_path(folder, "folder")
    try:
        can_be_made = is_free(path)
    except OSError as error:
        raise AdapterError(path, f"it cannot be written: {reason(error)}") from error
    if not can_be_made:
        raise AdapterError(path, "the folder is not empty; choose a new one")
    return path


def is_stock(spec: TaskSpec) -> bool:
    """Returns whether a task's adapter is the same on a plain ALBERT, where it is at all depths.

    Depths beyond the deepest one that the head reads do not matter. False for other families.
    """
    adapter = spec.adapter
    if (
        adapter is None
        or not adapter.tie_depths
        or not FAMILIES[spec.backbone.family].shares_blocks
    ):
        return False
    needed = min(spec.deepest, spec.backbone.num_hidden_layers)
    return adapter.depths[:needed] == tuple(range(needed))


def opens_on(spec: TaskSpec) -> str:
    """Returns the expression for the model that an export opens on, given a plain `model`."""
    is_plain = is_stock(spec) or not FAMILIES[spec.backbone.family].shares_blocks
    return "model" if is_plain else "adapterhub.unrolled(model)"


def without_pooling(spec: TaskSpec) -> str:
    """Returns the argument that loads the model of an export without a pooling layer, or ""."""
    return "" if spec.backbone.family in _NO_POOLING else ", add_pooling_layer=False"
