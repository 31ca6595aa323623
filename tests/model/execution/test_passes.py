"""Tasks with adapters beside tasks without: one call computes what each alone computes."""

from __future__ import annotations

import contextlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import get_peft_model_state_dict
from transformers import AlbertModel

from adapterhub.errors import HeadFileError, InputError, UsageError
from adapterhub.hub import Hub
from adapterhub.importing.import_task import import_task
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.known_answers import make_known_answers
from adapterhub.peft.export_folder import export_peft
from adapterhub.peft.format import PeftAdapter, adapter_from_peft
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.headfile import read_head, write_head
from adapterhub.store.registry import read_registry
from adapterhub.store.versions import add_version
from tests.adapters import adapter_task, block_adapter, config_of, make_adapter, random_peft
from tests.tiny import PAIR_PROBES, PROBES, save_registry

TOLERANCE = 1e-5
TEXTS = [
    "a good day in the city",
    "it is late and the food was not good, not good at all",
    "he was early",
    "the film",
    "一天 and a day",
    "she was very very late " * 9,
]
PAIRS = [{"text": text, "text_pair": text[::-1]} for text in TEXTS]
HEADS = ("sentiment", "topics", "rating", "entities", "trees", "language")


def _tied(backbone: Backbone, seed: int) -> PeftAdapter:
    model = AlbertModel.from_pretrained(str(backbone.folder), dtype=torch.float32)
    wrapped = random_peft(model, config_of("Lora", (0,), r=2), seed=seed)
    state = get_peft_model_state_dict(wrapped)
    layers = backbone.spec.num_hidden_layers
    config = wrapped.peft_config["default"]
    return adapter_from_peft(state, config, num_hidden_layers=layers, tied=True)


def _adapters(backbone: Backbone) -> dict[str, tuple[PeftAdapter, dict[str, Any]]]:
    """Returns adapters that fork at different depths, with what their tasks read."""

    def peft(method: str, depths: tuple[int, ...], seed: int, **changes: Any) -> PeftAdapter:
        return make_adapter(backbone, config_of(method, depths, **changes), seed=seed)[1]

    shared = peft("Lora", (2, 3), 1, r=4)
    return {
        "intent": (shared, {"depths": (4,)}),
        "intent-tags": (shared, {"kind": "tagging", "depths": (3,)}),
        "intent-trees": (shared, {"kind": "parsing", "depths": (3, 4)}),
        "wide": (peft("Lora", (1, 2, 3), 2, r=3), {"depths": (1, 2, 4), "pooling": "cls"}),
        "dora": (peft("Lora", (3,), 3, r=2, use_dora=True), {"depths": (4,), "pooling": "max"}),
        "tied": (_tied(backbone, 4), {"depths": (3,)}),
        "merged": (peft("LoHa", (2,), 5, r=2), {"depths": (4,), "hidden_width": 8}),
        "own-block": (block_adapter(backbone, (3,)), {"depths": (4,), "pooling": "attentive"}),
        "pairs": (
            peft("Lora", (2,), 6, r=2),
            {"depths": (4,), "fields": ("text", "text_pair")},
        ),
        "apart": (
            peft("Lora", (2, 3), 7, r=3),
            {"depths": (3, 4), "fields": ("text", "text_pair"), "apart": True},
        ),
    }


def _add(registry: Path, backbone: Backbone, encoder: Encoder) -> None:
    tokenizer = TextTokenizer(backbone.tokenizer)
    for seed, (name, (adapter, changes)) in enumerate(_adapters(backbone).items()):
        spec, tensors = adapter_task(backbone, adapter, seed=seed, task=name, **changes)
        probes = PAIR_PROBES if len(spec.fields) == 2 else PROBES
        known = make_known_answers(spec, tensors, probes, encoder=encoder, tokenizer=tokenizer)
        add_version(
            registry,
            spec.model_copy(update={"known_answers": known}),
            tensors,
            backbone_key="tiny",
            backbone_entry=BackboneEntry(
                source="./backbone", fingerprint=spec.backbone.fingerprint
            ),
        )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = save_registry(tmp_path_factory.mktemp("branches"))
    backbone = open_backbone(path.parent / "backbone")
    _add(path, backbone, Encoder(backbone, device="cpu"))
    return path


@pytest.fixture(scope="module")
def hub(registry: Path) -> Hub:
    return Hub(registry, device="cpu")


SINGLE = ("intent", "intent-tags", "intent-trees", "wide", "dora", "tied", "merged", "own-block")


def _logits(hub: Hub, texts: Any, tasks: Any) -> dict[str, list[np.ndarray]]:
    scores = hub.score(texts, tasks, logits=True)
    return {name: list(scores[name].logits) for name in scores}  # type: ignore[arg-type]


def _difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))


