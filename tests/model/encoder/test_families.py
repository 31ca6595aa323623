"""Parity of every family with transformers: each depth, pairs, all lengths, without padding."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer, Window, pack
from adapterhub.plan import Reading
from tests.encoders import FAMILY_NAMES, MODELS, save_encoder

PARITY = 1e-5
TYPES = ("albert", "bert", "electra")
PAIR = ("a good day, and the film 中国人", "it was not very late")


@pytest.fixture(scope="module", params=FAMILY_NAMES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = save_encoder(tmp_path_factory.mktemp("families") / request.param, request.param)
    return open_backbone(folder)


def theirs(backbone: Backbone, **inputs: Any) -> list[torch.Tensor]:
    """Returns transformers' hidden states at every depth, of the model as it stands in files."""
    model = MODELS[backbone.spec.family][1].from_pretrained(str(backbone.folder)).eval()
    with torch.inference_mode():
        states: list[torch.Tensor] = model(**inputs, output_hidden_states=True).hidden_states
    return states


def ours(encoder: Encoder, windows: list[Window]) -> list[torch.Tensor]:
    batch = pack(windows, device=encoder.device)
    states = [encoder.embed(batch)]
    for depth in range(encoder.depth):
        states.append(encoder.run(states[-1], batch, depth, depth + 1))
    return states


@pytest.mark.slow
def test_every_depth_at_every_length(opened: Backbone, device: str) -> None:
    encoder = Encoder(opened, device=device)
    pick = random.Random(0)
    size = opened.config.vocab_size
    lengths = sorted(range(1, encoder.max_positions + 1), reverse=True)
    rows = [[pick.randrange(5, size) for _ in range(length)] for length in lengths]
    windows = [Window(i, 0, len(ids), ids, [0] * len(ids)) for i, ids in enumerate(rows)]
    found = ours(encoder, windows)
    longest = lengths[0]
    ids = torch.tensor(
        [row + [opened.tokenizer.pad_token_id] * (longest - len(row)) for row in rows]
    )
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    expected = theirs(opened, input_ids=ids, attention_mask=mask)
    assert len(found) == len(expected) == encoder.depth + 1
    for own, other in zip(found, expected, strict=True):
        assert (own.cpu() - other[mask.bool()]).abs().max().item() <= PARITY


@pytest.mark.parametrize("texts", [PAIR[:1], PAIR], ids=["text", "pair"])
def test_windows_are_what_the_tokenizer_of_the_family_makes(
    opened: Backbone, texts: tuple[str, ...]
) -> None:
    tokenizer = TextTokenizer(opened.tokenizer)
    reading = Reading(("text", "text_pair")[: len(texts)], 64, 0)
    rows = tokenizer.rows([texts], reading=reading, max_windows=1)
    (window,) = tokenizer.windows(rows, reading=reading)
    given = opened.tokenizer(*texts, return_tensors="pt", return_token_type_ids=True)
    assert window.ids == given["input_ids"][0].tolist()
    if opened.spec.family in TYPES:
        assert window.type_ids == given["token_type_ids"][0].tolist()
    else:
        del given["token_type_ids"]
    expected = theirs(opened, **given)
    for own, other in zip(ours(Encoder(opened, device="cpu"), [window]), expected, strict=True):
        assert (own - other[0]).abs().max().item() <= PARITY


def test_the_longest_text_has_the_length_that_the_family_allows(opened: Backbone) -> None:
    behind_padding = opened.spec.family in ("roberta", "xlm-roberta")
    assert Encoder(opened, device="cpu").max_positions == (62 if behind_padding else 64)


def test_an_identity_map_is_not_computed(opened: Backbone) -> None:
    maps = [name for name in opened.weights if "embedding_hidden_mapping_in" in name]
    assert bool(maps) == (opened.spec.family in ("albert", "electra"))


def test_blocks_are_stored_once_per_group(opened: Backbone) -> None:
    stored = sum(weight.numel() * 4 for weight in opened.weights.values())
    assert Encoder(opened, device="cpu").bytes == stored


def test_the_model_for_training_computes_the_same(opened: Backbone, tmp_path: Path) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    expected = theirs(opened, input_ids=ids)
    with torch.inference_mode():
        found = opened.model(input_ids=ids, output_hidden_states=True).hidden_states
    for own, other in zip(found, expected, strict=True):
        assert (own - other).abs().max().item() <= PARITY


def test_a_pair_of_two_separators_holds_one_token_less(opened: Backbone) -> None:
    tokenizer = TextTokenizer(opened.tokenizer)
    reading = Reading(("text", "text_pair"), 16, 0)
    text = "a good day in the city " * 9
    rows = tokenizer.rows([(text, "late")], reading=reading, max_windows=2)
    windows = tokenizer.windows(rows, reading=reading)
    twice = opened.spec.family in ("roberta", "xlm-roberta")
    assert tokenizer.special.count(2) == (4 if twice else 3)
    assert [len(window.ids) for window in windows] == [16, 16]
    cut = opened.tokenizer(text, "late", truncation="only_first", max_length=16)
    assert windows[0].ids == cut["input_ids"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ()),
        (" ", ("roberta",)),
        ("\n\t", ("roberta",)),
        ("\x10\x7f", ("roberta",)),
        ("\u200b", ("roberta",)),
        ("\u0301", ("roberta", "xlm-roberta")),
        (".", FAMILY_NAMES),
        ("😀", FAMILY_NAMES),
    ],
    ids=ascii,
)
def test_what_leaves_no_token(opened: Backbone, text: str, kept: tuple[str, ...]) -> None:
    """Bytes are never dropped; WordPiece and SentencePiece drop spaces and controls."""
    assert TextTokenizer(opened.tokenizer).has_tokens(text) == (opened.spec.family in kept)
