"""`adapterhub <verb>`: the command line. Verbs are in `commands`, one file each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from adapterhub.commands.add import add
from adapterhub.commands.alias import alias
from adapterhub.commands.convert import convert
from adapterhub.commands.deprecate import deprecate
from adapterhub.commands.doctor import doctor
from adapterhub.commands.evaluate import evaluate
from adapterhub.commands.exit_codes import CommandLine
from adapterhub.commands.explain import explain
from adapterhub.commands.export import export
from adapterhub.commands.import_ import import_
from adapterhub.commands.info import info
from adapterhub.commands.label import label
from adapterhub.commands.list_tasks import list_tasks
from adapterhub.commands.nearest import nearest
from adapterhub.commands.option_fields import Verb
from adapterhub.commands.printing import print_line
from adapterhub.commands.probe import probe
from adapterhub.commands.publish import publish
from adapterhub.commands.publish_backbone import publish_backbone
from adapterhub.commands.remove import remove
from adapterhub.commands.rename import rename
from adapterhub.commands.score import score
from adapterhub.commands.search import search
from adapterhub.commands.show import show
from adapterhub.commands.stopping import Signals
from adapterhub.commands.train import train
from adapterhub.commands.update import update

# \b keeps the lines that follow as they are.
_EXAMPLES = """\b
Examples:
  adapterhub list
  adapterhub score "I loved every minute." --task sentiment-en
  adapterhub score --file reviews.csv --text-column review --out scored.parquet
  adapterhub train rows.jsonl --task spam
  adapterhub train tasks.yaml
"""

_VERBS: dict[str, Callable[..., None]] = {
    "list": list_tasks,
    "show": show,
    "explain": explain,
    "score": score,
    "train": train,
    "eval": evaluate,
    "nearest": nearest,
    "probe": probe,
    "publish": publish,
    "publish-backbone": publish_backbone,
    "add": add,
    "update": update,
    "search": search,
    "alias": alias,
    "rename": rename,
    "label": label,
    "deprecate": deprecate,
    "remove": remove,
    "import": import_,
    "export": export,
    "convert": convert,
    "info": info,
    "doctor": doctor,
}


class _AllVerbs(CommandLine):
    """The group of all verbs, without the options of those that are not used."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": {n: Verb(n, v) for n, v in _VERBS.items()}})


app = typer.Typer(
    cls=_AllVerbs,
    name="adapterhub",
    epilog=_EXAMPLES,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from adapterhub import __version__

        print_line(f"adapterhub {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def adapterhub(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """One frozen encoder, many small text tasks, one pass.

    The encoder is an ALBERT, BERT, DistilBERT, ELECTRA, RoBERTa or XLM-RoBERTa.
    """
    del version
    if context.invoked_subcommand is None:
        print_line(context.get_help())


def main() -> None:
    """Runs the command line of this process and exits."""
    signals = Signals()
    try:
        signals.watch()
        app()
    except BaseException:
        if signals.code is None:
            raise
        # Libraries may have turned `Stopped` into an error of theirs.
        sys.exit(signals.code)
    finally:
        signals.at_end = True
