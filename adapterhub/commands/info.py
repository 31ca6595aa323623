"""`adapterhub info`: an ALBERT's arithmetic."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, cast

import typer

from adapterhub.commands.options import AsJson
from adapterhub.commands.printing import print_json, print_line, print_table

if TYPE_CHECKING:
    from adapterhub.model.backbone.arithmetic import AlbertSizes, Operations, Parameters

_LENGTHS = (20, 32, 128, 512)


def info(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="package:<name>, a folder (./name), or a Hub name (owner/name@commit)",
        ),
    ] = "package:small-bilingual",
    as_json: AsJson = False,
) -> None:
    """Show what an ALBERT stores and what it computes."""
    from adapterhub.model.backbone.arithmetic import count_operations, count_parameters

    sizes = _read_sizes(source)
    parameters = count_parameters(sizes)
    longest = sizes.max_position_embeddings
    lengths = [length for length in _LENGTHS if length <= longest] or [longest]
    lengths += [longest] if longest > _LENGTHS[-1] else []
    operations = [count_operations(sizes, length) for length in lengths]
    if as_json:
        print_json(_values(source, sizes, parameters, operations))
    else:
        print_line(_heading(source, sizes))
        print_line()
        _print_parameters(parameters)
        print_line()
        _print_operations(operations)


def _read_sizes(source: str) -> AlbertSizes:
    """Returns the config of a backbone; its weights are not opened."""
    from adapterhub.model.backbone.config import CONFIG_FILE, read_config
    from adapterhub.model.backbone.sources import locate

    folder, _ = locate(source, only=(CONFIG_FILE,))
    return cast("AlbertSizes", read_config(folder).albert)


def _heading(source: str, sizes: AlbertSizes) -> str:
    return (
        f"{source}: V={sizes.vocab_size:,} E={sizes.embedding_size} H={sizes.hidden_size} "
        f"I={sizes.intermediate_size} D={sizes.num_hidden_layers}, windows up to "
        f"{sizes.max_position_embeddings} tokens"
    )


def _print_parameters(found: Parameters) -> None:
    blocks = "one block" if found.blocks == 1 else f"{found.blocks} blocks"
    many = found.blocks * found.block, found.unshared_blocks * found.block
    table = found.factored_table, found.unshared_table
    total = found.total, found.unshared_total
    rows = [
        ("token table", "V*E + E*H", *_counts(*table), "V*H"),
        ("depths", blocks, *_counts(*many), f"{found.unshared_blocks} blocks"),
        ("all parameters", "this ALBERT", *_counts(*total), "a BERT of this shape"),
    ]
    headings = ("stored", "shared", "parameters", "instead of", "ratio", "unshared")
    print_table(headings, rows)


def _counts(shared: int, unshared: int) -> tuple[str, str, str]:
    return f"{shared:,}", f"{unshared:,}", f"{unshared / shared:.1f} x"


def _print_operations(operations: list[Operations]) -> None:
    rows = [
        (
            str(found.length),
            f"{found.products / 1e6:,.3f} M",
            f"{found.attention / 1e6:,.3f} M",
            f"{found.per_depth / 1e6:,.3f} M",
            f"{found.per_token / 1e6:,.2f} M",
            f"{found.per_text / 1e9:,.3f} G",
        )
        for found in operations
    ]
    headings = (
        "tokens",
        "linear maps",
        "attention",
        "token and depth",
        "token, all depths",
        "text, all depths",
    )
    print_table(headings, rows)
    short = operations[0]
    print_line()
    print_line(
        f"A text of {short.length} tokens takes {short.per_text / 1e9:,.3f} G operations (a "
        f"multiply-add is two). Sharing saves none: {short.depths} depths cost what "
        f"{short.depths} distinct layers cost. A task that reads depth k pays k of them, and "
        f"tasks together pay the deepest only."
    )


def _values(
    source: str, sizes: AlbertSizes, parameters: Parameters, operations: list[Operations]
) -> dict[str, object]:
    names = (
        "vocab_size",
        "embedding_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_hidden_groups",
        "inner_group_num",
        "num_attention_heads",
        "max_position_embeddings",
        "type_vocab_size",
    )
    return {
        "source": source,
        "sizes": {name: getattr(sizes, name) for name in names},
        "parameters": {
            **asdict(parameters),
            "factored_table": parameters.factored_table,
            "total": parameters.total,
            "unshared_total": parameters.unshared_total,
        },
        "operations": [
            {
                **asdict(found),
                "per_depth": found.per_depth,
                "per_token": found.per_token,
                "per_text": found.per_text,
            }
            for found in operations
        ],
    }
