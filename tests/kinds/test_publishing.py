"""A task of each kind goes to the Hub with a card that says what it is, and comes back the same."""

from __future__ import annotations

import pytest
import yaml
from huggingface_hub import ModelCard

from adapterhub import Hub
from adapterhub.kinds import KINDS, Kind
from adapterhub.publishing.rendering import escape
from tests.hubserver.server import HubServer
from tests.kinds.tasks import TrainedTasks, assert_same_scores
from tests.publishing.tasks import REPO


@pytest.mark.slow
def test_what_is_published_comes_back(
    trained: TrainedTasks, kind: Kind, hub_server: HubServer
) -> None:
    hub, records, row = trained.hub(kind), trained.records(kind), KINDS[kind]
    # A prediction that is a vector says nothing on a card.
    examples = () if row.of_vectors else (records[0],)
    hub.publish(kind, REPO, examples=examples)
    there = hub_server.files(REPO)
    assert yaml.safe_load(there["registry.yaml"])["schema"] >= row.schema
    card = ModelCard(there["README.md"].decode())
    assert card.data.to_dict()["pipeline_tag"] == row.pipeline
    assert row.output.partition(",")[0] in card.text
    for label in row.label_names(trained.spec(kind).labels):
        assert label == row.joining or escape(label) in card.text
    folder = trained.backbone.folder
    opened = Hub.from_hub(REPO, backbone=str(folder), device="cpu")
    found, expected = (one.score(records, kind, logits=True)[kind] for one in (opened, hub))
    assert_same_scores(found, expected)
    assert len(opened.spec(kind).examples) == len(examples)
