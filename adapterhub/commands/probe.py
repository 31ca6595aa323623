"""`adapterhub probe`: what each depth of an encoder knows of the labels of some rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import AsJson, Backbone
from adapterhub.commands.printing import note, print_json, print_line

if TYPE_CHECKING:
    from adapterhub.probing.options import ProbeOptions

_Data = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Labelled rows: .jsonl, .csv, .tsv (or with .gz, .zst), .parquet, .arrow; for the "
        "order of sentences also .txt, a paragraph in each line.",
    ),
]
_Registry = Annotated[
    Path | None,
    typer.Option(
        "--registry",
        "-r",
        metavar="FILE",
        help="A registry.yaml, or its folder, whose backbones have keys. Without it the nearest "
        "one from here upwards.",
    ),
]
_Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw bits over depth into a .png, .svg or .pdf file."),
]


@uses("adapterhub.probing.options:ProbeOptions")
def probe(
    data: _Data,
    *,
    backbone: Backbone = None,
    registry: _Registry = None,
    options: ProbeOptions,
    plot: _Plot = None,
    as_json: AsJson = False,
) -> None:
    """Measure what each depth of a frozen encoder knows of some labels.

    Small probes are fitted on the hidden states of each depth, and information is measured in
    bits on rows that had no part: how much less surprising a label is when the states are known.
    Beside them stand a control task of random labels and an encoder of random weights.
    In brackets: the default of an option.
    """
    from adapterhub.plots.figure_files import check_plot
    from adapterhub.probing.prepare import prepare
    from adapterhub.store.registry import NEAREST

    if plot is not None:
        check_plot(plot)
    job = prepare(data, options=options, backbone=backbone, registry=registry or NEAREST)
    # From here on it takes seconds: torch.
    from adapterhub.probing.probe import run

    result = run(job)
    if as_json:
        print_json(result.as_dict())
    else:
        print_line(result.render().rstrip())
    if plot is not None:
        note(f"adapterhub: drawn in {result.plot(plot)}")
