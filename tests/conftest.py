"""Fixtures that all tests share."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from tests.encoders import FAMILY_NAMES, save_encoder
from tests.tiny import save_backbone, save_registry

pytest_plugins = ["tests.hubserver.fixtures"]

# Thousands of tests and the libraries are a million objects that stay to the end: looking through
# them for garbage would take a fifth of the time of the suite.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


@pytest.fixture(scope="session")
def tiny_backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_backbone(tmp_path_factory.mktemp("backbones") / "tiny")


@pytest.fixture(scope="session")
def tiny_backbone(tiny_backbone_folder: Path) -> Backbone:
    return open_backbone(tiny_backbone_folder)


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Backbone]:
    """Returns a random backbone of every family by its name."""
    root = tmp_path_factory.mktemp("families")
    return {name: open_backbone(save_encoder(root / name, name)) for name in FAMILY_NAMES}


@pytest.fixture(scope="session")
def _registry_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_registry(tmp_path_factory.mktemp("registry"))


@pytest.fixture
def tiny_registry(_registry_original: Path, tmp_path: Path) -> Path:
    """Returns a registry of its own to each test: sentiment, topics, rating, entails, …"""
    shutil.copytree(_registry_original.parent, tmp_path / "registry")
    return tmp_path / "registry" / "registry.yaml"


@pytest.fixture
def hub(tiny_registry: Path) -> Hub:
    return Hub(tiny_registry, device="cpu")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return str(request.param)
