"""Adapters and classifiers of every family beside ALBERT: the logits are transformers'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file

from adapterhub.errors import AdapterError
from adapterhub.importing.import_task import import_task
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.peft.export_folder import export_peft
from adapterhub.store.headfile import read_head
from tests.encoders import MODELS, save_encoder
from tests.importing.folders import TEXTS, imported, logits_of
from tests.peft.family_models import FAMILY_NAMES, class_name, family_settings, trained
from tests.peft.peft_models import last_hidden

LABELS = ("no", "maybe", "yes")
TAGS = ("O", "B-PER", "I-PER")
TARGETS = {"distilbert": ["q_lin", "v_lin", "lin2"]}


pytestmark = pytest.mark.filterwarnings("ignore")


def classifier(backbone: Backbone, task: str = "ForSequenceClassification", **said: Any) -> Any:
    """Returns a classifier of transformers on a backbone, with a random head."""
    kind = getattr(transformers, class_name(backbone.spec.family, task))
    torch.manual_seed(0)
    model = kind.from_pretrained(str(backbone.folder), **{"num_labels": 3, **said})
    for name, parameter in model.named_parameters():
        if "classifier" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def expected(model: Any, backbone: Backbone, texts: Any = TEXTS) -> list[np.ndarray]:
    """Returns transformers' logits, one text at a time: (K,) or (tokens, K)."""
    found = []
    for text in texts:
        pair = text if isinstance(text, tuple) else (text,)
        tokens = backbone.tokenizer(*pair, return_tensors="pt", return_token_type_ids=True)
        if backbone.spec.family == "distilbert":
            del tokens["token_type_ids"]
        with torch.inference_mode():
            logits = model(**tokens).logits[0].numpy()
        found.append(logits if logits.ndim == 1 else logits[1:-1])
    return found


