"""Small valid specs and tensors for tests."""

from __future__ import annotations

from typing import Any

import torch

from adapterhub.shapes import COUNTS, tensor_shapes
from adapterhub.specs import (
    KINDS,
    Abstention,
    BackboneSpec,
    Extraction,
    HeadSpec,
    Kind,
    RiskPoint,
    TaskSpec,
)
from adapterhub.store.entries import BackboneEntry

LABELS: dict[str, tuple[str, ...]] = {
    "single_label": ("negative", "positive"),
    "multi_label": ("politics", "science", "sport"),
    "regression": (),
    "tagging": ("O", "B-PER", "I-PER"),
    "parsing": ("root", "nsubj", "punct", "_"),
    "multiple_choice": (),
    "question_answering": (),
    "embedding": (),
    "prototype": ("negative", "positive"),
    "label_tree": ("card.lost", "card.stolen", "transfer.late", "other"),
    "ordinal": ("bad", "fair", "good"),
    "numbers": ("valence", "arousal"),
}
PARENTS = {"card.lost": "card", "card.stolen": "card", "transfer.late": "transfer"}


def backbone_spec(**changes: Any) -> BackboneSpec:
    """Returns a backbone of width 16 and 4 depths."""
    fields: dict[str, Any] = {
        "name": "package:small-test",
        "fingerprint": f"sha256:{'ab' * 32}",
        "hidden_size": 16,
        "num_hidden_layers": 4,
    }
    return BackboneSpec(**{**fields, **changes})


def backbone_entry(spec: BackboneSpec | None = None) -> BackboneEntry:
    """Returns the registry's entry of a backbone."""
    spec = spec or backbone_spec()
    return BackboneEntry(source=spec.name, revision=spec.revision, fingerprint=spec.fingerprint)


def task_spec(kind: Kind = "single_label", **changes: Any) -> TaskSpec:
    """Returns a task of `kind`; the fields of `HeadSpec` go to its head."""
    head = HeadSpec(
        depths=changes.pop("depths", (4,)),
        pooling=changes.pop("pooling", "tokens" if KINDS[kind].per_token else "mean"),
        hidden_width=changes.pop("hidden_width", 12 if kind == "parsing" else None),
        arc_width=changes.pop("arc_width", 4 if kind == "parsing" else None),
        outputs=changes.pop("outputs", 6 if KINDS[kind].of_vectors else None),
    )
    fields: dict[str, Any] = {
        "task": f"{kind.replace('_', '-')}-test",
        "kind": kind,
        "languages": ("en",),
        "license": "apache-2.0",
        "labels": LABELS[kind],
        "max_length": 64,
        "backbone": backbone_spec(),
        "head": head,
    }
    row = KINDS[kind]
    fields |= {"fields": row.input_fields} if row.input_fields else {}
    fields |= {"extraction": Extraction(max_tokens=8)} if row.slides_second else {}
    fields |= {"parents": PARENTS} if row.has_tree else {}
    return TaskSpec(**{**fields, **changes})


def abstention(least: float = 0.7, **changes: Any) -> Abstention:
    """Returns a minimum of confidence with figures, and with rows out of scope where wanted."""
    changes.setdefault("outside", 20 if "none_label" in changes else 0)
    rejected = {"rejected": 0.5, "rejected_error": 0.1} if changes["outside"] else {}
    points = [
        RiskPoint(
            min_confidence=value,
            coverage=1 - value / 2,
            coverage_error=0.02,
            accuracy=0.8 + value / 10,
            accuracy_error=0.03,
            **rejected,
        )
        for value in sorted({0.0, 0.5, least})
    ]
    fields = {
        "split": "validation",
        "rows": 100,
        "chosen": max(points, key=lambda one: one.min_confidence == least),
        "table": tuple(points),
    }
    fields |= {"auroc": 0.9} if changes["outside"] else {}
    return Abstention(**{**fields, **changes})


def head_tensors(spec: TaskSpec, seed: int = 0) -> dict[str, torch.Tensor]:
    """Returns random float32 tensors that fit `spec`; counts of examples are whole numbers."""
    generator = torch.Generator().manual_seed(seed)
    shapes = tensor_shapes(spec).items()
    found = {name: torch.randn(shape, generator=generator) for name, shape in shapes}
    return {
        name: tensor.abs().ceil() if name == COUNTS else tensor for name, tensor in found.items()
    }
