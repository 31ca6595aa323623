"""`adapterhub export`: a task's adapter as a folder that PEFT opens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapterhub.commands.options import TASK_HELP, AsJson, Registries, one_of
from adapterhub.commands.printing import note, print_json, print_line

_FORMATS = ("peft",)


def export(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help=TASK_HELP),
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to, a new folder.")],
    format_: Annotated[
        str, typer.Option("--format", metavar="NAME", help="peft is the only one.")
    ] = "peft",
    registry: Registries = None,
    as_json: AsJson = False,
) -> None:
    """Write the adapter of a task as PEFT saves one, with its head beside it.

    It opens with plain PEFT on a plain model of transformers; on an ALBERT, one that differs by
    depth needs adapterhub.unrolled(model). The README.md in the folder says how.
    """
    one_of("--format", format_, _FORMATS)
    from adapterhub.peft.exportable import check_export_folder, exportable_adapter, opens_on
    from adapterhub.remote.find import find_all
    from adapterhub.store.registries import locate_registries

    task = find_all([name], locate_registries(registry or None))[0]
    exportable_adapter(task.spec, task.source)
    check_export_folder(folder)
    # From here on it takes seconds: torch and PEFT.
    from adapterhub.peft.export_folder import export_peft

    head = task.load()
    export_peft(head, folder)
    model = opens_on(head.spec)
    if as_json:
        values = {"task": head.spec.task, "folder": str(folder), "stock": model == "model"}
        print_json(values)
        return
    print_line(str(folder))
    note(f"adapterhub: open it with PeftModel.from_pretrained({model}, '{folder}')")
