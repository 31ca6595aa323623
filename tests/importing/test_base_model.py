"""An adapter that names another base model than the backbone is not imported without a word."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from adapterhub.errors import AdapterError
from adapterhub.importing.base_model import check_base
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.folder import PeftFolder
from tests.tiny import save_backbone

COMMIT, OTHER = "ab" * 20, "cd" * 20


def adapter(named: object, revision: object = None) -> PeftFolder:
    config: dict[str, Any] = {"base_model_name_or_path": named, "revision": revision}
    empty: MappingProxyType[str, Any] = MappingProxyType({})
    return PeftFolder(Path("lora"), config, empty, empty, "text", True)


def called(backbone: Backbone, name: str, revision: str | None = None) -> Backbone:
    spec = backbone.spec.model_copy(update={"name": name, "revision": revision})
    return replace(backbone, spec=spec)


@pytest.mark.parametrize(
    ("named", "own"),
    [
        ("albert/albert-base-v2", "albert/albert-large-v2"),
        ("someone/albert-base-v2", "albert/albert-base-v2"),
        ("albert-large-v2", "albert/albert-base-v2"),
        ("albert/albert-base-v2", "package:small-bilingual"),
        ("albert/albert-base-v2", "tiny"),
        ("bert-base-uncased", "tiny"),
    ],
)
def test_another_name_is_refused(tiny_backbone: Backbone, named: str, own: str) -> None:
    with pytest.raises(AdapterError, match=rf"trained on {named}, the backbone is .*any_base"):
        check_base(adapter(named), called(tiny_backbone, own))


@pytest.mark.parametrize(
    ("named", "own"),
    [
        ("albert/albert-base-v2", "albert/albert-base-v2"),
        ("Albert/ALBERT-base-v2", "albert/albert-base-v2"),
        ("albert-base-v2", "albert/albert-base-v2"),
        ("albert/albert-base-v2", "albert-base-v2"),
        ("small-bilingual", "package:small-bilingual"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_the_same_name_is_taken(tiny_backbone: Backbone, named: str, own: str) -> None:
    check_base(adapter(named), called(tiny_backbone, own))


def test_another_commit_is_refused(tiny_backbone: Backbone) -> None:
    backbone = called(tiny_backbone, "albert/base", COMMIT)
    with pytest.raises(AdapterError, match=f"albert/base at {OTHER}"):
        check_base(adapter("albert/base", OTHER), backbone)
    for revision in (COMMIT, "main", None):
        check_base(adapter("albert/base", revision), backbone)


def test_a_folder_is_compared_by_its_fingerprint(tiny_backbone: Backbone, tmp_path: Path) -> None:
    check_base(adapter(str(tiny_backbone.folder)), tiny_backbone)
    other = save_backbone(tmp_path / "tiny", seed=3)
    with pytest.raises(AdapterError, match="any_base"):
        check_base(adapter(str(other)), tiny_backbone)


@pytest.mark.filterwarnings("error")
def test_a_name_is_a_folder_where_there_is_one(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_backbone.folder, tmp_path / "models" / "albert")
    check_base(adapter("models/albert"), tiny_backbone)
    # As transformers would read it, although the backbone has this name.
    save_backbone(tmp_path / "models" / "other", seed=3)
    with pytest.raises(AdapterError, match="any_base"):
        check_base(adapter("models/other"), called(tiny_backbone, "models/other"))
    for name in ("a\0b", "n" * 5_000):
        with pytest.raises(AdapterError, match="any_base"):
            check_base(adapter(name), tiny_backbone)


@pytest.mark.parametrize("named", [None, "", "  ", "/home/nobody/albert", "./nothing"])
def test_what_cannot_be_told_is_a_warning(tiny_backbone: Backbone, named: object) -> None:
    with pytest.warns(UserWarning, match=r"its predictions mean nothing"):
        check_base(adapter(named), tiny_backbone)
