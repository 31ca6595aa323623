"""What people wrote in a card stays; what adapterhub wrote and nobody changed is updated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load, metadata_save

from adapterhub.publishing.files import files_of
from adapterhub.publishing.layout import Present
from adapterhub.publishing.merging import merge
from adapterhub.remote.find import FoundTask
from adapterhub.store.registry import parse_registry
from tests.builders import backbone_spec
from tests.publishing.tasks import REPO, to_publish

ALBERT = backbone_spec(name="albert/albert-base-v2", revision="b" * 40)
HAND = """\
# For reference see the Hub's documentation.
license: mit # ours
date: 2024-01-02
language:
  - no
  - 'de'
library_version: "1.10"
tags:
  - our-tag   # a comment
  # another
  - text
metrics: [wer]
base_model: acme/own
pipeline_tag: 'zero-shot-classification'
"""


def task(name: str = "spam", **spec: Any) -> FoundTask:
    return to_publish(name, **{"backbone": ALBERT, **spec})


def published(before: dict[str, bytes], *tasks: FoundTask) -> dict[str, bytes]:
    """Returns the files after a publication on top of `before`."""
    path = Path("registry.yaml")
    there = before.get("registry.yaml")
    merged = merge(parse_registry(there, path) if there else None, tasks, place=path)
    extras = {one.name: {} for one in tasks}
    state = Present(before.get("README.md"), before, before.__getitem__)
    made = files_of(merged, tasks, repo=REPO, extras=extras, there=state)
    return {**before, **{name: data for name, data in made.items() if data is not None}}


def with_card(files: dict[str, bytes], card: str) -> dict[str, bytes]:
    return {**files, "README.md": card.encode()}


def text_of(files: dict[str, bytes]) -> str:
    return files["README.md"].decode()


def front_of(files: dict[str, bytes]) -> dict[str, Any]:
    return ModelCard(text_of(files)).data.to_dict()


def edited(files: dict[str, bytes], old: str, new: str) -> dict[str, bytes]:
    """Returns the files with lines of the card's front matter changed by hand."""
    text = text_of(files)
    assert re.search(old, text, re.MULTILINE), text
    return with_card(files, re.sub(old, new, text, count=1, flags=re.MULTILINE))


def by_the_client(files: dict[str, bytes], folder: Path, **values: Any) -> dict[str, bytes]:
    """Returns the files after the Hub's client wrote the whole front matter anew."""
    card = folder / "README.md"
    card.write_bytes(files["README.md"])
    metadata_save(card, {**(metadata_load(card) or {}), **values})
    return with_card(files, card.read_text(encoding="utf-8"))


# In a repository of others ---------------------------------------------------------------------


def test_each_value_of_a_card_of_others_stays() -> None:
    files = published(with_card({}, f"---\n{HAND}---\n# Mine\n"), task())
    text = text_of(files)
    for line in HAND.splitlines():
        assert line in text.splitlines(), line
    front = yaml.load(text.split("---\n")[1], yaml.BaseLoader)
    kept = yaml.load(HAND, yaml.BaseLoader)
    assert {key: front[key] for key in kept if key != "tags"} == {
        key: value for key, value in kept.items() if key != "tags"
    }
    assert front["tags"][:3] == ["our-tag", "text", "adapterhub"]
    assert front["library_name"] == "adapterhub"
    # It would be said of the model that was written by hand.
    assert "base_model_relation" not in front
    assert "license_name" not in front
    again = published(files, task("topic", languages=("zh",), license="bsd-3-clause"))
    front = yaml.load(text_of(again).split("---\n")[1], yaml.BaseLoader)
    assert (front["license"], front["language"]) == ("mit", ["no", "de"])
    assert (front["base_model"], front["metrics"]) == ("acme/own", ["wer"])


def test_what_a_card_of_others_lacks_is_added() -> None:
    front = front_of(published(with_card({}, "---\nlicense: mit\n---\n# Mine\n\nText.\n"), task()))
    assert front["license"] == "mit"
    assert front["library_name"] == "adapterhub"
    assert front["language"] == ["en"]
    assert front["base_model"] == ["albert/albert-base-v2"]
    assert front["base_model_relation"] == "adapter"


