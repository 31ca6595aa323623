"""A repository of another library, and files of other people, are not written over."""

from __future__ import annotations

import pytest

from adapterhub.errors import RemoteContentError
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from tests.hubserver.server import HubServer
from tests.publishing.tasks import DEFAULTS, REPO, put, to_publish

CARD = b"---\nlibrary_name: %s\n---\n# Mine\n"
OTHERS: dict[str, tuple[dict[str, bytes], str]] = {
    "transformers card": ({"README.md": CARD % b"transformers"}, "library_name: transformers"),
    "peft card": ({"README.md": CARD % b"'peft'"}, "library_name: peft"),
    "peft files": ({"adapter_config.json": b"{}"}, "it holds adapter_config.json"),
    "transformers files": ({"config.json": b"{}"}, "it holds config.json"),
    "sentence-transformers files": ({"modules.json": b"[]"}, "it holds modules.json"),
    "weights alone": ({"weights.safetensors": b"\0" * 9}, "it holds weights.safetensors"),
    "gguf": ({"model.Q4_K_M.gguf": b"\0" * 9}, r"it holds model.Q4_K_M.gguf"),
    "registry": (
        {"registry.yaml": b"models:\n- a\n"},
        "its registry.yaml is not one of adapterhub",
    ),
    "registry with anchors": ({"registry.yaml": b"a: &x 1\n"}, "is not one of adapterhub"),
    "head": ({"heads/spam.safetensors": b"\0" * 9}, "it holds heads/spam.safetensors"),
    "figure": ({"figures/spam-confusion.png": b"x"}, "it holds figures/spam-confusion.png"),
    "adapter": ({"peft/spam/adapter_config.json": b"{}"}, "it holds peft/spam/adapter_config.json"),
}


@pytest.mark.slow
@pytest.mark.parametrize("dry_run", [False, True], ids=["send", "dry-run"])
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_ours_is_refused_with_the_way_out(
    name: str, dry_run: bool, hub_server: HubServer
) -> None:
    files, problem = OTHERS[name]
    hub_server.state.create(REPO)
    for path, data in files.items():
        hub_server.put(REPO, path, data, lfs=path.endswith(("safetensors", "gguf")))
    before = hub_server.files(REPO)
    with pytest.raises(RemoteContentError, match=problem) as caught:
        publish(REPO, [to_publish("spam")], PublishOptions(dry_run=dry_run))
    assert "another repository" in str(caught.value)
    assert hub_server.files(REPO) == before
    assert hub_server.faults.count("POST", "") == hub_server.faults.count("PUT", "") == 0


@pytest.mark.parametrize("path", ["heads/topic.safetensors", "peft/topic/README.md"])
def test_a_file_of_others_in_a_repository_of_ours_is_not_written_over(
    path: str, hub_server: HubServer
) -> None:
    put("spam")
    hub_server.put(REPO, path, b"theirs")
    before = hub_server.files(REPO)
    with pytest.raises(RemoteContentError, match=f"it holds {path}.*Move or remove"):
        put("topic")
    assert hub_server.files(REPO) == before
    put("spam", seed=1)
    assert hub_server.files(REPO)[path] == b"theirs"


@pytest.mark.parametrize("library", [b"", b"library_name: adapterhub\n"])
def test_a_card_of_a_person_alone_is_kept_and_added_to(
    library: bytes, hub_server: HubServer
) -> None:
    hub_server.state.create(REPO)
    hub_server.put(REPO, "README.md", b"---\nlicense: mit\n" + library + b"---\n# Mine\n\nText.\n")
    hub_server.put(REPO, "LICENSE", b"MIT")
    hub_server.put(REPO, "notes/heads/spam.safetensors", b"theirs")
    put("spam")
    files = hub_server.files(REPO)
    card = files["README.md"].decode()
    assert "license: mit\n" in card
    assert "# Mine\n" in card
    assert "Text.\n" in card
    assert "## spam" in card
    assert files["LICENSE"] == b"MIT"
    assert files["notes/heads/spam.safetensors"] == b"theirs"


def test_a_library_name_changed_by_hand_does_not_lock_its_owner_out(hub_server: HubServer) -> None:
    put("spam")
    card = hub_server.files(REPO)["README.md"].replace(
        b"library_name: adapterhub", b"library_name: peft"
    )
    hub_server.put(REPO, "README.md", card)
    done = publish(REPO, [to_publish("topic")], DEFAULTS)
    assert done.tasks[0].is_new
    assert b"library_name: peft\n" in hub_server.files(REPO)["README.md"]
