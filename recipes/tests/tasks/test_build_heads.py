"""The recipes of shipped tasks: heads, adapters, and heads on the adapter of another task."""

from __future__ import annotations

import copy
import gzip
import json
import random
import re
import runpy
import sys
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

import recipes
from adapterhub.specs import TaskSpec
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import read_registry
from tests.training.rows import rating_rows, sentiment_rows, write_rows

pytest.importorskip("sklearn")

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "build_heads"
QUICK = {"learning_rates": [0.01], "weight_decays": [0.01], "hidden_widths": []}
TUNED = {"method": "lora", "from_depth": 2, "rank": 2, "sites": ["value", "query"], "epochs": 1}
RECIPES: dict[str, Any] = {
    "defaults": {"license": "apache-2.0", "poolings": ["mean"], "epochs": 2, **QUICK},
    "tasks": {
        "plain": {"data": "film"},
        "tuned": {"data": "film", "adapter": TUNED},
        "shared": {"data": "stars", "adapter_of": "tuned"},
    },
}

Build = Callable[..., str]


@pytest.fixture
def build(
    tiny_backbone_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Build:
    """Returns a function that runs the script on recipes and gives what it printed."""
    for name, rows in {"film": sentiment_rows, "stars": rating_rows}.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        write_rows(tmp_path / "data" / name / "train.jsonl.gz", rows(48, 0))
        write_rows(tmp_path / "data" / name / "validation.jsonl.gz", rows(24, 1))

    def run(recipes: dict[str, Any], *more: str, code: object = 0) -> str:
        (tmp_path / "recipes.yaml").write_text(yaml.safe_dump(recipes, sort_keys=False))
        given = [str(tmp_path / "data"), "--recipes", str(tmp_path / "recipes.yaml")]
        given += ["--registry", str(tmp_path / "registry.yaml"), "--device", "cpu"]
        given += ["--backbone", str(tiny_backbone_folder), "--cache-dir", str(tmp_path / "cache")]
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", [str(SCRIPT), *given, *more])
            patched.setattr(sys, "path", list(sys.path))
            with pytest.raises(SystemExit) as ended:
                runpy.run_path(str(SCRIPT), run_name="__main__")
        assert ended.value.code == code
        return capsys.readouterr().out

    return run


def spec_of(registry: Path, name: str) -> tuple[int, TaskSpec]:
    found = read_registry(registry).resolve(name)
    return found.version, read_head(found.path).spec


@pytest.mark.slow
def test_one_command_makes_heads_and_adapters_and_goes_on(build: Build, tmp_path: Path) -> None:
    registry = tmp_path / "registry.yaml"
    first = build(RECIPES, "--only", "plain,tuned")
    assert "made before" not in first
    assert spec_of(registry, "plain")[1].adapter is None
    adapter = spec_of(registry, "tuned")[1].adapter
    assert adapter is not None
    assert (adapter.method, adapter.depths, adapter.config["r"]) == ("lora", (2, 3), 2)
    assert set(adapter.sites) == {"query", "value"}

    second = build(RECIPES)
    assert [f"{name}: made before" in second for name in RECIPES["tasks"]] == [True, True, False]
    assert spec_of(registry, "shared")[1].adapter == adapter
    assert build(RECIPES).count("made before") == 3

    changed = copy.deepcopy(RECIPES)
    changed["tasks"]["tuned"]["adapter"]["from_depth"] = 3
    third = build(changed)
    # The head on the old adapter is made again too.
    assert [f"{name}: made before" in third for name in RECIPES["tasks"]] == [True, False, False]
    version, tuned = spec_of(registry, "tuned")
    assert version == 2
    assert tuned.adapter is not None
    assert tuned.adapter.depths == (3,)
    assert spec_of(registry, "shared")[1].adapter == tuned.adapter

    on = {"continue_from": "tuned", "epochs": 1}
    changed["tasks"]["on"] = {"data": "stars", "adapter": on}
    build(changed, "--only", "on")
    assert "on: made before" in build(changed, "--only", "on")
    record = spec_of(registry, "on")[1].training
    assert record is not None
    assert record.continued_from is not None
    assert record.continued_from.adapter == tuned.adapter.digest
    changed["tasks"]["tuned"]["adapter"]["from_depth"] = 2
    # What the adapter began with is not there any more.
    assert "on: made before" not in build(changed, "--only", "tuned,on")

    changed["tasks"]["tuned"] = {"data": "film"}
    build(changed, "--only", "tuned")
    assert spec_of(registry, "tuned")[1].adapter is None


def test_a_recipe_that_makes_no_sense_is_named(build: Build) -> None:
    wrong = copy.deepcopy(RECIPES)
    wrong["tasks"]["tuned"]["adapter"]["rank"] = 0
    message = (
        "The recipe of task 'tuned' cannot be used: Adapter option rank: Input should be greater "
        "than or equal to 1, found 0."
    )
    build(wrong, code=message)


def script_module(name: str) -> dict[str, Any]:
    return vars(import_module(f"recipes.tasks.{name}"))


def changed_rows(
    recipe: dict[str, Any], rows: dict[str, list[dict[str, Any]]], folder: Path
) -> list[dict[str, Any]]:
    """Returns the training rows of a recipe, which are its validation rows too."""
    module = script_module("task_rows")
    for name, own in rows.items():
        (folder / name).mkdir()
        for part in module["PARTS"]:
            write_rows(folder / name / f"{part}.jsonl.gz", own)
    target = module["rows_of"](recipe, folder, folder / "target", name="mine")
    found = [list(module["read_rows"](target / f"{part}.jsonl.gz")) for part in module["PARTS"]]
    assert found[0] == found[1]
    assert not recipe.keys() & {"data", "cut_from", "joined", "phrases"}
    return found[0]


def test_scores_that_were_cut_are_put_back_to_what_they_were_on_average(tmp_path: Path) -> None:
    def scored(*scores: float) -> list[dict[str, Any]]:
        return [{"text": "one", "text_pair": "two", "score": score} for score in scores]

    sets = {"whole": scored(0.0, 0.5, 1.25, 1.75, 2.0), "cut": scored(2.0, 1.0, 0.0, 1.0)}
    rows = changed_rows({"data": "cut", "cut_from": "whole"}, sets, tmp_path)
    assert rows == scored(2.0, 1.5, 0.25, 1.5)


@pytest.mark.parametrize(
    ("written", "joined"),
    [
        ("i did n't like it , and it 's long .", "i didn't like it, and it's long."),
        ("a `` good '' film ( mostly )", 'a "good" film (mostly)'),
        ("cheap\\/free -lrb- at last -rrb-", "cheap/free (at last)"),
    ],
)
def test_texts_whose_words_stand_apart_are_joined(
    written: str, joined: str, tmp_path: Path
) -> None:
    recipe = {"data": "one", "joined": True, "text": "text", "target": "label"}
    rows = changed_rows(recipe, {"one": [{"text": written, "label": "a"}]}, tmp_path)
    assert rows == [{"text": joined, "label": "a"}]
    assert recipe == {"text": "text", "target": "label"}


NOUNS = """
The       DET    4   det           B
very      ADV    3   advmod        I
old       ADJ    4   amod          I
man       NOUN   14  nsubj         I
of        ADP    6   case          O
Rome      PROPN  4   nmod          B
;         PUNCT  4   punct         O
my        PRON   9   nmod:poss     B
brother   NOUN   11  nmod:poss     I
's        PART   9   case          I
car       NOUN   4   appos         I
7         NUM    11  nummod        I
,         PUNCT  4   punct         O
saw       VERB   0   root          O
it        PRON   14  obj           B
"""

VERBS = """
Did       AUX    3   aux           B
you       PRON   3   nsubj         O
see       VERB   0   root          B
the       DET    6   det           O
broken    VERB   6   amod          O
glass     NOUN   3   obj           O
that      PRON   11  nsubj:pass    O
has       AUX    11  aux           B
never     ADV    11  advmod        I
been      AUX    11  aux:pass      I
cleaned   VERB   6   acl:relcl     I
up        ADP    11  compound:prt  I
and       CCONJ  16  cc            O
will      AUX    16  aux           B
be        AUX    16  cop           I
old       ADJ    11  conj          O
according VERB   18  case          O
me        PRON   16  obl           O
?         PUNCT  3   punct         O
"""


@pytest.mark.parametrize(("kind", "parsed"), [("noun", NOUNS), ("verb", VERBS)])
def test_phrases_are_drawn_from_trees(kind: str, parsed: str, tmp_path: Path) -> None:
    lines = [line.split() for line in parsed.strip().split("\n")]
    words, classes, heads, relations, expected = zip(*lines, strict=True)
    row = {"tokens": words, "upos": classes, "head": [*map(int, heads)], "deprel": relations}
    recipe = {"data": "one", "phrases": kind, "tokens": "tokens", "target": "phrases"}
    (changed,) = changed_rows(recipe, {"one": [row]}, tmp_path)
    assert [(word, tag[0]) for word, tag in zip(words, changed["phrases"], strict=True)] == [
        *zip(words, expected, strict=True)
    ]
    assert recipe == {"tokens": "tokens", "target": "phrases"}


GROUPS = [
    [["怎么学游泳", "如何学会游水", "游泳怎么学"], ["哪里可以游泳", "去什么地方游泳"]],
    [["一米多长", "一米有多长"], ["一米是几尺"]],
]


def test_questions_of_a_group_ask_the_same_and_those_of_others_do_not() -> None:
    module = script_module("questions")
    columns = ("one", "two", "label")
    rows = module["question_rows"](GROUPS, ("same", "different"), columns)
    assert rows == module["question_rows"](GROUPS, ("same", "different"), columns)
    group_of = {
        question: (number, place)
        for number, groups in enumerate(GROUPS)
        for place, group in enumerate(groups)
        for question in group
    }
    pairs = [(group_of[row["one"]], group_of[row["two"]], row["label"]) for row in rows]
    assert all((one == two) == (label == "same") for one, two, label in pairs)
    asked = [frozenset((row["one"], row["two"])) for row in rows if row["label"] == "same"]
    # Three in a circle, two, and two; one alone has no other.
    assert len(asked) == len(set(asked)) == 5
    near = [one for one, two, label in pairs if label == "different" and one[0] == two[0]]
    assert len(near) == 8


def test_questions_of_two_sets_that_differ_in_one_place_are_paired() -> None:
    module = script_module("questions")
    sets = [
        [["公鸡能活几年", "公鸡的寿命有多长？"], ["公鸡吃什么"]],
        [["乌龟的寿命有多长", "乌龟能活几年呢"], ["乌龟吃虫子吗"]],
        [["母鸡的寿命有多长"]],
    ]
    found = {frozenset(pair) for pair in module["twins"](sets, random.Random(0))}
    # 公鸡 and 母鸡 share a letter, so that they may be the same thing.
    one, other = "公鸡的寿命有多长？", "母鸡的寿命有多长"
    assert found
    assert all("乌龟的寿命有多长" in pair for pair in found)
    assert found <= {frozenset(("乌龟的寿命有多长", end)) for end in (one, other)}


def test_no_example_is_learned() -> None:
    """The demo would otherwise say what was learned by heart."""
    folder = Path(recipes.__file__).parent / "tasks" / "written"
    questions = folder / "questions/same-question-zh.json.gz"
    learned = {
        plain(question)
        for groups in json.loads(gzip.decompress(questions.read_bytes()))["sets"]
        for group in groups
        for question in group
    }
    packed = (folder / "sentences/entities-zh.json.gz").read_bytes()
    sentences = json.loads(gzip.decompress(packed))["sentences"]
    learned |= {plain(re.sub(r"\{\w+:?([^}]*)\}", r"\1", text)) for text in sentences}
    for name in ("en", "zh", "more"):
        for line in (SCRIPT.parent / f"examples/{name}.jsonl").read_text().splitlines():
            record = json.loads(line)
            texts = {plain(record[key]) for key in ("text", "text_pair") if key in record}
            assert learned.isdisjoint(texts)


def plain(text: str) -> str:
    return "".join(char for char in text if char.isalnum()).casefold()


def test_added_rows_are_learned_and_not_measured(tmp_path: Path) -> None:
    module = script_module("task_rows")
    rows = [{"text": "一", "text_pair": "二", "label": "same"}]
    (tmp_path / "one").mkdir()
    for part in module["PARTS"]:
        write_rows(tmp_path / "one" / f"{part}.jsonl.gz", rows)
    more = [{"text": "三", "text_pair": "四", "label": "different"}]
    target = module["rewrite"](tmp_path / "one", tmp_path / "target", [], more)
    train, validation = (
        list(module["read_rows"](target / f"{part}.jsonl.gz")) for part in module["PARTS"]
    )
    assert (train, validation) == (rows + more, rows)
    twice = module["rewrite"](tmp_path / "one", tmp_path / "twice", [], more, times=2)
    assert [*module["read_rows"](twice / "train.jsonl.gz")] == rows * 2 + more


def test_gaps_of_plain_sentences_are_filled_and_tagged(tmp_path: Path) -> None:
    tags = ["B-city", "I-city", "O", "B-city", "B-name", "I-name", "O"]
    row = {"words": [*"长春去吉李明。"], "mine": tags}
    plain = {
        "sentences": ["{name}爱{city}", "下雨了"],
        "mentions": {"name": ["王芳", "约翰·史密斯"]},
    }
    path = tmp_path / "plain.json"
    path.write_text(json.dumps(plain, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "one").mkdir()
    module = script_module("task_rows")
    for part in module["PARTS"]:
        write_rows(tmp_path / "one" / f"{part}.jsonl.gz", [row])
    recipe = {"data": "one", "sentences": str(path), "tokens": "words", "target": "mine"}
    target = module["rows_of"](recipe, tmp_path, tmp_path / "target", name="mine")
    assert recipe == {"tokens": "words", "target": "mine"}
    first, *added, last = module["read_rows"](target / "train.jsonl.gz")
    assert (first, last) == (row, {"words": [*"下雨了"], "mine": ["O"] * 3})
    said = Counter("".join(one["words"]) for one in added)
    # 吉 is too short to be sure of.
    assert said.keys() == {"李明爱长春", "王芳爱长春", "约翰·史密斯爱长春"}
    assert said.total() == 6
    long = next(one["mine"] for one in added if len(one["words"]) == 9)
    assert long == ["B-name", *["I-name"] * 5, "O", "B-city", "I-city"]


def test_a_sentence_with_texts_in_its_gaps_stands_as_it_is_too() -> None:
    module = script_module("sentences")
    columns = ("words", "mine")
    sentences = ["{name:王芳}去{city:吉林}了", "{name}来"]
    added = module["sentence_rows"](sentences, {"name": ["李明"]}, [], columns)
    first, *others = ({"text": "".join(row["words"]), "tags": row["mine"]} for row in added)
    tags = ["B-name", "I-name", "O", "B-city", "I-city", "O"]
    assert first == {"text": "王芳去吉林了", "tags": tags}
    # Its texts are in the list: of names beside that given, of cities they are all.
    assert {row["text"] for row in others} == {"王芳去吉林了", "李明去吉林了", "王芳来", "李明来"}
    assert len(others) == 12
