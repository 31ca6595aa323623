"""A tiny random ALBERT with a real tokenizer, and a registry of tasks on it."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from transformers import AlbertConfig, AlbertModel, BertTokenizer

from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.known_answers import make_known_answers
from adapterhub.specs import Kind, TaskSpec
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.versions import add_version
from tests.builders import head_tensors, task_spec

HAN = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经十三之进着等部度家电力里如水化高自"
    "二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表间样与关各重新线内数正心反你明看原又么利比或但质气第向道命此变"
    "条只没结解问意建月公无系军很情者最立代想已通并提直题党程展五果料象员革位入常文总次品式活设及管特件长求老头基资边流路级少图山统接知较将组见计别她手角期根论运农指"
    "几九区强放决西被干做必战先回则任取据处队南给色光门即保治北造百规热领七海口东导器压志世金增争济阶油思术极交受联什认六共权收证改清己美再采转更单风切打白教速花带安"
    "场身车例真务具万每目至达走积示议声报斗完类八离华名确才科张信马节话米整空元况今集温传土许步群广石记需段研界拉林律叫且究观越织装影算低持音众书布复容儿须际商非验连"
    "断深难近矿千周委素技备半办青省列习响约支般史感劳便团往酸历市克何除消构府称太准精值号率族维划选标写存候毛亲快效斯院查江型眼王按格养易置派层片始却专状育厂京识适属"
    "圆包火住调满县局照参红细引听该铁价严气"
)
PROBES = (("a good day",), ("it is late",))
PAIR_PROBES = (("a good day", "a bad day"),)
CHOICE_PROBES = (("a good day", "a bad day", "it is late"), ("it is", "late", "early"))


def vocabulary() -> list[str]:
    """Returns WordPieces: special tokens, letters, digits, signs, some words, Han characters."""
    letters = list(string.ascii_lowercase + string.digits)
    words = "the it is a good bad day film food late early and not very was he she city".split()  # noqa: SIM905
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation]
    pieces += [
        *letters,
        *(f"##{letter}" for letter in letters),
        *words,
        *HAN,
        "，",
        "。",
        "！",
        "？",
    ]
    return list(dict.fromkeys(pieces))


def save_backbone(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Writes a random ALBERT with a BertTokenizer to `folder`; `changes` go to its config."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    save_model(folder, seed=seed, vocab_size=len(vocabulary()), **changes)
    return folder


def save_model(folder: Path, *, seed: int = 0, **changes: Any) -> None:
    """Writes config.json and model.safetensors of a random ALBERT."""
    settings: dict[str, Any] = {
        "embedding_size": 16,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.1,
        "initializer_range": 0.2,
        **changes,
    }
    torch.manual_seed(seed)
    model = AlbertModel(AlbertConfig(**settings))
    # Random biases too: zeros would hide a bias that is read from the wrong place.
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=1.0 if parameter.mean() == 1 else 0.0, std=0.1)
    model.save_pretrained(folder)


def open_tiny(folder: Path, **changes: Any) -> Backbone:
    """Returns a tiny backbone, written to `folder` first."""
    return open_backbone(save_backbone(folder, **changes))


def plain_tensors(encoder: Encoder) -> list[torch.Tensor]:
    """Returns copies of an encoder's weights as ordinary tensors."""
    return [
        tensor.to_dense() if tensor.is_mkldnn else tensor.clone() for tensor in encoder.tensors()
    ]


def tiny_task(backbone: Backbone, kind: Kind, **changes: Any) -> TaskSpec:
    """Returns a task on a tiny backbone."""
    return task_spec(kind, backbone=backbone.spec, **changes)


TASKS: tuple[dict[str, Any], ...] = (
    {"kind": "single_label", "task": "sentiment", "depths": (4,), "pooling": "mean"},
    {"kind": "multi_label", "task": "topics", "depths": (2,), "pooling": "cls"},
    {"kind": "regression", "task": "rating", "depths": (1, 3), "pooling": "max"},
    {
        "kind": "single_label",
        "task": "entails",
        "fields": ("text", "text_pair"),
        "labels": ("no", "yes"),
        "depths": (3,),
        "pooling": "cls",
        "hidden_width": 8,
    },
    {"kind": "tagging", "task": "entities", "depths": (3,)},
    {"kind": "parsing", "task": "trees", "depths": (1, 3)},
    {
        "kind": "single_label",
        "task": "language",
        "labels": ("en", "fr", "zh"),
        "pooling": "attentive",
    },
)


def add_task(
    registry: Path, spec: TaskSpec, *, encoder: Encoder, tokenizer: TextTokenizer, seed: int = 0
) -> None:
    """Adds a random head with known answers to a registry."""
    tensors = head_tensors(spec, seed)
    probes = PAIR_PROBES if len(spec.fields) == 2 else PROBES
    probes = CHOICE_PROBES if spec.row.of_choices else probes
    known = make_known_answers(spec, tensors, probes, encoder=encoder, tokenizer=tokenizer)
    folder = "./backbone"
    add_version(
        registry,
        spec.model_copy(update={"known_answers": known}),
        tensors,
        backbone_key="tiny",
        backbone_entry=BackboneEntry(source=folder, fingerprint=spec.backbone.fingerprint),
        aliases=("prod",),
    )


def save_registry(folder: Path) -> Path:
    """Writes a backbone, and a registry with one task of every kind, to `folder`."""
    save_backbone(folder / "backbone")
    return save_tasks(folder)


def save_tasks(folder: Path) -> Path:
    """Writes a registry with one task of every kind beside the folder `backbone`."""
    backbone = open_backbone(folder / "backbone")
    encoder = Encoder(backbone, device="cpu")
    tokenizer = TextTokenizer(backbone.tokenizer)
    registry = folder / "registry.yaml"
    for seed, changes in enumerate(TASKS):
        spec = tiny_task(backbone, **changes)
        add_task(registry, spec, encoder=encoder, tokenizer=tokenizer, seed=seed)
    return registry


def bert_tokenizer(folder: Path) -> BertTokenizer:
    """Returns the tokenizer of a tiny backbone as transformers loads it."""
    return BertTokenizer.from_pretrained(str(folder))
