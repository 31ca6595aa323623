"""Fixtures of the package's own tests, for those of the recipes."""

from __future__ import annotations

from tests.conftest import tiny_backbone, tiny_backbone_folder
from tests.training.conftest import tiny_encoder

__all__ = ["tiny_backbone", "tiny_backbone_folder", "tiny_encoder"]