@pytest.mark.slow
def test_stacked_branches_compute_what_each_computes_alone(hub: Hub) -> None:
    together = _logits(hub, TEXTS, [*SINGLE, *HEADS])
    for name in SINGLE:
        assert _difference(together[name], _logits(hub, TEXTS, name)[name]) <= TOLERANCE
    alone = _logits(hub, TEXTS, HEADS)
    for name in HEADS:
        # The trunk runs by itself, so adapters beside a head change no bit of it.
        assert all(map(np.array_equal, together[name], alone[name]))


@pytest.mark.slow
def test_order_of_tasks_and_texts_does_not_matter(hub: Hub) -> None:
    forwards = _logits(hub, TEXTS, SINGLE)
    backwards = _logits(hub, TEXTS[::-1], SINGLE[::-1])
    for name in SINGLE:
        assert _difference(forwards[name], backwards[name][::-1]) <= TOLERANCE


def test_neighbours_do_not_change_a_score(hub: Hub) -> None:
    together = _logits(hub, TEXTS, SINGLE)
    for row, text in enumerate(TEXTS):
        alone = _logits(hub, text, SINGLE)
        for name in SINGLE:
            assert _difference([together[name][row]], alone[name]) <= TOLERANCE


@pytest.mark.parametrize("tokens", [1, 40, 10_000])
def test_the_size_of_stacks_does_not_matter(registry: Path, hub: Hub, tokens: int) -> None:
    other = Hub(registry, device="cpu")
    other.encoder.stack_tokens = tokens
    found, expected = _logits(other, TEXTS, SINGLE), _logits(hub, TEXTS, SINGLE)
    for name in SINGLE:
        assert _difference(found[name], expected[name]) <= TOLERANCE


def test_an_adapter_on_pairs_has_a_trunk_of_its_own(hub: Hub) -> None:
    plan = hub.explain(["pairs", "intent", "sentiment", "apart"])
    assert [len(trunk.branches) for trunk in plan.trunks] == [1, 1, 1]
    found = _logits(hub, PAIRS, ["pairs", "intent", "apart"])
    for name in ("pairs", "apart"):
        assert _difference(found[name], _logits(hub, PAIRS, name)[name]) <= TOLERANCE
        alone = np.stack([_logits(hub, pair, name)[name][0] for pair in PAIRS])
        assert _difference(found[name], list(alone)) <= TOLERANCE


def test_an_adapter_on_texts_apart_goes_out_and_comes_back(
    registry: Path, hub: Hub, tmp_path: Path
) -> None:
    found = read_registry(registry).resolve("apart")
    export_peft(read_head(found.path), tmp_path / "out")
    backbone = str(registry.parent / "backbone")
    again = tmp_path / "registry.yaml"
    import_task(tmp_path / "out", task="again", registry=again, backbone=backbone)
    other = Hub(again, device="cpu")
    expected = _logits(hub, PAIRS, "apart")["apart"]
    assert _difference(_logits(other, PAIRS, "again")["again"], expected) <= TOLERANCE


def test_tasks_with_one_adapter_hold_it_once(registry: Path) -> None:
    hub = Hub(registry, device="cpu")
    hub.load("intent")
    one = hub.resident_bytes
    hub.load("intent-tags")
    both = hub.resident_bytes
    heads = (3 * 32 + 3) * 4
    assert both - one == heads
    hub.unload("intent")
    hub.unload("intent-tags")
    assert hub.resident_bytes == 0


def test_rows_ask_different_tasks(hub: Hub) -> None:
    rows = [
        (TEXTS[0], ["intent", "sentiment"]),
        (TEXTS[1], "topics"),
        ({"text": TEXTS[2]}, ["wide", "entities", "trees", "own-block"]),
        (PAIRS[3], ["pairs", "intent"]),
        (PAIRS[1], ["apart"]),
        (TEXTS[5], ["tied", "intent-tags", "intent-trees", "intent"]),
        (TEXTS[4], ["rating", "merged", "dora", "language"]),
    ]
    scores = hub.score_rows(rows, logits=True)
    assert set(scores) == {*SINGLE, *HEADS, "pairs", "apart"}
    for place, (record, names) in enumerate(rows):
        asked = [names] if isinstance(names, str) else names
        for name in scores:
            if name not in asked:
                assert scores[name][place] is None
                assert scores[name].windows[place] == 0
                continue
            alone = hub.score([record], name, logits=True)
            ours, theirs = scores[name].logits, alone[name].logits
            assert ours is not None
            assert theirs is not None
            assert _difference([ours[place]], [theirs[0]]) <= TOLERANCE
            assert scores[name].windows[place] == alone[name].windows[0]


