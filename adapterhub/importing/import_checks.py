"""An import, checked before torch is imported: name, folder, registry, backbone."""

from __future__ import annotations

from pathlib import Path

from adapterhub.errors import AdapterError
from adapterhub.importing.model_config import read_model_config
from adapterhub.model.backbone.config import check_config
from adapterhub.peft.saved_files import is_peft_folder, saved_config, saved_weights
from adapterhub.saving import check_backbone_for
from adapterhub.store.paths import absolute_path
from adapterhub.store.references import check_name
from adapterhub.store.registry import read_registry, registry_to_write


def check_import(
    folder: str | Path, *, task: str, registry: str | Path | None, backbone: object
) -> Path:
    """Returns the absolute path of a folder whose files may make a task; needs no torch.

    Args:
        folder: As in `import_task`.
        task: As in `import_task`.
        registry: As in `import_task`.
        backbone: As in `import_task`.

    Raises:
        AdapterHubError: As `import_task`, but for what only tensors and an open backbone tell.
    """
    check_name(task, "task")
    folder = absolute_path(folder, "folder")
    if not folder.is_dir():
        raise AdapterError(folder, "no such folder")
    path = None if registry is None else registry_to_write(registry)
    if path is not None and path.is_file() and path.stat().st_size:
        read_registry(path)
    if is_peft_folder(folder):
        saved_config(folder)
        saved_weights(folder)
        check_backbone_for(path, backbone)
    else:
        check_backbone_for(path, backbone)
        read_model_config(folder)
        check_config(folder)
    return folder
