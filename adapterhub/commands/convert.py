"""`adapterhub convert`: a pickled checkpoint to one in safetensors."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.options import AsJson
from adapterhub.commands.printing import note, print_fields, print_json, size_text

if TYPE_CHECKING:
    from adapterhub.importing.convert import Converted

_SHOWN = 8


def convert(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            help="A folder with pytorch_model.bin (or its parts), config.json and a tokenizer, "
            "as transformers saved it; or owner/name on the Hub, which is fetched.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to, a new or empty folder.")],
    max_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time limit of reading the pickle.")
    ] = 600.0,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            help="Limit of the memory for reading it, beside that of Python and torch. [three "
            "times its size and 1 GiB]",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Convert a checkpoint whose weights are in a pickle to safetensors.

    A pickle may hold code. It is read in a process of its own that makes tensors only, with
    limits of time and memory; one that carries code is refused, and the code never runs. The new
    folder is a backbone with config.json and a tokenizer that fits, checked before it appears.
    """
    from adapterhub.importing.convert_checks import check_conversion

    check_conversion(folder, out, max_seconds=max_seconds, max_bytes=max_bytes)
    # From here on it takes seconds: torch.
    from adapterhub.importing.convert import convert

    done = convert(folder, out, max_seconds=max_seconds, max_bytes=max_bytes)
    if as_json:
        print_json({**asdict(done), "folder": str(out)})
    else:
        _print(done, out)


def _print(done: Converted, out: Path) -> None:
    print_fields(
        {
            "folder": str(out),
            "family": done.family,
            "parameters": f"{done.parameters:,}",
            "size": size_text(done.size),
            "tokenizer": done.tokenizer,
            "fingerprint": done.fingerprint,
            "left out": ", ".join(done.left_out[:_SHOWN])
            + (", …" if len(done.left_out) > _SHOWN else ""),
        }
    )
    for line in done.notes:
        note(f"adapterhub: {line}")
    source = str(out) if out.is_absolute() or str(out).startswith((".", "~")) else f"./{out}"
    note(
        f"adapterhub: try: adapterhub train rows.jsonl --task NAME --backbone {shlex.quote(source)}"
    )