def test_only_what_is_asked_is_computed(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(registry, device="cpu")
    hub.load("topics", "intent", "own-block")
    passes = 0
    run = Encoder.run

    def counted(self: Encoder, hidden: Any, batch: Any, start: int, stop: int, *rest: Any) -> Any:
        nonlocal passes
        passes += batch.tokens * (stop - start)
        return run(self, hidden, batch, start, stop, *rest)

    monkeypatch.setattr(Encoder, "run", counted)
    lengths = [hub.score(text, "topics").__len__() and _tokens(hub, text) for text in TEXTS[:3]]
    passes = 0
    hub.score_rows([(TEXTS[0], "topics"), (TEXTS[1], "intent"), (TEXTS[2], "own-block")])
    # topics reads depth 2; intent forks at 2, own-block at 3, and both go to depth 4.
    assert passes == 2 * lengths[0] + 4 * lengths[1] + 4 * lengths[2]


def _tokens(hub: Hub, text: str) -> int:
    plan = hub.explain("topics")
    (row,) = hub.tokenizer.rows([(text,)], reading=plan.trunks[0].reading, max_windows=16)
    return len(row.ids) + 2


def test_bad_rows_are_named_by_their_place(hub: Hub) -> None:
    rows = [(TEXTS[0], "intent"), ("", "topics"), (TEXTS[1], "topics"), ("one text", "pairs")]
    with pytest.raises(InputError, match="Row 1") as caught:
        hub.score_rows(rows)
    assert caught.value.row == 1
    scores = hub.score_rows(rows, on_error="skip")
    assert [(error.row, error.tasks) for error in scores.errors] == [
        (1, ("topics",)),
        (3, ("pairs",)),
    ]
    assert scores["topics"][1] is None
    assert scores["topics"][2] is not None
    with pytest.raises(UsageError, match="expected \\(text or record, task or tasks\\)"):
        hub.score_rows(["only a text"])  # type: ignore[list-item]


@pytest.mark.slow
def test_an_altered_adapter_is_refused_and_nothing_is_loaded(
    registry: Path, tmp_path: Path
) -> None:
    backbone = open_backbone(registry.parent / "backbone")
    adapter, changes = _adapters(backbone)["intent"]
    spec, tensors = adapter_task(backbone, adapter, task="altered", **changes)
    name = "adapter.2.query.lora_A.weight"
    altered = {**tensors, name: tensors[name] + 1e-3}
    with pytest.raises(HeadFileError, match="its adapter is not the one that its header names"):
        write_head(tmp_path / "altered.safetensors", spec, altered)
    assert not (tmp_path / "altered.safetensors").exists()
    missing = {key: value for key, value in tensors.items() if key != name}
    with pytest.raises(HeadFileError, match=r"lora_A\.weight"):
        write_head(tmp_path / "altered.safetensors", spec, missing)


THREADS, CALLS, ASKED = 8, 14, 3
MIXED = (*SINGLE, "pairs", "apart", *HEADS, "entails")


@pytest.mark.slow
def test_threads_never_get_a_wrong_answer_while_tasks_come_and_go(registry: Path) -> None:
    """Rows and tasks all have logits of their own, so that any mix-up shows itself."""
    rows = [{"text": f"{text} {n}", "text_pair": text} for n in range(4) for text in TEXTS[:5]]
    assert THREADS * CALLS * ASKED * len(rows) > 6_000
    reference = Hub(registry, device="cpu")
    expected = {name: _logits(reference, rows, name)[name] for name in MIXED}
    # Five sixths fit: the three largest by a hair, so what is brought back evicts others.
    reference.load(*MIXED)
    hub = Hub(registry, device="cpu", max_bytes=reference.resident_bytes * 5 // 6)
    done = threading.Event()

    def ask(worker: int) -> tuple[int, list[str]]:
        pick, answers, wrong = random.Random(worker), 0, []
        for _ in range(CALLS):
            asked = pick.sample(MIXED, ASKED)
            order = pick.sample(range(len(rows)), len(rows))
            scores = hub.score([rows[row] for row in order], asked, logits=True)
            for name in asked:
                found = scores[name].logits
                assert found is not None
                answers += len(found)
                for row, values in zip(order, found, strict=True):
                    is_right = _difference([values], [expected[name][row]]) <= TOLERANCE
                    if not is_right or scores[name].made_by.task != name:
                        wrong.append(name)
        return answers, wrong

    def swap() -> int:
        pick, loads = random.Random(99), 0
        while not done.is_set():
            hub.load(pick.choice(MIXED))
            loads += 1
            # A call of another thread may have evicted it meanwhile.
            with contextlib.suppress(UsageError):
                hub.unload(pick.choice(MIXED))
        return loads

    with ThreadPoolExecutor(THREADS + 1) as pool:
        swapper = pool.submit(swap)
        workers = [pool.submit(ask, worker) for worker in range(THREADS)]
        try:
            found = [worker.result() for worker in workers]
        finally:
            done.set()
        assert swapper.result() > 20
    assert sum(answers for answers, _ in found) == THREADS * CALLS * ASKED * len(rows)
    assert [name for _, wrong in found for name in wrong] == []
