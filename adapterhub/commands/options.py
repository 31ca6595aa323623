"""Arguments and options that several verbs have, and how their values are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from adapterhub.commands.printing import note
from adapterhub.errors import UsageError, nearest
from adapterhub.kinds import KINDS

LABELLED_ROWS_HELP = (
    "Labelled rows: .jsonl, .json, .csv, .tsv, .conllu (or with .gz, .zst), .parquet, .arrow"
)
LabelledRows = Annotated[Path, typer.Argument(metavar="FILE", help=f"{LABELLED_ROWS_HELP}.")]
NewTask = Annotated[str, typer.Option("--task", "-t", metavar="NAME", help="Name of the task.")]
REGISTRY_HELP = (
    "A registry.yaml or its folder. Without it the nearest one from here upwards, else the tasks "
    "that ship with adapterhub."
)
Registry = Annotated[
    Path | None, typer.Option("--registry", "-r", metavar="FILE", help=REGISTRY_HELP)
]
REGISTRIES_HELP = (
    "A registry.yaml or its folder, or shipped: for the tasks that ship with adapterhub; repeat it "
    "for several. Without it the nearest one from here upwards, else the tasks that ship."
)
Registries = Annotated[
    list[Path] | None, typer.Option("--registry", "-r", metavar="FILE", help=REGISTRIES_HELP)
]
TASK_HELP = (
    "name, name@alias or name:version; shipped:name for a task that ships with adapterhub; "
    "./other/registry.yaml:name, ./file.safetensors, or owner/repo:name on the Hub."
)
OWN_REGISTRY_HELP = (
    "The registry.yaml, or its folder, of a local task. Without it the nearest one from here "
    "upwards."
)
OwnRegistry = Annotated[
    Path | None, typer.Option("--registry", "-r", metavar="FILE", help=OWN_REGISTRY_HELP)
]
REGISTRY_TO_WRITE_HELP = (
    "The registry.yaml to add to, made if missing. Without it the nearest one from here "
    "upwards, else one in this folder."
)
RegistryToWrite = Annotated[
    Path | None, typer.Option("--registry", "-r", metavar="FILE", help=REGISTRY_TO_WRITE_HELP)
]
USE_HELP = "The task to use instead, of the same registry or owner/repo:task."
OwnTask = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A task of the registry; or owner/repo:task, owner/repo@branch:task on the Hub.",
    ),
]
UseInstead = Annotated[str | None, typer.Option("--use", metavar="NAME", help=USE_HELP)]
OnlyLanguage = Annotated[
    str | None,
    typer.Option("--language", "-l", metavar="TAG", help="Only tasks for this language: en …"),
]
_KINDS = tuple(KINDS)
OnlyKind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help=f"Only {', '.join(_KINDS[:-1])} or {_KINDS[-1]} tasks.",
    ),
]
JSON_HELP = "Print JSON, errors too."
AsJson = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
BACKBONE_HELP = "A backbone of the registry by its key, a folder, or a Hub name."
Backbone = Annotated[str | None, typer.Option(metavar="NAME", help=BACKBONE_HELP)]


def one_of(option: str, value: str, known: Iterable[str]) -> str:
    """Returns `value` where it is known.

    Raises:
        UsageError: It is not; names the nearest.
    """
    names = tuple(known)
    if value in names:
        return value
    hint = nearest(value, names)
    meant = f" Did you mean '{hint}'?" if hint else ""
    raise UsageError(f"{option} is '{value}'; expected {', '.join(names)}.{meant}")


def note_token(token: str | None) -> None:
    """Says where a token of a command line can be read, as `hf` does."""
    if token is not None:
        note(
            "adapterhub: --token leaves the token in the history of the shell and in the list of "
            "processes; `hf auth login` and HF_TOKEN do not."
        )


def split_names(values: Iterable[str] | None) -> list[str]:
    """Returns the names of an option that may be repeated and takes `a,b` too, each once.

    Raises:
        UsageError: There are values, and no name in them.
    """
    given = list(values or ())
    parts = (part.strip() for value in given for part in value.split(","))
    names = list(dict.fromkeys(part for part in parts if part))
    if given and not names:
        raise UsageError(f"There is no name in '{' '.join(given)}'; give one, or leave it out.")
    return names
