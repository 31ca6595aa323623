"""A hub that makes vectors, opened once."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.hub import Hub


@pytest.fixture(scope="session")
def encoding_hub(tiny_backbone_folder: Path) -> Hub:
    return Hub(backbone=tiny_backbone_folder, device="cpu")
