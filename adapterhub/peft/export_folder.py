"""A task with an adapter -> a folder that PEFT opens without adapterhub."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors.torch

from adapterhub.errors import AdapterError, check_type
from adapterhub.families import FAMILIES
from adapterhub.peft.exportable import (
    check_export_folder,
    exportable_adapter,
    is_stock,
    opens_on,
    without_pooling,
)
from adapterhub.peft.exported_head import HEAD_FILE, describe_head, encode_exported_head
from adapterhub.peft.format import peft_config, peft_state
from adapterhub.peft.saved_files import CONFIG_FILE, WEIGHTS_FILE
from adapterhub.specs import AdapterSpec, TaskSpec
from adapterhub.store.adapter_names import prefixed
from adapterhub.store.atomic import reason
from adapterhub.store.headfile import HeadFile
from adapterhub.store.new_folder import new_folder

README_FILE = "README.md"


def export_peft(head: HeadFile, folder: str | Path) -> None:
    """Writes a task's adapter as PEFT saves one, and its head beside it; whole or not at all.

    It opens with plain PEFT on a plain model of transformers, for instance a `BertModel`. Only an
    ALBERT has one module for all depths: an adapter that differs by depth, or leaves the first
    depths alone, opens on `adapterhub.unrolled(model)` there.

    Args:
        head: A head file with an adapter.
        folder: Made; may exist if it is empty.

    Raises:
        UsageError: An argument is of another type.
        AdapterError: The task has no adapter that PEFT knows, the folder is not empty, or the
            system cannot write it.
    """
    check_type(head, HeadFile, "What is exported", "a head file, as read_head returns it")
    folder = check_export_folder(folder)
    adapter = exportable_adapter(head.spec, head.source)
    stock, family = is_stock(head.spec), FAMILIES[head.spec.backbone.family]
    try:
        config = peft_config(adapter, stock=stock, family=family)
        state = prefixed(peft_state(adapter, head.tensors, stock=stock, family=family))
    except ValueError as error:
        raise AdapterError(f"of {head.source}", str(error)) from error
    backbone = head.spec.backbone
    # It opens on the encoder alone: PEFT would look for the classifier of the other types.
    config.task_type = "FEATURE_EXTRACTION"
    if "/" in backbone.name:
        config.base_model_name_or_path, config.revision = backbone.name, backbone.revision
    values = {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in config.to_dict().items()
    }
    owned = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    files = {
        CONFIG_FILE: json.dumps(values, indent=2, sort_keys=True).encode() + b"\n",
        WEIGHTS_FILE: safetensors.torch.save(owned, {"format": "pt"}),
        HEAD_FILE: encode_exported_head(head),
        README_FILE: _readme(head.spec, adapter).encode(),
    }
    _write_folder(folder, files)


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    try:
        with new_folder(folder) as temp:
            for name, data in files.items():
                (temp / name).write_bytes(data)
    except OSError as error:
        raise AdapterError(folder, f"it cannot be written: {reason(error)}") from error


def _readme(spec: TaskSpec, adapter: AdapterSpec) -> str:
    """Returns how to open the folder; PEFT's own model card says nothing of depths."""
    backbone, family = spec.backbone, FAMILIES[spec.backbone.family]
    known = "/" in backbone.name
    source = repr(backbone.name) if known else '"./the-backbone"'
    revision = f", revision={backbone.revision!r}" if known and backbone.revision else ""
    model = opens_on(spec)
    depths = ", ".join(map(str, adapter.depths))
    where = "all depths" if is_stock(spec) else f"depth {depths}"
    imports = "import adapterhub\n" if model.startswith("adapterhub") else ""
    pooling = without_pooling(spec)
    kind = f"{family.title}Model"
    title = "an ALBERT" if family.shares_blocks else f"{'an' if kind[0] in 'EX' else 'a'} {kind}"
    return f"""---
library_name: peft
---
# {spec.task}

{adapter.method} on {", ".join(adapter.sites)} at {where} of {title}, exported by adapterhub.
Its backbone is {backbone.name}, {backbone.fingerprint}.

```python
{imports}from peft import PeftModel
from transformers import {kind}

model = {kind}.from_pretrained({source}{revision}{pooling})
model = PeftModel.from_pretrained({model}, ".")
```

`{HEAD_FILE}` holds what reads the hidden states: {describe_head(spec)}.
`adapterhub import <this folder> --task {spec.task}` makes a task of it again.
"""
