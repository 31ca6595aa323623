"""Writes the backbone folder of a checkpoint: encoder in half precision, tokenizer, model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AlbertConfig, AlbertModel, AlbertTokenizer

from adapterhub.errors import BackboneError
from recipes.backbone.checkpoints import Progress, load_weights
from recipes.backbone.evaluate import Evaluation
from recipes.backbone.record import TuningRecord
from recipes.backbone.shards import Manifest
from recipes.backbone.vocabulary import save_tokenizer

_CARD = Path(__file__).with_name("card.md")
_PROBE = "The river runs through the old town. 这条河流经老城。"
_LARGEST_DIFFERENCE = (
    0.1  # of a hidden state, whose entries are about 1, after rounding weights to fp16
)


@dataclass(frozen=True)
class CardFacts:
    """What fills the template of the model card.

    Attributes:
        config: Shape of the model.
        progress: Steps, tokens and seconds of the last run.
        tuned: What that run learned from, and the run before it; None after pretraining alone.
        manifest: Sizes of the shards that it was trained on.
        evaluations: Held-out results.
        hardware: What it was trained on.
    """

    config: AlbertConfig
    progress: Progress
    tuned: TuningRecord | None
    manifest: Manifest
    evaluations: list[Evaluation]
    hardware: str


def export_backbone(checkpoint: Path, vocabulary: Path, out: Path, *, card: str) -> None:
    """Writes `config.json`, `model.safetensors` (fp16, no heads), tokenizer files and `README.md`.

    Args:
        checkpoint: Folder with `config.json` and `model.safetensors` of the pretraining model.
        vocabulary: The `spiece.model` that it was trained with.
        out: Folder to write to; made when missing.
        card: Text of `README.md`.

    Raises:
        BackboneError: The folder, loaded again, does not give the checkpoint's hidden states.
    """
    model = load_weights(checkpoint).albert
    save_tokenizer(vocabulary.read_bytes(), out)
    half = AlbertModel(model.config)
    half.load_state_dict(model.state_dict())
    nn.Module.to(half, torch.float16)
    half.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)  # safetensors leaves it to its owner only
    (out / "README.md").write_text(card)
    check_backbone(out, model)


def check_backbone(folder: Path, reference: AlbertModel) -> None:
    """Loads a backbone folder as users do and compares it with the model that it was made from.

    Raises:
        BackboneError: Hidden states are not finite or differ by more than half precision explains.
    """
    tokenizer = AlbertTokenizer.from_pretrained(folder)
    loaded = AlbertModel.from_pretrained(folder, dtype=torch.float32)  # in eval mode
    encoded = tokenizer(_PROBE, return_tensors="pt", return_token_type_ids=True)
    with torch.inference_mode():
        found = loaded(**encoded).last_hidden_state
        expected = reference(**encoded).last_hidden_state
    difference = float((found - expected).abs().max())
    if not difference < _LARGEST_DIFFERENCE:  # also where it is NaN
        problem = f"hidden states differ from the checkpoint's by {difference}"
        raise BackboneError(str(folder), f"{problem}; expected below {_LARGEST_DIFFERENCE}.")


def make_card(facts: CardFacts) -> str:
    """Returns the text of the model card, `README.md`."""
    config, manifest = facts.config, facts.manifest
    progress = facts.tuned.start if facts.tuned else facts.progress
    languages = list(dict.fromkeys(result.language for result in facts.evaluations))
    rows = [
        f"| {result.language} | {result.length} "
        f"| {result.mlm_loss:.2f} | {result.shuffled_loss:.2f} "
        f"| {result.mlm_accuracy:.1%} | {result.sop_accuracy:.1%} |"
        for result in facts.evaluations
    ]
    train = {name: manifest.counts[f"{name}-train"] for name in languages}
    return _CARD.read_text().format(
        shape=_shape(config),
        vocab_size=config.vocab_size,
        unknown=", ".join(f"{name} {manifest.unknown_rate(name):.3%}" for name in languages),
        effort=_effort(progress),
        hardware=facts.hardware,
        tuning=_tuning(facts.tuned, facts.progress) if facts.tuned else "None.",
        corpus_tokens=", ".join(
            f"{name} {size.tokens / 1e6:.1f} million tokens" for name, size in train.items()
        ),
        rows="\n".join(rows),
    )


def _effort(progress: Progress) -> str:
    return (
        f"{progress.step:,} optimizer steps, {progress.tokens / 1e6:.1f} million tokens, "
        f"{progress.elapsed / 3600:.2f} hours"
    )


def _tuning(record: TuningRecord, progress: Progress) -> str:
    sets = ", ".join(f"{name} {count:,}" for name, count in record.sets.items())
    lines = [
        f"- {_effort(progress)}, a part of it on masked tokens and sentence order",
        f"- training rows of {len(record.sets)} public sets: {sets}",
    ]
    if record.vectors:
        vectors = ", ".join(f"{name} {count:,}" for name, count in record.vectors.items())
        lines.append(
            f"- sentences with vectors of larger encoders, by encoder and language: {vectors}"
        )
    return "\n".join(lines)


def _shape(config: AlbertConfig) -> str:
    return (
        f"ALBERT, one block repeated {config.num_hidden_layers} times: "
        f"hidden size {config.hidden_size}, {config.num_attention_heads} attention heads,\n"
        f"feed-forward size {config.intermediate_size}, embedding size {config.embedding_size}, "
        f"{config.max_position_embeddings} positions, activation `{config.hidden_act}`."
    )
