"""Adapters that PEFT saved with a classifier: the imported task answers what the model answers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from peft import LoraConfig, PeftModel
from transformers import AlbertForTokenClassification

from adapterhub.errors import AdapterError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.store.headfile import read_head
from tests.importing.folders import (
    TEXTS,
    classifier_model,
    imported,
    logits_of,
    reference_logits,
    save_adapter,
)
from tests.peft.peft_models import CASES, NAMES, adapted, peft_settings, train_a_little
from tests.tiny import open_tiny

LABELS = ("no", "maybe", "yes")
TAGS = ("O", "B-PER", "I-PER")


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def sequence(**changes: Any) -> LoraConfig:
    values = {"task_type": "SEQ_CLS", "target_modules": ["query", "value"], "r": 4, **changes}
    return LoraConfig(**values)


def per_depth(**changes: Any) -> LoraConfig:
    return sequence(layers_to_transform=[1, 3], layers_pattern="albert_layer_groups", **changes)


def assert_same(registry: Path, backbone: Backbone, model: Any, texts: Any = TEXTS) -> None:
    found = logits_of(registry, backbone, texts)
    expected = reference_logits(model, backbone, texts)
    for ours, theirs in zip(found, expected, strict=True):
        # Ours are of the tokens of the text, without [CLS] and [SEP].
        wanted = theirs if theirs.ndim == 1 else theirs[1:-1]
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5)


def test_a_stock_adapter_of_plain_peft(tmp_path: Path, tiny_backbone: Backbone) -> None:
    model = save_adapter(tmp_path / "peft", tiny_backbone, sequence())
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS)
    spec = done.spec
    assert (spec.kind, spec.labels, spec.max_length) == ("single_label", LABELS, 64)
    assert spec.adapter is not None
    assert spec.adapter.tie_depths
    assert spec.adapter.depths == (0, 1, 2, 3)
    assert spec.head.activation == "tanh"
    assert len(spec.known_answers) == 2
    assert_same(registry, tiny_backbone, model)


def test_a_per_depth_adapter(tmp_path: Path, tiny_backbone: Backbone) -> None:
    model = save_adapter(tmp_path / "peft", tiny_backbone, per_depth(), tied=False)
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS)
    assert done.spec.adapter is not None
    assert done.spec.adapter.depths == (1, 3)
    assert not done.spec.adapter.tie_depths
    assert_same(registry, tiny_backbone, model)


def test_a_pooling_layer_that_was_trained_along(tmp_path: Path, tiny_backbone: Backbone) -> None:
    config = sequence(modules_to_save=["classifier", "pooler"])
    model = save_adapter(tmp_path / "peft", tiny_backbone, config)
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS)
    trained = model.get_base_model().albert.pooler.modules_to_save["default"].weight
    assert torch.equal(done.tensors["head.hidden.weight"], trained)
    assert_same(registry, tiny_backbone, model)


def test_a_tagging_adapter(tmp_path: Path, tiny_backbone: Backbone) -> None:
    config = sequence(task_type="TOKEN_CLS", target_modules=["query", "ffn"])
    kind = AlbertForTokenClassification
    model = save_adapter(tmp_path / "peft", tiny_backbone, config, kind=kind)
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "peft", registry, tiny_backbone, labels=TAGS)
    assert done.spec.kind == "tagging"
    assert done.spec.head.hidden_width is None
    assert_same(registry, tiny_backbone, model)


def test_pairs(tmp_path: Path, tiny_backbone: Backbone) -> None:
    model = save_adapter(tmp_path / "peft", tiny_backbone, sequence())
    registry = tmp_path / "registry.yaml"
    fields = ("text", "text_pair")
    imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS, fields=fields)
    pairs = [("a good day", "it is late"), ("film", "the city")]
    assert_same(registry, tiny_backbone, model, pairs)


@pytest.mark.parametrize(
    ("outputs", "said", "kind"),
    [
        (1, {}, "regression"),
        (3, {"kind": "multi_label", "labels": LABELS}, "multi_label"),
        (3, {"kind": "single_label", "labels": LABELS}, "single_label"),
    ],
)
@pytest.mark.slow
def test_kinds(
    outputs: int, said: dict[str, Any], kind: str, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    model = save_adapter(tmp_path / "peft", tiny_backbone, sequence(), outputs=outputs)
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "peft", registry, tiny_backbone, **said)
    assert done.spec.kind == kind
    assert_same(registry, tiny_backbone, model)


def test_labels_of_a_config_beside_the_adapter(tmp_path: Path, tiny_backbone: Backbone) -> None:
    names = dict(enumerate(LABELS))
    save_adapter(tmp_path / "peft", tiny_backbone, sequence())
    model = classifier_model(tiny_backbone, id2label=names, problem_type=None)
    model.config.architectures = ["AlbertForSequenceClassification"]
    model.config.save_pretrained(tmp_path / "peft")
    done = imported(tmp_path / "peft", tmp_path / "registry.yaml", tiny_backbone)
    assert done.spec.labels == LABELS


@pytest.mark.parametrize("start", ["pissa", "olora"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "per-depth"])
@pytest.mark.slow
def test_starts_that_change_the_weights(
    start: str, tied: bool, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    make = sequence if tied else per_depth
    config = make(init_lora_weights=start, modules_to_save=["classifier"])
    folder = tmp_path / "peft"
    if tied:
        model: Any = save_adapter(folder, tiny_backbone, config)
    else:
        # As somebody would do it who knows that the weights change in place.
        from peft import get_peft_model

        from adapterhub.model.adapters.unrolled import unrolled, untie

        plain = unrolled(classifier_model(tiny_backbone))
        untie(plain, (1, 3), ("query", "value"))
        model = get_peft_model(plain, config)
        train_a_little(model)
        model.eval().save_pretrained(str(folder))
    before = [tensor.clone() for tensor in tiny_backbone.weights.values()]
    registry = tmp_path / "registry.yaml"
    done = imported(folder, registry, tiny_backbone, labels=LABELS)
    assert done.spec.adapter is not None
    assert done.spec.adapter.config["r"] == 8
    assert_same(registry, tiny_backbone, model)
    weights = tiny_backbone.weights.values()
    assert all(torch.equal(a, b) for a, b in zip(before, weights, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "changes"), CASES, ids=NAMES)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "per-depth"])
def test_every_method_answers_as_peft_does(
    method: str, changes: dict[str, Any], tied: bool, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    config = peft_settings(method, tied=tied, task_type="SEQ_CLS", **changes)
    model = save_adapter(tmp_path / "peft", tiny_backbone, config, tied=tied)
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS)
    assert done.spec.adapter is not None
    assert done.spec.adapter.method == method
    assert_same(registry, tiny_backbone, model, TEXTS[:2])


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "per-depth"])
@pytest.mark.slow
def test_logits_that_were_cut_to_the_best(
    tied: bool, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    changes = {"task_type": "SEQ_CLS", "save_only_topk_weights": True}
    config = peft_settings("vblora", tied=tied, **changes)
    model = save_adapter(tmp_path / "peft", tiny_backbone, config, tied=tied)
    registry = tmp_path / "registry.yaml"
    imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS)
    assert_same(registry, tiny_backbone, model)


@pytest.mark.parametrize("method", ["vera", "pvera", "randlora", "frod", "tinylora"])
@pytest.mark.slow
def test_projections_that_a_seed_gives_are_stored(
    method: str, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    config = peft_settings(method, tied=True, task_type="SEQ_CLS", save_projection=False)
    model = save_adapter(tmp_path / "peft", tiny_backbone, config)
    saved = safetensors.torch.load_file(tmp_path / "peft" / "adapter_model.safetensors")
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS)
    assert done.spec.adapter is not None
    assert done.spec.adapter.config["save_projection"] is True
    assert done.spec.adapter.parameters > sum(
        tensor.numel() for key, tensor in saved.items() if "encoder" in key
    )
    assert_same(registry, tiny_backbone, model)


def test_depth_zero_alone_is_told_by_the_user(tmp_path: Path, tiny_backbone: Backbone) -> None:
    config = sequence(layers_to_transform=[0], layers_pattern="albert_layer_groups")
    model = save_adapter(tmp_path / "peft", tiny_backbone, config, tied=False)
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS, tied=False)
    assert done.spec.adapter is not None
    assert done.spec.adapter.depths == (0,)
    assert_same(registry, tiny_backbone, model)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers_to_transform": [0], "layers_pattern": "albert_layer_groups"},
        {"target_modules": r".*albert_layer_groups\.\d+\..*query"},
    ],
)
def test_a_stock_adapter_that_names_its_group_is_not_taken_for_one_of_depth_zero(
    changes: dict[str, Any], tmp_path: Path, tiny_backbone: Backbone
) -> None:
    model = save_adapter(tmp_path / "peft", tiny_backbone, sequence(**changes))
    registry = tmp_path / "registry.yaml"
    with pytest.raises(AdapterError, match="--tied or --per-depth"):
        imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS)
    done = imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS, tied=True)
    assert done.spec.adapter is not None
    assert done.spec.adapter.tie_depths
    assert_same(registry, tiny_backbone, model)


def test_the_user_may_say_that_it_is_tied(tmp_path: Path, tiny_backbone: Backbone) -> None:
    save_adapter(tmp_path / "peft", tiny_backbone, sequence())
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS, tied=False)
    assert done.spec.adapter is not None
    assert done.spec.adapter.depths == (0,)


def test_half_precision_is_kept_and_scored(tmp_path: Path, tiny_backbone: Backbone) -> None:
    save_adapter(tmp_path / "peft", tiny_backbone, sequence())
    path = tmp_path / "peft" / "adapter_model.safetensors"
    halved = {name: t.half() for name, t in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file(halved, path)
    model = PeftModel.from_pretrained(classifier_model(tiny_backbone), tmp_path / "peft").eval()
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "peft", registry, tiny_backbone, labels=LABELS)
    assert done.tensors["adapter.tied.query.lora_A.weight"].dtype == torch.float16
    assert_same(registry, tiny_backbone, model)


def test_the_next_import_is_the_next_version(tmp_path: Path, tiny_backbone: Backbone) -> None:
    registry = tmp_path / "registry.yaml"
    for rank in (2, 4):
        save_adapter(tmp_path / f"r{rank}", tiny_backbone, sequence(r=rank))
        done = imported(tmp_path / f"r{rank}", registry, tiny_backbone, labels=LABELS)
    assert done.saved is not None
    assert done.saved.version == 2
    assert read_head(done.saved.path).spec == done.spec


def test_another_backbone_of_the_same_shape_is_noticed_by_nothing_but_a_smaller_one_is(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    other = open_tiny(tmp_path / "narrow", hidden_size=16, intermediate_size=32)
    save_adapter(tmp_path / "peft", tiny_backbone, sequence())
    with pytest.raises(
        AdapterError, match=r"query\.lora_A\.weight' is \(4, 32\).*\(4, 16\).*hidden size 16"
    ):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", other, labels=LABELS)
    assert not (tmp_path / "registry.yaml").exists()


def test_fewer_depths_are_noticed(tmp_path: Path, tiny_backbone: Backbone) -> None:
    shallow = open_tiny(tmp_path / "shallow", num_hidden_layers=3)
    save_adapter(tmp_path / "peft", tiny_backbone, per_depth(), tied=False)
    with pytest.raises(AdapterError, match="changes depth 3; this backbone has depths 0 to 2"):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", shallow, labels=LABELS)


def rewrite(folder: Path, change: Any) -> None:
    path = folder / "adapter_model.safetensors"
    state = safetensors.torch.load_file(path)
    change(state)
    safetensors.torch.save_file(state, path)


def set_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


PREFIX = "base_model.model.albert.encoder.albert_layer_groups.0.albert_layers.0.attention."


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.pop(f"{PREFIX}query.lora_B.weight"), "lacks the factor 'lora_B.weight'"),
        (
            lambda s: s.update({f"{PREFIX}query.lora_A.weight": torch.ones(3, 32)}),
            "do not have one rank",
        ),
        (
            lambda s: s.update(
                {
                    f"{PREFIX}query.lora_A.weight": torch.ones(2, 32),
                    f"{PREFIX}query.lora_B.weight": torch.ones(32, 2),
                }
            ),
            r"lora_A\.weight' is \(2, 32\), its configuration requires \(4, 32\)",
        ),
        (
            lambda s: s.update({f"{PREFIX}query.lora_A.weight": torch.full((4, 32), torch.nan)}),
            "NaN or infinity",
        ),
        (
            lambda s: s.update({"base_model.model.classifier.weight": torch.ones(3, 31)}),
            r"classifier weight is \(3, 31\), expected \(3, 32\)",
        ),
        (
            lambda s: s.update({"base_model.model.classifier.bias": torch.full((3,), torch.inf)}),
            "classifier holds NaN or infinity",
        ),
        (lambda s: s.pop("base_model.model.classifier.bias"), "it has no 'classifier.bias'"),
        (
            lambda s: s.update({f"{PREFIX}key.lora_extra": torch.ones(2)}),
            "lacks the factor|which its configuration does not create",
        ),
        (
            lambda s: s.update({"base_model.model.albert.embeddings.x": torch.ones(2)}),
            "embeddings.x', which is no factor",
        ),
    ],
)
def test_states_that_do_not_fit_are_refused_by_name(
    change: Any, match: str, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    save_adapter(tmp_path / "peft", tiny_backbone, sequence())
    rewrite(tmp_path / "peft", change)
    with pytest.raises(AdapterError, match=match):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", tiny_backbone, labels=LABELS)
    assert not (tmp_path / "registry.yaml").exists()


def test_an_adapter_without_a_classifier_is_refused(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=True), tied=True)
    model.save_pretrained(str(tmp_path / "peft"))
    with pytest.raises(AdapterError, match="an adapter without a classifier"):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", tiny_backbone)


def test_a_backbone_without_a_pooling_layer_cannot_serve_its_classifier(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    save_adapter(tmp_path / "peft", tiny_backbone, sequence())
    bare = tmp_path / "bare"
    open_tiny(bare)
    weights = safetensors.torch.load_file(bare / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "pooler" not in name}
    safetensors.torch.save_file(kept, bare / "model.safetensors", {"format": "pt"})
    from adapterhub.model.backbone.open_backbone import open_backbone

    with pytest.raises(AdapterError, match=r"neither it nor the backbone bare has 'pooler.weight'"):
        imported(tmp_path / "peft", tmp_path / "r.yaml", open_backbone(bare), labels=LABELS)


@pytest.mark.parametrize("start", ["pissa_niter_4", "corda", "lora_ga"])
def test_starts_that_cannot_be_computed_again_are_refused(
    start: str, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    save_adapter(tmp_path / "peft", tiny_backbone, sequence())
    set_config(tmp_path / "peft", init_lora_weights=start)
    with pytest.raises(AdapterError, match=f"{start}.*cannot be computed again.*weight_conversion"):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", tiny_backbone, labels=LABELS)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({}, "The 3 outputs of the classifier have no names"),
        ({"labels": ("a", "b")}, "2 labels are given; the classifier has 3 outputs"),
        ({"labels": LABELS, "kind": "tagging"}, "the classifier classifies whole texts"),
        ({"labels": LABELS, "kind": "embedding"}, "no vectors.*; an embedding task is trained"),
        ({"labels": LABELS, "kind": "prototype"}, "no examples.*; a prototype task is trained"),
        ({"labels": LABELS, "kind": "label_tree"}, "no tree.*; a label_tree task is trained"),
        ({"labels": LABELS, "kind": "regression"}, "one output; the classifier has 3"),
        ({"labels": LABELS, "max_length": 100}, "reads 64 tokens at most"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    said: dict[str, Any], match: str, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    save_adapter(tmp_path / "peft", tiny_backbone, sequence())
    with pytest.raises(UsageError, match=match):
        imported(tmp_path / "peft", tmp_path / "registry.yaml", tiny_backbone, **said)
    assert not (tmp_path / "registry.yaml").exists()


def test_labels_that_make_no_task_are_refused(tmp_path: Path, tiny_backbone: Backbone) -> None:
    config = sequence(task_type="TOKEN_CLS")
    save_adapter(tmp_path / "peft", tiny_backbone, config, kind=AlbertForTokenClassification)
    with pytest.raises(AdapterError, match=r"not a valid task: .*a tagging task needs the tag 'O'"):
        imported(tmp_path / "peft", tmp_path / "r.yaml", tiny_backbone, labels=LABELS)
