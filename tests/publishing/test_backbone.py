"""A backbone as a model repository of its own: what is in it, who opens it, what names it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from transformers import AutoModel, AutoTokenizer

from adapterhub import Hub, publish_backbone
from adapterhub.errors import (
    BackboneError,
    RemoteAccessError,
    RemoteContentError,
    RemoteUnavailableError,
    UsageError,
)
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.model.backbone.sources import SHIPPED
from tests.encoders import save_encoder
from tests.hubserver.faults import LOST
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO
from tests.sentence_files import write_old
from tests.tiny import save_backbone

pytestmark = pytest.mark.slow

NAME = "acme/tiny"
PLAIN = """
import sys
from transformers import AutoModel, AutoTokenizer

model = AutoModel.from_pretrained(sys.argv[1], dtype="float32").eval()
ids = AutoTokenizer.from_pretrained(sys.argv[1])(sys.argv[2], return_tensors="pt")
print(model(**ids).last_hidden_state[0, 0, :4].tolist())
assert "adapterhub" not in sys.modules
"""


def front_matter(card: bytes) -> dict[str, object]:
    found = re.match(rb"---\n(.*?)\n---\n", card, re.DOTALL)
    assert found is not None
    value = yaml.safe_load(found[1])
    assert isinstance(value, dict)
    return value


def test_the_shipped_one_is_a_model_of_transformers(
    hub_server: HubServer, fresh_home: Callable[[], Path], tmp_path: Path
) -> None:
    done = publish_backbone("acme/small")
    shipped = open_backbone(SHIPPED)
    files = hub_server.files("acme/small")
    own = {path.name: path.read_bytes() for path in shipped.folder.iterdir()}
    card = files.pop("README.md")
    del own["README.md"]
    assert {path: data for path, data in files.items() if path != ".gitattributes"} == own
    front = front_matter(card)
    assert front["library_name"] == "transformers"
    assert front["license"] == "cc-by-sa-4.0"
    assert front["language"] == ["en", "zh"]
    assert {"albert", "adapterhub"} <= set(front["tags"])  # type: ignore[arg-type]
    text = card.decode()
    assert 'AutoModel.from_pretrained("acme/small", dtype="float32")' in text
    assert "## Training" in text
    assert done.fingerprint == shipped.spec.fingerprint
    assert done.fingerprint in text
    assert done.base_model == f"acme/small@{done.commit}"
    home = fresh_home()
    surroundings = {**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    words = [sys.executable, "-c", PLAIN, "acme/small", "a good day"]
    ran = subprocess.run(words, env=surroundings, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    ids = AutoTokenizer.from_pretrained(shipped.folder)("a good day", return_tensors="pt")
    model = AutoModel.from_pretrained(shipped.folder, dtype=torch.float32).eval()
    expected = model(**ids).last_hidden_state[0, 0, :4].tolist()
    assert json.loads(ran.stdout) == pytest.approx(expected, abs=1e-6)


def test_the_same_bytes_again_make_no_commit(
    hub_server: HubServer, tiny_backbone_folder: Path
) -> None:
    first = publish_backbone(NAME, tiny_backbone_folder)
    sent = hub_server.faults.count("PUT", "/lfs-store/")
    again = publish_backbone(NAME, tiny_backbone_folder)
    assert (again.files, again.commit) == ((), first.commit)
    assert hub_server.faults.count("PUT", "/lfs-store/") == sent
    assert len(hub_server.repository(NAME).history()) == 2
    dry = publish_backbone(NAME, tiny_backbone_folder, dry_run=True)
    assert dry.files == ()


def test_what_people_wrote_in_the_card_stays(
    hub_server: HubServer, tiny_backbone_folder: Path
) -> None:
    hub_server.state.create(NAME)
    hub_server.put(
        NAME, "README.md", b"---\nlicense: mit  # ours\n---\n# Our own title\n\nWords.\n"
    )
    publish_backbone(NAME, tiny_backbone_folder)
    card = hub_server.files(NAME)["README.md"].decode()
    assert "license: mit  # ours\n" in card
    assert front_matter(card.encode())["library_name"] == "transformers"
    assert card.index("# Our own title") < card.index("AutoModel") < card.index("Words.")
    edited = card.replace("library_name: transformers", "library_name: other").replace(
        "Words.", "Other words."
    )
    hub_server.put(NAME, "README.md", edited.encode())
    assert publish_backbone(NAME, tiny_backbone_folder).files == ()
    assert hub_server.files(NAME)["README.md"].decode() == edited
    assert ModelCard(edited).data.license == "mit"


def test_another_backbone_follows_in_the_same_repository(
    hub_server: HubServer, tiny_backbone_folder: Path, tmp_path: Path
) -> None:
    first = publish_backbone(NAME, tiny_backbone_folder)
    other = save_backbone(tmp_path / "other", seed=1)
    hub_server.put(NAME, "model-00001-of-00002.safetensors", b"left")
    second = publish_backbone(NAME, other)
    assert set(second.files) == {"README.md", "model.safetensors"}
    files = hub_server.files(NAME)
    assert "model-00001-of-00002.safetensors" not in files
    tags = front_matter(files["README.md"])["tags"]
    assert f"adapterhub-backbone:{second.fingerprint[7:23]}" in tags  # type: ignore[operator]
    assert f"adapterhub-backbone:{first.fingerprint[7:23]}" not in tags  # type: ignore[operator]
    assert open_backbone(str(first.base_model)).spec.fingerprint == first.fingerprint
    assert open_backbone(str(second.base_model)).spec.fingerprint == second.fingerprint


def test_card_of_another_backbone_says_nothing_of_the_first(
    hub_server: HubServer, tiny_backbone_folder: Path, tmp_path: Path
) -> None:
    publish_backbone(NAME)  # the one that ships, an ALBERT with a card and a licence of its own
    card = hub_server.files(NAME)["README.md"].decode()
    edited = card.replace("language: [en, zh]", "language: [en, zh, de]")
    hub_server.put(NAME, "README.md", edited.encode())
    other = save_encoder(tmp_path / "bert", "bert")
    publish_backbone(NAME, other)
    card = hub_server.files(NAME)["README.md"].decode()
    front = front_matter(card.encode())
    assert "BertModel" in card
    assert not {"ALBERT", "Wikipedia"} & set(card.split())
    assert "license" not in front
    assert "albert" not in front["tags"]  # type: ignore[operator]
    assert "bert" in front["tags"]  # type: ignore[operator]
    assert front["language"] == ["en", "zh", "de"]
    assert publish_backbone(NAME, other).files == ()
    publish_backbone(NAME)
    card = hub_server.files(NAME)["README.md"].decode()
    assert front_matter(card.encode())["license"] == "cc-by-sa-4.0"
    assert "Wikipedia" in card


def test_heads_stand_in_its_model_tree_and_open_with_it(
    hub: Hub, hub_server: HubServer, fresh_home: Callable[[], Path]
) -> None:
    made = publish_backbone(NAME, hub.registry_path.parent / "backbone")
    hub.publish("sentiment", REPO, base_model=made.base_model)
    fresh_home()
    front = front_matter(hub_server.files(REPO)["README.md"])
    assert front["base_model"] == [NAME]
    assert front["base_model_relation"] == "adapter"
    assert f"base_model:adapter:{NAME}" in front["tags"]  # type: ignore[operator]
    opened = Hub.from_hub(f"{REPO}:sentiment", device="cpu")
    assert (opened.backbone.name, opened.backbone.revision) == (NAME, made.commit)
    assert (
        opened.score("a good day").to_columns() == hub.score("a good day", "sentiment").to_columns()
    )


def test_files_of_sentence_transformers_come_along(hub_server: HubServer, tmp_path: Path) -> None:
    folder = save_backbone(tmp_path / "vectors")
    write_old(folder)
    done = publish_backbone(NAME, folder)
    opened = open_backbone(str(done.base_model))
    assert opened.sentence is not None
    assert opened.spec.fingerprint == done.fingerprint == open_backbone(folder).spec.fingerprint
    assert "modules.json" in done.files
    front = front_matter(hub_server.files(NAME)["README.md"])
    assert front["library_name"] == "sentence-transformers"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("registry.yaml", "it holds tasks. A backbone needs a repository of its own"),
        ("model.safetensors", "it holds model.safetensors, and adapterhub published no backbone"),
        ("src/main.py", "it holds src/main.py"),
    ],
)
def test_what_belongs_to_others_is_not_written_over(
    hub_server: HubServer, tiny_backbone_folder: Path, path: str, problem: str
) -> None:
    hub_server.state.create(NAME)
    hub_server.put(NAME, path, b"schema: 1\nbackbones: {}\ntasks: {}\n")
    before = hub_server.files(NAME)
    with pytest.raises(RemoteContentError, match=problem):
        publish_backbone(NAME, tiny_backbone_folder)
    assert hub_server.files(NAME) == before


def test_a_card_of_another_library_is_not_added_to(
    hub_server: HubServer, tiny_backbone_folder: Path
) -> None:
    for name, library in (("acme/sbert", "sentence-transformers"), ("acme/own", "transformers")):
        hub_server.state.create(name)
        card = f"---\nlibrary_name: {library}\nlicense: mit\n---\n# Mine\n".encode()
        hub_server.put(name, "README.md", card)
    with pytest.raises(RemoteContentError, match=r"another library \(library_name: sentence-tra"):
        publish_backbone("acme/sbert", tiny_backbone_folder)
    assert "config.json" not in hub_server.files("acme/sbert")
    publish_backbone("acme/own", tiny_backbone_folder)
    assert front_matter(hub_server.files("acme/own")["README.md"])["license"] == "mit"


def test_a_lost_response_makes_no_second_commit(
    hub_server: HubServer, tiny_backbone_folder: Path
) -> None:
    hub_server.faults.add("POST", "/commit/", LOST)
    done = publish_backbone(NAME, tiny_backbone_folder)
    assert done.commit == hub_server.repository(NAME).resolve("main").oid
    assert len(hub_server.repository(NAME).history()) == 2


def test_options_are_those_of_publish(
    hub_server: HubServer, tiny_backbone_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dry = publish_backbone(NAME, tiny_backbone_folder, dry_run=True)
    assert (dry.commit, dry.base_model) == (None, None)
    assert {"README.md", "config.json", "model.safetensors", "vocab.txt"} == set(dry.files)
    assert hub_server.state.repositories == {}
    pull = publish_backbone(NAME, tiny_backbone_folder, create_pr=True, private=True)
    assert pull.pull_request == f"{hub_server.url}/{NAME}/discussions/1"
    assert hub_server.repository(NAME).private
    assert "config.json" not in hub_server.files(NAME)
    again = publish_backbone(NAME, tiny_backbone_folder, create_pr=True)
    assert again.pull_request == pull.pull_request
    done = publish_backbone(
        NAME, tiny_backbone_folder, revision="next", commit_message="Mine\nand why"
    )
    assert hub_server.repository(NAME).history("next")[0].title == "Mine"
    assert "config.json" not in hub_server.files(NAME)
    assert open_backbone(str(done.base_model)).spec.fingerprint == done.fingerprint
    with pytest.raises(UsageError):
        publish_backbone(NAME, tiny_backbone_folder, privat=True)
    with pytest.raises(UsageError, match="write owner/name"):
        publish_backbone("tiny", tiny_backbone_folder)
    with pytest.raises(BackboneError):
        publish_backbone(NAME, "./nothing")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(RemoteAccessError, match="needs a token"):
        publish_backbone(NAME, tiny_backbone_folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RemoteUnavailableError):
        publish_backbone(NAME, tiny_backbone_folder)
