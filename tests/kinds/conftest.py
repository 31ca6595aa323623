"""The trained tasks of all kinds, and the kinds."""

from __future__ import annotations

import pytest

from adapterhub.kinds import KINDS, Kind
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from tests.kinds.tasks import TrainedTasks


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Backbone) -> TrainedTasks:
    folder = tmp_path_factory.mktemp("kinds")
    return TrainedTasks(folder, tiny_backbone, Encoder(tiny_backbone, device="cpu"))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found