def assert_same(registry: Path, backbone: Backbone, model: Any, texts: Any = TEXTS) -> None:
    found = logits_of(registry, backbone, texts)
    for ours, theirs in zip(found, expected(model, backbone, texts), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def lora(family: str, **changes: Any) -> LoraConfig:
    targets = TARGETS.get(family, ["query", "value", "output.dense"])
    return LoraConfig(**{"task_type": "SEQ_CLS", "r": 4, "target_modules": targets, **changes})


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("task", ["SEQ_CLS", "TOKEN_CLS"])
@pytest.mark.slow
def test_a_stock_adapter_keeps_its_layer_numbers(
    family: str, task: str, tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone, kind = backbones[family], task.replace("SEQ", "Sequence").replace("TOKEN", "Token")
    kind = f"For{kind.removesuffix('_CLS')}Classification"
    labels = LABELS if task == "SEQ_CLS" else TAGS
    model = trained(classifier(backbone, kind), lora(family, task_type=task))
    model.save_pretrained(str(tmp_path / "peft"))
    done = imported(tmp_path / "peft", tmp_path / "registry.yaml", backbone, labels=labels)
    adapter = done.spec.adapter
    assert adapter is not None
    assert (adapter.depths, adapter.tie_depths) == ((0, 1, 2, 3), False)
    sites = ("query", "value", "ffn_output")
    assert adapter.sites == (sites if family == "distilbert" else (*sites[:2], "dense", sites[2]))
    assert done.spec.backbone.family == family
    assert_same(tmp_path / "registry.yaml", backbone, model)
    if task == "SEQ_CLS":
        fields = ("text", "text_pair")
        said: dict[str, Any] = {"labels": labels, "fields": fields}
        imported(tmp_path / "peft", tmp_path / "pairs.yaml", backbone, **said)
        assert_same(tmp_path / "pairs.yaml", backbone, model, [("a good day", "it is late")])


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("method", ["lora", "ia3", "vera"])
@pytest.mark.slow
def test_what_goes_out_opens_on_a_plain_model_and_comes_back(
    family: str, method: str, tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones[family]
    config = family_settings(method, family, task_type="SEQ_CLS")
    model = trained(classifier(backbone), config)
    model.save_pretrained(str(tmp_path / "peft"))
    done = imported(tmp_path / "peft", tmp_path / "registry.yaml", backbone, labels=LABELS)
    assert done.saved is not None
    assert done.spec.adapter is not None
    assert done.spec.adapter.depths == (1, 3)
    assert_same(tmp_path / "registry.yaml", backbone, model, TEXTS[:2])
    export_peft(read_head(done.saved.path), tmp_path / "out")
    plain = MODELS[family][1].from_pretrained(str(backbone.folder))
    opened = PeftModel.from_pretrained(plain, str(tmp_path / "out")).eval()
    inner = getattr(model.get_base_model(), model.get_base_model().base_model_prefix)
    torch.testing.assert_close(last_hidden(opened), last_hidden(inner), rtol=0, atol=1e-6)
    again = import_task(tmp_path / "out", task="again", backbone=backbone, registry=None)
    assert again.spec.adapter == done.spec.adapter
    for name, tensor in done.tensors.items():
        assert torch.equal(again.tensors[name], tensor), name


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("task", ["ForSequenceClassification", "ForTokenClassification"])
@pytest.mark.slow
def test_a_whole_classifier_becomes_a_head(
    family: str, task: str, tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones[family]
    labels = LABELS if task == "ForSequenceClassification" else TAGS
    model = classifier(backbone, task, id2label=dict(enumerate(labels)))
    # In shards, as large ones are.
    model.save_pretrained(tmp_path / "model", max_shard_size="20KB")
    assert (tmp_path / "model" / "model.safetensors.index.json").exists()
    done = imported(tmp_path / "model", tmp_path / "registry.yaml", backbone)
    assert done.spec.adapter is None
    assert done.spec.labels == labels
    assert_same(tmp_path / "registry.yaml", backbone, model)


def save(folder: Path, backbone: Backbone, config: Any, **said: Any) -> Any:
    model = trained(classifier(backbone, **said), config)
    model.save_pretrained(str(folder))
    return model


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("lora", {"target_modules": "all-linear"}),
        ("lora", {"target_modules": ["dense"], "rank_pattern": {"dense": 2, r"\.1\..*": 3}}),
        ("lora", {"alpha_pattern": {"pooler.dense": 40}, "use_rslora": True}),
        ("lora", {"use_dora": True}),
        ("lora", {"init_lora_weights": "pissa"}),
        ("adalora", {}),
        ("ia3", {"feedforward_modules": ["dense"]}),
        (
            "ia3",
            {
                "target_modules": ["key", "dense", "output.dense"],
                "feedforward_modules": ["output.dense"],
            },
        ),
        ("loha", {}),
        ("lokr", {}),
        ("oft", {}),
    ],
)
@pytest.mark.slow
def test_a_changed_pooling_layer_goes_into_the_head(
    method: str, changes: dict[str, Any], tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones["bert"]
    config = family_settings(
        method, "bert", all_depths=True, **{"target_modules": ["query", "dense"], **changes},
        task_type="SEQ_CLS",
    )  # fmt: skip
    model = save(tmp_path / "peft", backbone, config)
    assert any("pooler" in name and p.requires_grad for name, p in model.named_parameters())
    done = imported(tmp_path / "peft", tmp_path / "registry.yaml", backbone, labels=LABELS)
    assert done.spec.adapter is not None
    assert {"dense", "ffn", "ffn_output"} <= set(done.spec.adapter.sites)
    assert_same(tmp_path / "registry.yaml", backbone, model)


@pytest.mark.slow
def test_a_pooling_layer_with_shared_tensors_is_refused(
    tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones["bert"]
    config = family_settings(
        "vera", "bert", all_depths=True, target_modules=["query", "dense"], task_type="SEQ_CLS"
    )
    save(tmp_path / "peft", backbone, config)
    match = r"changes the pooling layer too.*exclude_modules=\['pooler.dense'\]"
    with pytest.raises(AdapterError, match=match):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", backbone, labels=LABELS)


@pytest.mark.parametrize(
    ("made", "used", "named"),
    [
        ("bert", "distilbert", "named as those of BertModel; the backbone distilbert has those of"),
        ("bert", "roberta", "named as those of BertModel; .* RobertaModel"),
        ("roberta", "bert", "RobertaModel or XLMRobertaModel; the backbone bert has .* BertModel"),
        ("distilbert", "albert", "named as those of DistilBertModel; .* AlbertModel"),
        (
            "albert",
            "electra",
            "named as those of AlbertModel; the backbone electra .* ElectraModel",
        ),
    ],
)
@pytest.mark.slow
def test_an_adapter_of_another_family_is_refused(
    made: str, used: str, named: str, tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    config = lora(made, target_modules=["query", "q_lin"])
    save(tmp_path / "peft", backbones[made], config)
    with pytest.raises(AdapterError, match=named):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", backbones[used], labels=LABELS)
    assert not (tmp_path / "registry.yaml").exists()


@pytest.mark.slow
def test_the_first_layer_alone_is_depth_zero(
    tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones["bert"]
    config = lora("bert", layers_to_transform=[0], layers_pattern="layer")
    model = save(tmp_path / "peft", backbone, config)
    done = imported(tmp_path / "peft", tmp_path / "registry.yaml", backbone, labels=LABELS)
    assert done.spec.adapter is not None
    assert (done.spec.adapter.depths, done.spec.adapter.tie_depths) == ((0,), False)
    assert_same(tmp_path / "registry.yaml", backbone, model)
    with pytest.raises(AdapterError, match="it is of BertModel, whose layers each have"):
        imported(tmp_path / "peft", tmp_path / "r.yaml", backbone, labels=LABELS, tied=True)


@pytest.mark.slow
def test_the_map_of_the_embeddings_is_refused(
    tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones["electra"]
    save(tmp_path / "peft", backbone, lora("electra", target_modules="all-linear"))
    with pytest.raises(
        AdapterError, match=r"'embeddings_project\.lora_[AB]\.weight', which is no "
    ):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", backbone, labels=LABELS)


@pytest.mark.slow
def test_layers_that_the_backbone_does_not_have_are_refused(
    tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones["bert"]
    shallow = open_backbone(save_encoder(tmp_path / "shallow", "bert", num_hidden_layers=3))
    save(tmp_path / "peft", backbone, lora("bert"))
    said: dict[str, Any] = {"labels": LABELS, "any_base": True}
    with pytest.raises(AdapterError, match="changes depth 3; this backbone has depths 0 to 2"):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", shallow, **said)


@pytest.mark.slow
def test_a_fine_tuned_classifier_is_imported_with_itself_as_the_backbone(
    tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones["bert"]
    model = classifier(backbone, id2label=dict(enumerate(LABELS)))
    with torch.no_grad():
        model.bert.encoder.layer[2].output.dense.weight += 0.1
    model.save_pretrained(tmp_path / "model")
    backbone.tokenizer.save_pretrained(str(tmp_path / "model"))
    with pytest.raises(AdapterError, match=r"groups\.2.*ffn_output\.weight' differs .* by up to"):
        imported(tmp_path / "model", tmp_path / "registry.yaml", backbone)
    own = open_backbone(tmp_path / "model")
    imported(tmp_path / "model", tmp_path / "registry.yaml", own)
    assert_same(tmp_path / "registry.yaml", own, model)


@pytest.mark.slow
def test_a_classifier_without_its_hidden_layer_is_refused(
    tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones["distilbert"]
    model = trained(classifier(backbone), lora("distilbert"))
    model.save_pretrained(str(tmp_path / "peft"))
    path = tmp_path / "peft" / "adapter_model.safetensors"
    save_file({k: t for k, t in load_file(path).items() if "pre_classifier" not in k}, path)
    with pytest.raises(AdapterError, match=r"no 'pre_classifier\.weight', which its classifier"):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", backbone, labels=LABELS)


@pytest.mark.slow
def test_a_pooling_layer_that_nobody_has_is_refused(
    tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones["bert"]
    save(tmp_path / "peft", backbone, lora("bert"))
    bare = save_encoder(tmp_path / "bare", "bert")
    MODELS["bert"][1].from_pretrained(
        str(backbone.folder), add_pooling_layer=False
    ).save_pretrained(bare)
    said: dict[str, Any] = {"labels": LABELS, "any_base": True}
    with pytest.raises(AdapterError, match=r"BERT's pooling layer.* has 'pooler\.dense\.weight'"):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", open_backbone(bare), **said)


POOLER = "base_model.model.bert.pooler.dense"
LAYER = "base_model.model.bert.encoder"


@pytest.mark.parametrize(
    ("key", "shape", "match"),
    [
        (f"{POOLER}.base_layer.weight", (32, 32), "which is no factor at 'pooler.dense'"),
        ("base_model.model.bert.pooler.x.lora_A.weight", (4, 32), "no factor at 'pooler.dense'"),
        (f"{POOLER}.lora_X.weight", (4, 32), "PEFT cannot merge that by itself: .*lora_X.weight"),
        (f"{POOLER}.lora_A.weight", (3, 32), "PEFT cannot merge that by itself: .*mismatch"),
        (
            f"{LAYER}.albert_layer_groups.0.albert_layers.0.ffn.lora_A.weight",
            (4, 32),
            "which is a name in an ALBERT, and others of a BertModel",
        ),
        (f"{LAYER}.layer.01.output.dense.lora_A.weight", (4, 64), "which is no factor"),
        (
            f"{LAYER}.layer.1.output.LayerNorm.weight",
            (32,),
            r"'encoder\.layer\.1\.output\.LayerNorm\.weight', which is no factor .*self\.query, ",
        ),
        (f"{LAYER}.layer.1.output.LayerNorm.lora_A.weight", (4, 64), "which is no factor"),
        (
            f"{LAYER}.layer.1.output.dense.base_layer.bias",
            (32,),
            r"'encoder\.layer\.1\.output\.dense\.base_layer\.bias', which is no factor",
        ),
        ("encoder.layer.1.output.dense.lora_A.weight", (4, 64), "one tensor twice"),
        (
            "base_model.model.distilbert.transformer.layer.0.ffn.lin1.lora_A.weight",
            (4, 32),
            "which is no factor",
        ),
    ],
)
@pytest.mark.slow
def test_tensors_that_do_not_belong_there_are_refused(
    key: str, shape: tuple[int, ...], match: str, tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones["bert"]
    save(tmp_path / "peft", backbone, lora("bert", target_modules=["dense"]))
    path = tmp_path / "peft" / "adapter_model.safetensors"
    save_file({**load_file(path), key: torch.ones(shape)}, path)
    with pytest.raises(AdapterError, match=match):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", backbone, labels=LABELS)
    assert not (tmp_path / "registry.yaml").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "saved", "outputs", "kind"),
    [
        ("bert", ["classifier", "pooler"], 3, "multi_label"),
        ("distilbert", ["pre_classifier", "classifier"], 1, "regression"),
        ("xlm-roberta", ["classifier"], 3, "single_label"),
    ],
)
def test_layers_that_were_trained_along_and_kinds(
    family: str,
    saved: list[str],
    outputs: int,
    kind: Any,
    tmp_path: Path,
    backbones: Mapping[str, Backbone],
) -> None:
    backbone = backbones[family]
    config = lora(family, modules_to_save=saved)
    model = save(tmp_path / "peft", backbone, config, num_labels=outputs)
    said = {"labels": LABELS} if outputs == 3 else {}
    done = imported(tmp_path / "peft", tmp_path / "registry.yaml", backbone, kind=kind, **said)
    assert done.spec.kind == kind
    assert_same(tmp_path / "registry.yaml", backbone, model)