@pytest.mark.parametrize(
    "front", ["{license: mit, language: [no]}\n", "license:\n", "# none\n", ""]
)
def test_odd_front_matter_is_kept_and_added_to(front: str) -> None:
    made = front_of(published(with_card({}, f"---\n{front}---\ntext\n"), task()))
    assert made["library_name"] == "adapterhub"
    if "mit" in front:
        assert (made["license"], made["language"]) == ("mit", ["no"])
    else:
        assert made["license"] == "apache-2.0"


@pytest.mark.parametrize(
    ("before", "after"),
    [("\ufeff", ""), ("\n \n", "")],
    ids=["byte order mark", "blank lines"],
)
def test_what_stands_before_the_front_matter_does_not_hide_it(before: str, after: str) -> None:
    card = f"{before}---\nlicense: mit\n---\n# Mine\n"
    text = text_of(published(with_card({}, card), task()))
    assert text.startswith(f"{after}---\nlibrary_name")
    assert text.count("\n---\n") == 1
    assert ModelCard(text).data.to_dict()["license"] == "mit"


def test_a_card_keeps_the_ends_of_its_lines() -> None:
    card = "---\r\nlicense: mit\r\n---\r\n# Mine\r\n\r\nText.\r\n"
    data = published({"README.md": card.encode()}, task())["README.md"]
    assert data.count(b"\n") == data.count(b"\r\n")
    assert b"license: mit\r\n" in data
    assert ModelCard(data.decode()).data.to_dict()["library_name"] == "adapterhub"
    again = published({"README.md": data}, task("topic"))["README.md"]
    assert again.count(b"\n") == again.count(b"\r\n")


# In a repository of ours -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "old", "value"),
    [
        ("license", r"^license: .*$", "mit"),
        ("library_name", r"^library_name: .*$", "peft"),
        ("pipeline_tag", r"^pipeline_tag: .*$", "zero-shot-classification"),
        ("base_model", r"^base_model:\n- .*$", "acme/own"),
        ("language", r"^language:\n- .*$", "multilingual"),
        ("metrics", r"^metrics:\n- .*$", "wer"),
    ],
)
def test_a_value_changed_by_hand_stays(key: str, old: str, value: str) -> None:
    scored = {"metrics": metrics(0.9)}
    files = edited(published({}, task(**scored)), old, f"{key}: {value}")
    for seed in (1, 2):
        files = published(files, task(seed=seed, **scored))
    assert front_of(files)[key] in (value, [value])


@pytest.mark.parametrize(
    "key", ["license", "library_name", "pipeline_tag", "base_model", "language"]
)
def test_a_value_removed_by_hand_stays_away(key: str) -> None:
    files = edited(published({}, task()), rf"^{key}:.*\n(?:- .*\n)*", "")
    for seed in (1, 2):
        files = published(files, task(seed=seed))
        assert key not in front_of(files)


def test_what_nobody_changed_is_updated() -> None:
    files = published({}, task())
    files = edited(files, r"^pipeline_tag: .*$", "pipeline_tag: other")
    bert = backbone_spec(name="acme/bert", revision="c" * 40, fingerprint=f"sha256:{'cd' * 32}")
    files = published(files, task("topic", languages=("zh",), license="mit", backbone=bert))
    front = front_of(files)
    assert front["language"] == ["en", "zh"]
    assert (front["license"], front["license_name"]) == ("other", "see-each-task")
    assert front["base_model"] == ["acme/bert", "albert/albert-base-v2"]
    assert front["pipeline_tag"] == "other"
    for seed, licence, name in ((1, "apache-2.0", None), (2, "mit", "see-each-task")):
        new = task("topic", languages=("zh",), license=licence, backbone=bert, seed=seed)
        files = published(files, new)
        assert front_of(files).get("license_name") == name


def test_entries_of_lists_are_kept_one_by_one() -> None:
    files = published({}, task(languages=("en", "fr")))
    files = edited(files, r"^language:\n- en\n- fr$", "language:\n- fr\n- 'no'")
    files = edited(files, r"^- albert$", "- ours")
    front = front_of(published(files, task("topic", languages=("en", "zh"))))
    assert front["language"] == ["fr", "no", "zh"]
    assert "ours" in front["tags"]
    assert "albert" not in front["tags"]


