"""A backbone of more than 512 positions is read in windows of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from adapterhub.errors import UsageError
from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.training.options import training_options
from adapterhub.training.train import train
from tests.builders import task_spec
from tests.tiny import add_task, open_tiny, tiny_task
from tests.training.rows import pair_rows, sentiment_rows

POSITIONS = 2_048
QUICK: dict[str, Any] = {
    "epochs": 4,
    "depths": (2,),
    "poolings": ("mean",),
    "hidden_widths": (),
    "learning_rates": (0.03,),
    "weight_decays": (0.01,),
    "ngrams": False,
    "mixes": False,
    "max_windows": 2,
}


@pytest.fixture(scope="module")
def long_backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tmp_path_factory.mktemp("long") / "backbone"
    return open_tiny(folder, max_position_embeddings=POSITIONS)


def long_text(tokens: int) -> str:
    return " ".join(["good", "late"][index % 2] for index in range(tokens))


@pytest.mark.parametrize("window", [513, POSITIONS])
@pytest.mark.slow
def test_a_task_reads_windows_longer_than_512(
    long_backbone: Backbone, tmp_path: Path, window: int
) -> None:
    spec = tiny_task(long_backbone, "single_label", task="long", max_length=window)
    registry = tmp_path / "registry.yaml"
    (tmp_path / "backbone").symlink_to(long_backbone.folder)
    encoder = Encoder(long_backbone, device="cpu")
    tokenizer = TextTokenizer(long_backbone.tokenizer)
    add_task(registry, spec, encoder=encoder, tokenizer=tokenizer)
    hub = Hub(registry, device="cpu")
    assert hub.spec("long").max_length == window
    texts = [long_text(window - 2), long_text(window - 1)]
    scores = hub.score(texts, "long", logits=True)["long"]
    assert scores.windows == (1, 2)
    features = hub.encode(texts[:1], depth=spec.head.depths[0], pooling="mean", max_length=window)
    assert np.isfinite(np.asarray(features)).all()


@pytest.mark.parametrize(
    ("rows", "given", "window"),
    [
        (sentiment_rows(24), {}, POSITIONS),
        (pair_rows(24), {}, POSITIONS),
        (sentiment_rows(24), {"max_length": 600}, 600),
    ],
    ids=["single", "pair", "chosen"],
)
def test_training_reads_all_positions_unless_told(
    long_backbone: Backbone,
    tmp_path: Path,
    rows: list[dict[str, Any]],
    given: dict[str, Any],
    window: int,
) -> None:
    trained = train(
        rows,
        task="long",
        options=training_options(**QUICK, **given, cache_dir=tmp_path),
        registry=None,
        backbone=long_backbone,
        encoder=Encoder(long_backbone, device="cpu"),
    )
    assert trained.spec.max_length == window


def test_a_window_longer_than_the_backbone_is_refused_in_training(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    encoder = Encoder(tiny_backbone, device="cpu")
    for window in (65, 512, 65_536):
        options = training_options(**QUICK, max_length=window, cache_dir=tmp_path)
        with pytest.raises(UsageError, match=f"max_length is {window}; the backbone .* 64 tokens"):
            train(
                sentiment_rows(24),
                task="long",
                options=options,
                registry=None,
                backbone=tiny_backbone,
                encoder=encoder,
            )


def test_a_window_has_a_limit_whatever_a_backbone_has() -> None:
    assert task_spec("single_label", max_length=65_536).max_length == 65_536
    with pytest.raises(ValidationError):
        task_spec("single_label", max_length=65_537)
