"""Freezing depths: what is refused, what is trained, and that frozen stays bit-identical."""

from __future__ import annotations

import copy
import gc
import io
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForSequenceClassification,
    AlbertModel,
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from adapterhub import Trainable, freeze, trainable, unrolled
from adapterhub.errors import SharedWeightsError, UsageError

TOKENS = torch.tensor([[2, 7, 9, 3], [2, 8, 30, 3]])
DEPTHS = 4
SIZES = {"vocab_size": 40, "num_hidden_layers": DEPTHS, "num_attention_heads": 2}
LORA = LoraConfig(target_modules=["query"])


def albert(kind: Any = AlbertForSequenceClassification, **changes: Any) -> Any:
    torch.manual_seed(0)
    settings = {"embedding_size": 8, "hidden_size": 16, "intermediate_size": 24, **SIZES, **changes}
    return kind(AlbertConfig(max_position_embeddings=16, initializer_range=0.3, **settings)).eval()


def groups(model: Any) -> Any:
    return model.albert.encoder.albert_layer_groups


def flags(model: Any) -> list[bool]:
    return [parameter.requires_grad for parameter in model.parameters()]


def output(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(TOKENS)[0]
    return found


def train_steps(model: Any) -> None:
    """Takes two steps of AdamW with weight decay, on all parameters that the model has."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(2):
        model(TOKENS, labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("make", [lambda: albert(), lambda: unrolled(albert())])
def test_part_of_the_shared_depths_is_refused_with_the_reason(make: Callable[[], Any]) -> None:
    model = make()
    with pytest.raises(SharedWeightsError) as found:
        freeze(model, [1, 2])
    assert found.value.depths == (1, 2)
    assert found.value.shared == (0, 1, 2, 3)
    for part in ("depths 1, 2", "depths 0, 3", "untie=True", "--at-depths", "layers_to_transform"):
        assert part in str(found.value)
    assert all(flags(model))


def test_all_depths_are_frozen_with_the_embeddings_and_without_the_head() -> None:
    for model in (albert(), unrolled(albert())):
        assert freeze(model) is model
        left = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
        assert left == {"albert", "classifier"}
        assert trainable(model) == Trainable(
            depths=(),
            frozen_depths=(0, 1, 2, 3),
            shared=((0, 1, 2, 3),),
            parameters=16 * 16 + 16 + 2 * 16 + 2,
            frozen_parameters=sum(p.numel() for p in model.parameters() if not p.requires_grad),
        )
        assert all(p.requires_grad for p in model.albert.pooler.parameters())
    freeze(model := albert(), range(DEPTHS), embeddings=False)
    assert all(p.requires_grad for p in model.albert.embeddings.parameters())
    assert model.albert.encoder.embedding_hidden_mapping_in.weight.requires_grad


def test_groups_are_frozen_as_a_whole() -> None:
    model = albert(num_hidden_groups=2)
    assert trainable(model).shared == ((0, 1), (2, 3))
    with pytest.raises(SharedWeightsError) as found:
        freeze(model, [0, 1, 2])
    assert (found.value.depths, found.value.shared) == ((2,), (2, 3))
    freeze(model, [0, 1])
    assert trainable(model).depths == (2, 3)


@pytest.mark.parametrize(
    ("depths", "is_unrolled"), [((0, 1), False), ((1, 2), True), ((3,), False), ((), True)]
)
def test_untied_depths_train_and_frozen_ones_stay(
    depths: tuple[int, ...], is_unrolled: bool
) -> None:
    model = unrolled(albert()) if is_unrolled else albert()
    expected = output(model)
    assert freeze(model, depths, untie=True) is model
    assert torch.equal(output(model), expected)
    told = trainable(model)
    assert told.frozen_depths == depths
    assert told.shared == ((depths,) if len(depths) > 1 else ())
    block = sum(p.numel() for p in groups(model)[3].parameters())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert told.parameters + told.frozen_parameters == sum(p.numel() for p in model.parameters())
    own_blocks = DEPTHS - len(depths) + bool(depths)
    outside = sum(p.numel() for p in model.parameters()) - own_blocks * block
    assert outside == sum(p.numel() for p in albert().parameters()) - block
    train_steps(model)
    for name, parameter in model.named_parameters():
        is_frozen = any(f"groups.{depth}." in name for depth in depths) or (
            0 in depths and (".embeddings." in name or "mapping_in" in name)
        )
        assert torch.equal(parameter, before[name]) == is_frozen, name


@pytest.mark.slow
def test_untied_weights_are_saved_and_opened(tmp_path: Path) -> None:
    for kind in (AlbertForSequenceClassification, AlbertForMaskedLM):
        model = freeze(albert(kind), [0, 1], untie=True)
        with torch.no_grad():
            groups(model)[3].albert_layers[0].ffn.weight.mul_(2)
        model.save_pretrained(tmp_path)
        opened, info = kind.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values())
        assert opened.config.num_hidden_groups == DEPTHS
        assert torch.equal(output(opened.eval()), output(model))
        freeze(opened, [0, 1])
        assert trainable(opened).parameters == trainable(model).parameters
        model.load_state_dict(opened.state_dict())


def test_a_masked_language_model_keeps_its_tied_output_layer() -> None:
    model = freeze(albert(AlbertForMaskedLM), [0], untie=True)
    table = model.albert.embeddings.word_embeddings.weight
    assert model.predictions.decoder.weight is table
    assert not table.requires_grad


def test_two_variants_of_one_model() -> None:
    model = albert()
    lower, upper = unrolled(model), unrolled(model)
    freeze(lower, [0, 1], untie=True)
    freeze(upper, [2, 3], untie=True)
    assert all(flags(model))
    assert trainable(lower).depths == (2, 3)
    assert trainable(upper).depths == (0, 1)
    shared = groups(lower)[0].albert_layers[0].ffn.weight
    assert shared.data_ptr() == groups(model)[0].albert_layers[0].ffn.weight.data_ptr()


PARTS: tuple[Callable[[Any], Any], ...] = (
    lambda group: group,
    lambda group: group.albert_layers,
    lambda group: group.albert_layers[:],
    lambda group: group.albert_layers[0],
    lambda group: group.albert_layers[0].attention.query,
)


@pytest.mark.parametrize("part", PARTS)
def test_requires_grad_of_one_depth_is_refused(part: Callable[[Any], Any]) -> None:
    model = unrolled(albert())
    for found, value in ((model, True), (copy.deepcopy(model), False), (pickled(model), False)):
        with pytest.raises(SharedWeightsError) as error:
            part(groups(found)[2]).requires_grad_(value)
        assert error.value.depths == (2,)
        assert error.value.shared == (0, 1, 2, 3)
        assert all(flags(found))
    # The model may be gone as soon as the method is looked up.
    with pytest.raises(SharedWeightsError):
        part(groups(unrolled(albert()))[2]).requires_grad_(False)


def test_requires_grad_of_some_depths_is_refused_by_their_weights() -> None:
    model = unrolled(albert())
    for found in (model, copy.deepcopy(model)):
        with pytest.raises(SharedWeightsError) as error:
            groups(found)[1:3].requires_grad_(False)
        assert error.value.depths == (1, 2)
        with pytest.raises(SharedWeightsError) as error:
            (groups(found)[:1] + groups(found)[3:]).requires_grad_(False)
        assert error.value.depths == (0, 3)
    assert all(flags(model))
    assert len(groups(model)[:].requires_grad_(False)) == DEPTHS
    own = freeze(albert(), [0, 1], untie=True)
    groups(own)[2:].requires_grad_(False)
    assert trainable(own).depths == ()


def pickled(model: Any) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_requires_grad_of_the_whole_still_works() -> None:
    model = unrolled(albert())
    assert model.requires_grad_(False) is model
    assert not any(flags(model))
    # Freezing what is frozen changes nothing; PEFT does it.
    groups(model)[1].requires_grad_(False)
    model.albert.encoder.requires_grad_()
    assert all(p.requires_grad for p in groups(model).parameters())
    groups(model).requires_grad_(False)
    assert not any(p.requires_grad for p in groups(model).parameters())


def test_a_copy_of_one_depth_is_its_own() -> None:
    model = unrolled(albert())
    own = copy.deepcopy(groups(model)[3])
    assert own.requires_grad_(False) is own
    groups(model)[3] = own
    own.albert_layers[0].ffn.requires_grad_(True)
    with pytest.raises(SharedWeightsError) as error:
        groups(model)[0].requires_grad_(False)
    assert error.value.shared == (0, 1, 2)


def test_untied_depths_may_be_frozen_and_trained() -> None:
    model = freeze(albert(), [0, 1], untie=True)
    groups(model)[3].requires_grad_(False)
    freeze(model, [2])
    assert trainable(model).depths == ()
    groups(model)[3].requires_grad_()
    assert trainable(model).depths == (3,)
    with pytest.raises(SharedWeightsError) as error:
        groups(model)[0].requires_grad_()
    assert (error.value.depths, error.value.shared) == ((0,), (0, 1))


def test_the_rest_of_a_model_is_freed_at_once() -> None:
    model = unrolled(albert())
    table = weakref.ref(model.albert.embeddings)
    gc.disable()
    try:
        del model
        assert table() is None
    finally:
        gc.enable()


def test_peft_models_are_frozen_by_what_is_trained_in_them() -> None:
    tied = get_peft_model(albert(AlbertModel), copy.deepcopy(LORA))
    with pytest.raises(SharedWeightsError):
        freeze(tied, [0])
    expected = output(tied)
    freeze(tied, [0, 1], untie=True)
    assert torch.equal(output(tied), expected)
    trained = [name for name, p in tied.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * 2
    assert all("lora_" in name and (".2." in name or ".3." in name) for name in trained)
    # The frozen block stays one, in the trained depths too.
    assert trainable(tied).frozen_parameters < 2 * sum(p.numel() for p in albert().parameters())


def test_peft_injects_layers_and_copies_into_guarded_depths() -> None:
    config = LoraConfig(target_modules=["query"], modules_to_save=["full_layer_layer_norm"])
    model = get_peft_model(unrolled(albert(AlbertModel)), config)
    freeze(model, [0, 3])
    assert trainable(model).depths == (1, 2)
    model.merge_and_unload()


OTHERS = [
    BertConfig(hidden_size=16, intermediate_size=16, **SIZES),
    DistilBertConfig(vocab_size=40, n_layers=DEPTHS, n_heads=2, dim=16, hidden_dim=16),
    ElectraConfig(hidden_size=16, intermediate_size=16, embedding_size=8, **SIZES),
    RobertaConfig(hidden_size=16, intermediate_size=16, **SIZES),
    XLMRobertaConfig(hidden_size=16, intermediate_size=16, **SIZES),
]


@pytest.mark.parametrize("config", OTHERS, ids=lambda config: config.model_type)
def test_other_families_are_frozen_by_layer(config: Any) -> None:
    model = AutoModel.from_config(config)
    for is_untied in (False, True):
        model.requires_grad_()
        freeze(model, [0, 2], untie=is_untied)
        told = trainable(model)
        assert (told.depths, told.frozen_depths, told.shared) == ((1, 3), (0, 2), ())
        left = [name for name, p in model.named_parameters() if p.requires_grad]
        assert all("layer.1." in n or "layer.3." in n or "pooler" in n for n in left)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"depths": [4]}, r"depths has 4; expected numbers from 0 to 3, or None for all"),
        ({"depths": [-1]}, "depths has -1"),
        ({"depths": [True]}, "depths has True"),
        ({"depths": [1.0]}, "depths has 1.0"),
        ({"depths": 2}, "depths is 2"),
        ({"depths": torch.tensor(2)}, r"depths is tensor\(2\)"),
        ({"depths": "all"}, "depths is 'all'"),
        ({"untie": 1}, "untie is 1"),
        ({"embeddings": "yes"}, "embeddings is 'yes'"),
    ],
)
def test_wrong_arguments_change_nothing(arguments: dict[str, Any], problem: str) -> None:
    model = albert()
    with pytest.raises(UsageError, match=problem):
        freeze(model, **arguments)
    assert all(flags(model))


def test_what_cannot_be_frozen_says_why() -> None:
    with pytest.raises(UsageError, match="Cannot freeze depths of a Linear; expected a model of"):
        freeze(torch.nn.Linear(2, 2))
    with pytest.raises(UsageError, match=r"depths to train \(1, 2, 3\) are frozen already"):
        freeze(albert().requires_grad_(False), [0], untie=True)
    with pytest.raises(UsageError, match="inner_group_num 2"):
        freeze(albert(inner_group_num=2), [0], untie=True)


def test_it_is_told_in_words() -> None:
    model = freeze(albert(), [0, 1], untie=True)
    told = trainable(model)
    assert str(told) == (
        f"{told.parameters:,} of {told.parameters + told.frozen_parameters:,} parameters are "
        f"trained; trained depths: 2, 3; frozen depths: 0, 1; depths with the same weights: 0, 1"
    )


@pytest.mark.slow
def test_trainer_leaves_frozen_depths_alone_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    # Takes more than a second, which the quick tests need not.
    from transformers import Trainer, TrainingArguments

    rows = [{"input_ids": row, "labels": n % 2} for n, row in enumerate([*TOKENS.tolist()] * 4)]
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=2,
        save_steps=1,
        per_device_train_batch_size=4,
        learning_rate=0.01,
        weight_decay=0.1,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    model = freeze(albert(), [0, 1], untie=True)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    Trainer(model, arguments, train_dataset=rows).train()
    same = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert same == frozen
    again = freeze(albert(), [0, 1], untie=True)
    checkpoint = str(tmp_path / "checkpoint-1")
    Trainer(again, arguments, train_dataset=rows).train(resume_from_checkpoint=checkpoint)
    assert torch.equal(output(again.eval()), output(model.eval()))