def test_what_is_empty_here_removes_nothing() -> None:
    files = published({}, task())
    files = published(files, task(license=None, languages=(), seed=1))
    front = front_of(files)
    assert (front["license"], front["language"]) == ("apache-2.0", ["en"])


def test_the_licence_of_a_person_brings_no_name_of_ours() -> None:
    files = published({}, task(), task("topic", license="mit"))
    files = edited(files, r"^license: other$", "license: bsd-3-clause")
    front = front_of(published(files, task("third", license="gpl-3.0")))
    assert front["license"] == "bsd-3-clause"
    assert "license_name" not in front


def test_comments_and_order_of_a_card_of_ours_stay() -> None:
    files = published({}, task())
    text = text_of(files).replace(
        "---\nlibrary_name", "---\n# first\nextra: 'no' # why\nlibrary_name"
    )
    text = text.replace("license: apache-2.0\n", "license: apache-2.0\n# before the tags\n")
    after = text_of(published(with_card(files, text), task("topic", license="mit")))
    assert after.startswith("---\n# first\nextra: 'no' # why\nlibrary_name: adapterhub\n")
    assert "license: other\nlicense_name: see-each-task\n# before the tags\n" in after


def test_the_client_may_write_the_card_in_between(tmp_path: Path) -> None:
    files = by_the_client(published({}, task()), tmp_path, license="mit")
    files = published(files, task("topic", languages=("zh",)))
    front = front_of(files)
    assert (front["license"], front["language"]) == ("mit", ["en", "zh"])
    assert front_of(published(files, task(seed=1)))["license"] == "mit"


@pytest.mark.parametrize("key", ["license", "language", "base_model"])
@pytest.mark.parametrize("change", ["none", "changed", "removed"])
def test_a_card_of_an_earlier_version_counts_as_well(key: str, change: str) -> None:
    files = without_record(published({}, task()))
    if change == "changed":
        files = edited(files, rf"^{key}:.*\n(?:- .*\n)*", f"{key}: mine\n")
    elif change == "removed":
        files = edited(files, rf"^{key}:.*\n(?:- .*\n)*", "")
    other = {"languages": ("zh",), "license": "mit"}
    front = front_of(published(files, task("topic", **other)))
    expected: dict[str, Any] = {
        "none": {
            "license": "other",
            "language": ["en", "zh"],
            "base_model": ["albert/albert-base-v2"],
        }[key],
        "changed": {"license": "mine", "language": ["mine", "zh"], "base_model": "mine"}[key],
        "removed": None,
    }
    assert front.get(key) == expected[change]


def test_a_card_that_was_written_anew_is_that_of_a_person() -> None:
    files = with_card(published({}, task()), "---\nlicense: mit\n---\n# All new\n")
    front = front_of(published(files, task("topic")))
    assert (front["license"], front["library_name"]) == ("mit", "adapterhub")


@pytest.mark.parametrize("damage", ["{", "[]", '{"license": 3}', "null"])
def test_a_record_that_was_damaged_loses_nothing(damage: str) -> None:
    files = edited(published({}, task()), r'^\{"base_model".*$', damage)
    files = edited(files, r"^license: .*$", "license: mit")
    assert front_of(published(files, task("topic")))["license"] == "mit"


def test_text_of_head_files_is_not_in_the_record() -> None:
    evil = "--> <script>alert(1)</script>"
    text = text_of(published({}, task(license=evil)))
    assert "<script" not in text.split("\n---\n", 1)[1]
    assert text.count("adapterhub:front-matter") == 1


def metrics(value: float) -> tuple[Any, ...]:
    from adapterhub.specs import Metric

    return (Metric(name="accuracy", value=value, split="validation", rows=100),)


def without_record(files: dict[str, bytes]) -> dict[str, bytes]:
    """Returns the files as a version made them that wrote no record."""
    text, count = re.subn(
        r"\n<!-- adapterhub:front-matter .*?-->\n", "", text_of(files), flags=re.S
    )
    assert count <= 1
    return with_card(files, text)
