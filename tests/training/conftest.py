"""Fixtures of the training tests: a tiny backbone with a cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.training.features.encoding import FeatureSource


@pytest.fixture(scope="session")
def tiny_encoder(tiny_backbone: Backbone) -> Encoder:
    return Encoder(tiny_backbone, device="cpu")


@pytest.fixture
def source(tiny_backbone: Backbone, tiny_encoder: Encoder, tmp_path: Path) -> FeatureSource:
    tokenizer = TextTokenizer(tiny_backbone.tokenizer)
    return FeatureSource(tiny_encoder, tokenizer, tmp_path / "features", 2**30)
