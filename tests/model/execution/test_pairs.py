"""Pairs whose texts are read apart: against transformers, beside other tasks, and bad files."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizer

from adapterhub.errors import (
    AdapterError,
    HeadFileError,
    InputError,
    KnownAnswersError,
    NonFiniteError,
)
from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TokenBatch
from adapterhub.model.execution import run_trunk as execution
from adapterhub.model.heads.heads import softmax
from adapterhub.model.heads.pair_features import Pairs, compare
from adapterhub.peft.export_folder import export_peft
from adapterhub.peft.exported_head import HEAD_FILE, encode_exported_head, read_exported_head
from adapterhub.publishing.card import task_section
from adapterhub.specs import TaskSpec
from adapterhub.store.headfile import encode_head, read_head, with_metadata, write_head
from adapterhub.store.versions import add_version
from tests.adapters import adapter_task, config_of, make_adapter
from tests.builders import backbone_entry, head_tensors, task_spec
from tests.tiny import add_task, bert_tokenizer, tiny_task

PAIR = ("text", "text_pair")
LONG = "she was early, he was late! the food: very good " * 12
TEXTS = ("the film was good", "a bad day, it is late", "中国的天气很好", "he", LONG, "a good day")
PAIRS = [
    {"text": text, "text_pair": other}
    for text, other in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)
]
FP32 = 1e-5

APART: tuple[dict[str, Any], ...] = (
    {"task": "same", "kind": "single_label", "depths": (3,), "pooling": "mean"},
    {
        "task": "follows",
        "kind": "single_label",
        "depths": (4,),
        "pooling": "cls",
        "hidden_width": 8,
    },
    {"task": "likeness", "kind": "regression", "depths": (0, 2, 3), "pooling": "max"},
    {"task": "relations", "kind": "multi_label", "depths": (1,), "pooling": "mean"},
)
NAMES = tuple(changes["task"] for changes in APART)


def apart_task(backbone: Backbone, **changes: Any) -> TaskSpec:
    fields: dict[str, Any] = {"fields": PAIR, "apart": True, "max_length": 48, "overlap": 6}
    return tiny_task(backbone, **{**fields, **changes})


@pytest.fixture
def backbone(tiny_registry: Path) -> Backbone:
    return open_backbone(tiny_registry.parent / "backbone")


@pytest.fixture
def reference(tiny_registry: Path) -> BertTokenizer:
    return bert_tokenizer(tiny_registry.parent / "backbone")


@pytest.fixture
def apart_hub(tiny_registry: Path, backbone: Backbone) -> Hub:
    """Returns a hub whose registry has tasks that read apart beside the others."""
    hub = Hub(tiny_registry, device="cpu")
    for seed, changes in enumerate(APART):
        spec = apart_task(backbone, **changes)
        add_task(tiny_registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=seed)
    return Hub(tiny_registry, device="cpu")


def logits_of(hub: Hub, rows: Sequence[Any], names: Sequence[str]) -> dict[str, np.ndarray]:
    scores = hub.score(rows, list(names), logits=True)
    return {name: np.asarray(scores[name].logits) for name in names}


def windows_of(text: str, tokenizer: BertTokenizer, spec: TaskSpec) -> Iterator[list[int]]:
    """Yields the windows of one text, cut by hand."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    room = spec.max_length - 2
    first = 0
    while True:
        yield [tokenizer.cls_token_id, *ids[first : first + room], tokenizer.sep_token_id]
        if first + room >= len(ids):
            return
        first += room - spec.overlap


@torch.inference_mode()
def slow_features(
    text: str, spec: TaskSpec, mix: Sequence[float], backbone: Backbone, tokenizer: BertTokenizer
) -> torch.Tensor:
    """Returns the mixed, pooled state of one text by transformers, window after window: (H,)."""
    found = []
    for ids in windows_of(text, tokenizer, spec):
        states = backbone.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        mixed = torch.zeros(backbone.spec.hidden_size)
        for depth, share in zip(spec.head.depths, mix, strict=True):
            tokens = states[depth][0]
            pooled = {"cls": tokens[0], "mean": tokens.mean(0), "max": tokens.amax(0)}
            mixed += share * pooled[spec.head.pooling]
        found.append(mixed)
    return torch.stack(found).mean(0)


