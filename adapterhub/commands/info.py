"""`adapterhub info`: an encoder's arithmetic."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.options import AsJson
from adapterhub.commands.printing import counted, print_json, print_line, print_table

if TYPE_CHECKING:
    from adapterhub.model.backbone.arithmetic import Operations, Parameters
    from adapterhub.model.backbone.config import EncoderConfig

_LENGTHS = (20, 32, 128, 512)
_ALBERT, _BERT = "an ALBERT of this shape", "a BERT of this shape"
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


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
    """Show what an encoder stores and what it computes, beside an ALBERT or BERT of its shape."""
    from adapterhub.model.backbone.arithmetic import count_operations, count_parameters

    config = _read_config(source)
    has_map = config.has_embedding_map
    stored = count_parameters(config.albert, has_map=has_map, more_rows=config.more_rows)
    resident = count_parameters(config.albert, has_map=has_map)
    longest = config.albert.max_position_embeddings
    lengths = [length for length in _LENGTHS if length <= longest] or [longest]
    lengths += [longest] if longest > _LENGTHS[-1] else []
    operations = [count_operations(config.albert, length, has_map=has_map) for length in lengths]
    if as_json:
        print_json(
            {
                "source": source,
                "family": config.family.name,
                **_values(config, stored, operations),
                "bytes": {dtype: resident.total * size for dtype, size in _BYTES.items()},
            }
        )
        return
    print_line(_heading(source, config))
    print_line()
    if config.family.shares_blocks:
        _print_parameters(stored)
    else:
        _print_unshared(stored)
    print_line()
    _print_memory(resident)
    print_line()
    _print_operations(operations)
    print_line()
    print_line(_conclusion(operations[0], shares=config.family.shares_blocks))


def _read_config(source: str) -> EncoderConfig:
    """Returns the config of a backbone; its weights are not opened."""
    from adapterhub.model.backbone.config import CONFIG_FILE, check_config, read_config
    from adapterhub.model.backbone.sources import locate

    folder, _ = locate(source, only=(CONFIG_FILE,))
    check_config(folder)  # without the seconds that transformers takes
    return read_config(folder)


def _heading(source: str, config: EncoderConfig) -> str:
    sizes = config.albert
    return (
        f"{source}: {config.family.name}, V={sizes.vocab_size:,} E={sizes.embedding_size} "
        f"H={sizes.hidden_size} I={sizes.intermediate_size} D={sizes.num_hidden_layers}, windows "
        f"up to {sizes.max_position_embeddings} tokens"
    )


def _print_parameters(found: Parameters) -> None:
    """Prints the parameters of an ALBERT beside those of a BERT."""
    blocks = "one block" if found.blocks == 1 else f"{found.blocks} blocks"
    many = found.blocks * found.block, found.unshared_blocks * found.block
    table = found.factored_table, found.unshared_table
    total = found.total, found.unshared_total
    rows = [
        ("token table", "V*E + E*H", *_counts(*table), "V*H"),
        ("depths", blocks, *_counts(*many), f"{found.unshared_blocks} blocks"),
        ("all parameters", "this ALBERT", *_counts(*total), _BERT),
    ]
    headings = ("stored", "shared", "parameters", "instead of", "ratio", "unshared")
    print_table(headings, rows)


def _print_unshared(found: Parameters) -> None:
    """Prints the parameters of an encoder that shares no block beside those of an ALBERT."""
    form = "V*E + E*H" if found.embedding_map else "V*H"
    narrow = f"V*E + E*H, E={found.shared_embedding}"
    blocks = counted(found.blocks, "block")
    rows = [
        ("token table", form, found.factored_table, found.shared_table, narrow),
        ("depths", blocks, found.blocks * found.block, found.block, "one block"),
        ("all parameters", "this encoder", found.total, found.shared_total, _ALBERT),
    ]
    print_table(
        ("stored", "unshared", "parameters", "instead of", "ratio", "shared"),
        [
            (name, own, f"{many:,}", f"{few:,}", f"{many / few:.1f} x", other)
            for name, own, many, few, other in rows
        ],
    )


def _counts(shared: int, unshared: int) -> tuple[str, str, str]:
    return f"{shared:,}", f"{unshared:,}", f"{unshared / shared:.1f} x"


def _print_memory(found: Parameters) -> None:
    others = ((_ALBERT, found.shared_total), (_BERT, found.unshared_total))
    counts = [("this encoder", found.total)]
    counts += [(name, count) for name, count in others if count != found.total]
    rows = [(name, *(f"{count * size / 1e6:,.2f} MB" for size in (4, 2))) for name, count in counts]
    print_table(("memory", "float32", "float16, bfloat16"), rows)


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


def _conclusion(short: Operations, *, shares: bool) -> str:
    """Returns what sharing saves, and what a task costs."""
    depths = short.depths
    saved = (
        f"Sharing saves none: {depths} depths cost what {depths} distinct layers cost."
        if shares
        else f"An ALBERT of this shape stores less, and its {depths} depths compute as much."
    )
    return (
        f"A text of {short.length} tokens takes {short.per_text / 1e9:,.3f} G operations (a "
        f"multiply-add is two). {saved} A task that reads depth k pays k of them, and tasks "
        f"together pay the deepest only."
    )


def _values(
    config: EncoderConfig, parameters: Parameters, operations: list[Operations]
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
        "sizes": {name: getattr(config.albert, name) for name in names},
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
