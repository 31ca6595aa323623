"""Trains the shipped backbone: vocabulary, shards, train, vectors, tune, eval, export."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import AlbertForPreTraining, AlbertModel, AlbertTokenizer

from recipes.backbone.checkpoints import load_weights, read_progress
from recipes.backbone.evaluate import Evaluation, evaluate
from recipes.backbone.export import CardFacts, export_backbone, make_card
from recipes.backbone.record import read_record
from recipes.backbone.schedule import TrainOptions, TuneOptions
from recipes.backbone.shards import read_manifest, write_shards
from recipes.backbone.teachers import (
    TEACHERS,
    corpus_sentences,
    read_vectors,
    row_texts,
    write_vectors,
)
from recipes.backbone.train import make_config, train
from recipes.backbone.tune import Sources, tune
from recipes.backbone.tuning_sets import RESTRICTED, read_sets
from recipes.backbone.vocabulary import save_tokenizer, train_vocabulary


def vocabulary(args: argparse.Namespace) -> None:
    save_tokenizer(train_vocabulary(args.corpus, vocab_size=args.vocab_size), args.out)


def shards(args: argparse.Namespace) -> None:
    write_shards(args.corpus, args.tokenizer, args.out)


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # the workers are the threads
    vocab_size = read_manifest(args.shards).vocab_size
    config = make_config(
        vocab_size=vocab_size,
        hidden_size=args.hidden_size,
        depth=args.depth,
        embedding_size=args.embedding_size,
    )
    options = TrainOptions(
        hours=args.hours,
        steps=args.steps,
        peak_rate=args.rate,
        step_tokens=args.step_tokens,
        workers=args.workers,
        device=args.device,
        seed=args.seed,
        word_vectors=args.word_vectors,
    )
    raise SystemExit(0 if train(config, args.shards, args.out, options) else 143)


def vectors(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    tokenizer = AlbertTokenizer.from_pretrained(args.tokenizer)
    for teacher, (_, languages) in TEACHERS.items():
        for language in languages:
            path = args.out / f"{teacher}-{language}.safetensors"
            if path.exists():
                continue
            half = args.sentences // 2
            texts = row_texts(args.data, language, half, leave_out=args.leave_out)
            texts += corpus_sentences(args.corpus, language, args.sentences - len(texts))
            write_vectors(texts, teacher, tokenizer, path, max_length=args.max_length)


def refine(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    tokenizer = AlbertTokenizer.from_pretrained(args.tokenizer)
    sources = Sources(
        sets=read_sets(args.data, tokenizer, max_length=args.max_length, leave_out=args.leave_out),
        vectors=read_vectors(args.vectors) if args.vectors else [],
        shards=args.shards,
    )
    options = TuneOptions(
        hours=args.hours,
        steps=args.steps,
        peak_rate=args.rate,
        step_tokens=args.step_tokens,
        workers=args.workers,
        device=args.device,
        seed=args.seed,
    )
    raise SystemExit(0 if tune(args.checkpoint, sources, args.out, options) else 143)


def measure(args: argparse.Namespace) -> None:
    model = load_weights(args.checkpoint)
    results: list[Evaluation] = []
    for length in args.lengths:
        results += evaluate(model, args.shards, length=length, windows=args.windows)
    text = json.dumps([asdict(result) for result in results], indent=2)
    (args.checkpoint / "evaluation.json").write_text(text + "\n")
    print(text)
    if args.data:
        steer(args, model)


def steer(args: argparse.Namespace, model: AlbertForPreTraining) -> None:
    """Probes the model beside random weights of its shape and, if named, another backbone."""
    from recipes.backbone.steering import Contender, best_table, compare, depth_table

    if args.tokenizer is None:
        raise SystemExit("eval: --data needs --tokenizer, the folder that `vocabulary` wrote.")
    tokenizer = AlbertTokenizer.from_pretrained(args.tokenizer)
    torch.manual_seed(0)
    contenders = {
        "this": Contender(model.albert, tokenizer),
        "random weights": Contender(AlbertModel(model.config).train(False), tokenizer),
    }
    if args.previous:
        previous = AlbertModel.from_pretrained(args.previous, dtype=torch.float32)
        contenders["previous"] = Contender(previous, AlbertTokenizer.from_pretrained(args.previous))
    found = compare(args.data, contenders, train=args.rows, validation=args.rows // 2)
    found.save(args.checkpoint / "steering.json")
    print(best_table(found), depth_table(found, "this"), sep="\n\n")


def curves(args: argparse.Namespace) -> None:
    """Draws what is there: both logs and the steering of a checkpoint."""
    from recipes.backbone.curves import draw_depths, draw_training, draw_tuning
    from recipes.backbone.steering import read_steering

    draw_training(args.train_log, args.out / "training.png")
    if args.tune_run:
        held = json.loads((args.tune_run / "held.json").read_text())
        kinds = {name: item["kind"] for name, item in held.items()}
        draw_tuning(args.tune_run / "log.jsonl", kinds, args.out / "tuning.png")
        draw_depths(
            read_steering(args.tune_run / "final" / "steering.json"), args.out / "depths.png"
        )


def export(args: argparse.Namespace) -> None:
    manifest = read_manifest(args.shards)
    manifest.check_vocabulary(args.tokenizer / "spiece.model")
    results = json.loads((args.checkpoint / "evaluation.json").read_text())
    facts = CardFacts(
        config=load_weights(args.checkpoint).config,
        progress=read_progress(args.checkpoint),
        tuned=read_record(args.checkpoint),
        manifest=manifest,
        evaluations=[Evaluation(**result) for result in results],
        hardware=args.hardware,
    )
    card = make_card(facts)
    export_backbone(args.checkpoint, args.tokenizer / "spiece.model", args.out, card=card)


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(description=__doc__)
    verbs = root.add_subparsers(required=True)

    def verb(name: str, function: object, text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        made.set_defaults(function=function)
        return made

    one = verb("vocabulary", vocabulary, "Trains spiece.model and writes a tokenizer folder.")
    one.add_argument("corpus", type=Path, help="folder with en/*.txt.xz and zh/*.txt.xz")
    one.add_argument("out", type=Path, help="tokenizer folder to write")
    one.add_argument("--vocab-size", type=int, default=16_000, help="pieces")

    one = verb("shards", shards, "Tokenises the corpus into memory-mapped arrays.")
    one.add_argument("corpus", type=Path)
    one.add_argument("tokenizer", type=Path, help="folder that `vocabulary` wrote")
    one.add_argument("out", type=Path, help="shard folder to write")

    one = verb("train", run, "Trains, or resumes from the newest checkpoint.")
    one.add_argument("shards", type=Path, help="folder that `shards` wrote")
    one.add_argument("out", type=Path, help="run folder: checkpoints, log.jsonl, final")
    one.add_argument("--hours", type=float, default=1.0, help="time budget of all starts together")
    one.add_argument("--steps", type=int, default=1_000_000, help="optimizer steps at most")
    one.add_argument("--hidden-size", type=int, default=384)
    one.add_argument("--embedding-size", type=int, default=256)
    one.add_argument("--depth", type=int, default=6)
    one.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    one.add_argument("--step-tokens", type=int, default=4096, help="tokens per optimizer step")
    one.add_argument("--workers", type=int, default=2, help="gradient threads on a CPU")
    one.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    one.add_argument("--seed", type=int, default=0)
    one.add_argument(
        "--word-vectors",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="start the word embeddings from counts of pairs (vocab_size^2 floats of memory)",
    )

    one = verb("vectors", vectors, "Computes vectors of sentences by larger encoders, for `tune`.")
    one.add_argument("corpus", type=Path)
    one.add_argument("data", type=Path, help="folder of data sets: <set>/train.jsonl.gz")
    one.add_argument("tokenizer", type=Path)
    one.add_argument("out", type=Path, help="folder to write; files that are there are kept")
    one.add_argument("--sentences", type=int, default=60_000, help="per encoder and language")
    one.add_argument("--max-length", type=int, default=96, help="tokens of a sentence")
    one.add_argument("--leave-out", nargs="*", default=RESTRICTED, help="data sets")

    one = verb("tune", refine, "Multi-task tuning of a checkpoint on labelled rows and vectors.")
    one.add_argument("checkpoint", type=Path, help="where to start: `final` or a checkpoint")
    one.add_argument("data", type=Path, help="folder of data sets: <set>/train.jsonl.gz")
    one.add_argument("tokenizer", type=Path)
    one.add_argument("shards", type=Path)
    one.add_argument("out", type=Path, help="run folder: checkpoints, log.jsonl, held.json, final")
    one.add_argument("--vectors", type=Path, help="folder that `vectors` wrote")
    one.add_argument("--leave-out", nargs="*", default=RESTRICTED, help="data sets")
    one.add_argument("--max-length", type=int, default=96, help="tokens of a row")
    one.add_argument("--hours", type=float, default=0.6, help="time budget of all starts together")
    one.add_argument("--steps", type=int, default=1_000_000, help="optimizer steps at most")
    one.add_argument("--rate", type=float, default=6e-4, help="highest learning rate")
    one.add_argument("--step-tokens", type=int, default=4096, help="tokens per optimizer step")
    one.add_argument("--workers", type=int, default=2, help="gradient threads on a CPU")
    one.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    one.add_argument("--seed", type=int, default=0)

    one = verb("eval", measure, "Measures a checkpoint on held-out text.")
    one.add_argument("checkpoint", type=Path, help="run folder's `final`, or one of `checkpoints`")
    one.add_argument("shards", type=Path)
    one.add_argument("--lengths", type=int, nargs="+", default=[128, 512], help="window lengths")
    one.add_argument("--windows", type=int, default=1024, help="windows per language at most")
    one.add_argument("--data", type=Path, help="data sets: adds probes on the ten steering sets")
    one.add_argument("--tokenizer", type=Path, help="for the probes")
    one.add_argument("--previous", type=Path, help="backbone folder to compare with")
    one.add_argument("--rows", type=int, default=1200, help="rows that a probe is fitted on")

    one = verb("curves", curves, "Draws losses and probes as PNG.")
    one.add_argument("train_log", type=Path, help="log.jsonl of `train`")
    one.add_argument("out", type=Path, help="folder to write")
    one.add_argument("--tune-run", type=Path, help="run folder of `tune`, after `eval`")

    one = verb("export", export, "Writes the backbone folder of a checkpoint; run `eval` first.")
    one.add_argument("checkpoint", type=Path)
    one.add_argument("tokenizer", type=Path)
    one.add_argument("shards", type=Path)
    one.add_argument("out", type=Path, help="backbone folder to write")
    one.add_argument("--hardware", default="not stated", help="for the model card")
    return root


def main() -> None:
    """Runs the verb that the command line names."""
    logging.basicConfig(level=logging.INFO)
    arguments = parser().parse_args()
    arguments.function(arguments)