def slow_logits(
    row: dict[str, str], spec: TaskSpec, seed: int, backbone: Backbone, tokenizer: BertTokenizer
) -> torch.Tensor:
    """Returns what a head should give, with the formula written out: (K,)."""
    tensors = head_tensors(spec, seed)
    mix = tensors.get("mix.weights", torch.ones(1)).tolist()
    u, v = (slow_features(row[field], spec, mix, backbone, tokenizer) for field in PAIR)
    features = torch.cat([u, v, (u - v).abs(), u * v])
    if spec.head.hidden_width:
        hidden = tensors["head.hidden.weight"] @ features + tensors["head.hidden.bias"]
        features = torch.nn.functional.gelu(hidden)
    return tensors["head.weight"] @ features + tensors["head.bias"]


@pytest.mark.parametrize("seed", range(len(APART)), ids=NAMES)
@pytest.mark.slow
def test_logits_are_those_of_each_text_alone(
    apart_hub: Hub, backbone: Backbone, reference: BertTokenizer, seed: int
) -> None:
    spec = apart_task(backbone, **APART[seed])
    found = logits_of(apart_hub, PAIRS, [spec.task])[spec.task]
    expected = np.stack(
        [slow_logits(row, spec, seed, backbone, reference).numpy() for row in PAIRS]
    )
    # Products of features are of the size of their squares.
    assert np.abs(found - expected).max() <= FP32 * max(1.0, np.abs(expected).max())


def test_the_order_of_the_two_texts_matters() -> None:
    u, v = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    assert compare(u, v).tolist() == [1, 2, 3, -1, 2, 3, 3, -2]
    assert compare(v, u).tolist() == [3, -1, 1, 2, 2, 3, 3, -2]
    assert compare(u[None, None], v[None, None]).shape == (1, 1, 8)


def test_each_distinct_text_is_encoded_once(
    apart_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = [f"the day {number}" for number in range(20)]
    rows = [{"text": "a good day", "text_pair": other} for other in candidates]
    apart_hub.load("same")
    encoded: list[int] = []
    embed = Encoder.embed

    def counting(self: Encoder, batch: TokenBatch) -> torch.Tensor:
        encoded.append(len(batch.windows))
        return embed(self, batch)

    monkeypatch.setattr(Encoder, "embed", counting)
    apart_hub.score(rows, "same")
    assert sum(encoded) == len(candidates) + 1


def test_pairs_become_distinct_texts() -> None:
    pairs = Pairs.of([("a", "b"), ("b", "a"), ("c", "c")])
    assert pairs.texts == (("a",), ("b",), ("c",))
    assert [side.tolist() for side in pairs.sides] == [[0, 1, 2], [1, 0, 2]]
    asked = pairs.requested_texts({"x": np.array([True, False, False])})
    assert asked["x"].tolist() == [True, True, False]


def test_neighbours_order_and_other_tasks_do_not_change_a_score(apart_hub: Hub) -> None:
    together = logits_of(apart_hub, PAIRS, NAMES)
    order = random.Random(0).sample(range(len(PAIRS)), len(PAIRS))
    shuffled = logits_of(apart_hub, [PAIRS[row] for row in order], NAMES)
    for name in NAMES:
        limit = FP32 * max(1.0, np.abs(together[name]).max())
        assert np.abs(shuffled[name] - together[name][order]).max() <= limit
        alone = np.concatenate([logits_of(apart_hub, [row], [name])[name] for row in PAIRS])
        assert np.abs(alone - together[name]).max() <= limit
        assert np.array_equal(logits_of(apart_hub, PAIRS, [name])[name], together[name])


def test_joint_pairs_single_texts_and_adapters_beside_it(
    apart_hub: Hub, backbone: Backbone, tmp_path: Path
) -> None:
    _, adapter = make_adapter(backbone, config_of("Lora", (2, 3), r=2))
    spec, tensors = adapter_task(backbone, adapter, task="changed", fields=PAIR)
    path = tmp_path / "changed.safetensors"
    write_head(path, spec, tensors)
    others = ["sentiment", "entails", "entities", str(path)]
    alone = logits_of(apart_hub, PAIRS, NAMES)
    beside = apart_hub.score(PAIRS, [*NAMES, *others], logits=True)
    for name in NAMES:
        assert np.array_equal(np.asarray(beside[name].logits), alone[name])
    for name in others:
        found = apart_hub.score(PAIRS, name, logits=True)[name]
        assert found.answers == beside[name].answers
    plan = apart_hub.explain([*NAMES, *others])
    apart = next(trunk for trunk in plan.trunks if trunk.reading.apart)
    assert apart.tasks == NAMES
    assert apart.stop == 4


def test_rows_that_ask_different_tasks(apart_hub: Hub) -> None:
    asked = [("same",), ("follows", "sentiment"), NAMES, ("entails", "likeness"), ("same",), NAMES]
    rows = list(zip(PAIRS, asked, strict=True))
    found = apart_hub.score_rows(rows, logits=True)
    for name in NAMES:
        whole = logits_of(apart_hub, PAIRS, [name])[name]
        logits = np.asarray(found[name].logits)
        for row, tasks in enumerate(asked):
            if name in tasks:
                limit = FP32 * max(1.0, np.abs(whole).max())
                assert np.abs(logits[row] - whole[row]).max() <= limit
                assert found[name].answers[row] is not None
            else:
                assert np.isnan(logits[row]).all()
                assert found[name].answers[row] is None


def test_answers_windows_and_top_k(apart_hub: Hub) -> None:
    scores = apart_hub.score(PAIRS, list(NAMES), top_k=None, logits=True)
    same = scores["same"]
    chances = softmax(np.asarray(same.logits))
    for row, answer in enumerate(same.answers):
        assert isinstance(answer, list)
        assert [one["score"] for one in answer] == sorted(chances[row].tolist(), reverse=True)
    # The long text is the second of one pair and the first of the next.
    long = 1 + -(
        -(len(LONG.split()) + LONG.count(",") + LONG.count("!") + LONG.count(":") - 46) // 40
    )
    assert long > 1
    assert same.windows == (2, 2, 2, 1 + long, long + 1, 2)
    assert not any(same.truncated)
    short = Hub(apart_hub.registry_path, device="cpu", max_windows=1)
    cut = short.score(PAIRS, "same")["same"]
    assert cut.windows == (2,) * 6
    assert cut.truncated == (False, False, False, True, True, False)


def test_many_pairs_go_in_parts(apart_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*NAMES, "entails"]
    asked = [("same",), ("same",), NAMES, ("follows", "entails"), NAMES, ("likeness", "same")]
    rows = list(zip(PAIRS, asked, strict=True))
    whole = apart_hub.score(PAIRS, names, logits=True)
    some = apart_hub.score_rows(rows, logits=True)
    monkeypatch.setattr(execution, "_PAIRS_AT_ONCE", 2)
    for one, other in (
        (whole, apart_hub.score(PAIRS, names, logits=True)),
        (some, apart_hub.score_rows(rows, logits=True)),
    ):
        for name in names:
            expected = np.asarray(one[name].logits)
            limit = FP32 * max(1.0, np.nanmax(np.abs(expected)))
            assert np.allclose(np.asarray(other[name].logits), expected, 0, limit, equal_nan=True)
            assert other[name].windows == one[name].windows
            assert other[name].truncated == one[name].truncated


def test_bad_rows_are_named_or_skipped(apart_hub: Hub) -> None:
    rows = [PAIRS[0], {"text": "only one"}, PAIRS[1]]
    with pytest.raises(InputError, match="has no field 'text_pair'"):
        apart_hub.score(rows, "same")
    scores = apart_hub.score(rows, "same", on_error="skip", logits=True)
    assert [error.row for error in scores.errors] == [1]
    assert scores["same"].answers[1] is None
    expected = logits_of(apart_hub, [PAIRS[0], PAIRS[1]], ["same"])["same"]
    found = np.asarray(scores["same"].logits)[[0, 2]]
    assert np.abs(found - expected).max() <= FP32 * max(1.0, np.abs(expected).max())


def test_a_head_that_overflows_is_refused_by_row(
    tiny_registry: Path, backbone: Backbone, tmp_path: Path
) -> None:
    spec = apart_task(backbone, **APART[0])
    tensors = {name: tensor * 3e38 for name, tensor in head_tensors(spec).items()}
    tensors = {name: tensor.clamp(-3e38, 3e38) for name, tensor in tensors.items()}
    path = tmp_path / "same.safetensors"
    write_head(path, spec, tensors)
    with pytest.raises(NonFiniteError):
        Hub(tiny_registry, device="cpu").score(PAIRS, str(path))


def test_known_answers_are_replayed(apart_hub: Hub, backbone: Backbone, tmp_path: Path) -> None:
    head = read_head(apart_hub.registry_path.parent / "heads" / "same.safetensors")
    assert head.spec.apart
    assert head.spec.known_answers
    path = tmp_path / "same.safetensors"
    tensors = {name: tensor.clone() for name, tensor in head.tensors.items()}
    width = backbone.spec.hidden_size
    # The product of the two texts alone is what changes.
    tensors["head.weight"][:, 3 * width :] += 1.0
    write_head(path, head.spec, tensors)
    with pytest.raises(KnownAnswersError):
        apart_hub.load(str(path))


def test_a_file_of_a_task_that_reads_together_has_no_word_of_it() -> None:
    spec = task_spec(fields=PAIR)
    assert "apart" not in json.loads(spec.model_dump_json())
    assert "apart" not in spec.model_dump(mode="json")
    old = spec.model_dump_json()
    assert TaskSpec.model_validate_json(old) == spec
    said = TaskSpec.model_validate_json(old[:-1] + ',"apart":false}')
    assert said == spec
    assert said.model_dump_json() == old
    apart = task_spec(fields=PAIR, apart=True)
    assert TaskSpec.model_validate_json(apart.model_dump_json()) == apart
    assert json.loads(apart.model_dump_json())["apart"] is True


def test_a_head_of_the_wrong_width_is_refused() -> None:
    together, apart = task_spec(fields=PAIR), task_spec(fields=PAIR, apart=True)
    with pytest.raises(HeadFileError, match=r"'head.weight' is \(2, 16\); .* needs \(2, 64\)"):
        encode_head(apart, head_tensors(together))
    with pytest.raises(HeadFileError, match=r"'head.weight' is \(2, 64\); .* needs \(2, 16\)"):
        encode_head(together, head_tensors(apart))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"fields": ["text"]}, "apart is for two fields"),
        ({"apart": 1}, "valid boolean"),
        ({"apart": "true"}, "valid boolean"),
    ],
)
def test_files_that_contradict_themselves_are_refused(
    tmp_path: Path, content: dict[str, Any], problem: str
) -> None:
    spec = task_spec(fields=PAIR, apart=True)
    values = {**json.loads(spec.model_dump_json()), **content}
    plain = encode_head(spec, head_tensors(spec))
    path = tmp_path / "bad.safetensors"
    path.write_bytes(_with_spec(plain, values))
    with pytest.raises(HeadFileError, match=problem):
        read_head(path)


def _with_spec(data: bytes, values: dict[str, Any]) -> bytes:
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    del header["__metadata__"]
    text = json.dumps(header).encode()
    plain = len(text).to_bytes(8, "little") + text + data[end:]
    return with_metadata(plain, {"adapterhub": json.dumps(values), "format": "pt"})


def test_an_export_needs_an_adapter_and_keeps_how_texts_are_read(tmp_path: Path) -> None:
    spec = task_spec(task="same", fields=PAIR, apart=True)
    head = write_head(tmp_path / "same.safetensors", spec, head_tensors(spec))
    with pytest.raises(AdapterError, match="has none; it is a head on the frozen backbone"):
        export_peft(head, tmp_path / "out")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / HEAD_FILE).write_bytes(encode_exported_head(head))
    found = read_exported_head(tmp_path / "made")
    assert found is not None
    assert found.spec.apart


def test_a_card_says_that_the_texts_are_read_alone() -> None:
    together = task_section("me/tasks", "same", task_spec(fields=PAIR), ())
    apart = task_section("me/tasks", "same", task_spec(fields=PAIR, apart=True), ())
    assert "Input: `text` and `text_pair`.\nOutput: one of" in together
    assert "Input: `text` and `text_pair`, encoded separately and compared.\nOutput: " in apart
    assert "cut into windows whose outputs are averaged" in together
    assert "cut into windows whose features are averaged" in apart
    assert "averaged" not in task_section("me/tasks", "words", task_spec("tagging"), ())


def test_a_registry_keeps_it(tmp_path: Path) -> None:
    spec = task_spec(task="same", fields=PAIR, apart=True)
    path = tmp_path / "registry.yaml"
    tensors = head_tensors(spec)
    saved = add_version(path, spec, tensors, backbone_key="small", backbone_entry=backbone_entry())
    assert read_head(saved.path).spec == spec
