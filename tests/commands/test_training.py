"""`train` and `eval`: a task out of a file, and its figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapterhub.store.registry import read_registry
from tests.commands.conftest import Run
from tests.training.rows import doubtful_rows, outside_rows, write_rows

pytest.importorskip("sklearn")
pytest.importorskip("seqeval")

QUICK = ("--epochs", "3", "--depths", "1,2", "--poolings", "mean", "--hidden-widths", "")
QUICK = (*QUICK, "--learning-rates", "0.01", "--weight-decays", "0.01", "--no-mixes")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))


def rows_file(path: Path, rows: int = 40, *, first: int = 0) -> Path:
    good, bad = "the film was very good", "the food was not good , bad"
    lines = [
        {"text": f"{good if i % 2 else bad} {first + i % 7}", "label": "yes" if i % 2 else "no"}
        for i in range(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_train_score_and_eval(run: Run, tiny_backbone_folder: Path) -> None:
    data = rows_file(Path("rows.jsonl"))
    words = ("train", data, "-t", "liked", "--backbone", tiny_backbone_folder, *QUICK)
    ran = run(*words, "--alias", "prod", "-l", "en,zh", "--seed", "3")
    assert ran.code == 0, ran.err
    assert "chosen" in ran.out
    assert "accuracy" in ran.out
    assert "liked:1" in ran.err
    first, *said = ran.err.splitlines()
    assert first == "adapterhub: Read as single_label: columns text, label."
    assert said[0] == "adapterhub: 40 rows, for training and cross-validation."
    assert said[1] == "adapterhub: 2 labels (rows): no (20), yes (20)."
    registry = read_registry(Path("registry.yaml"))
    assert registry.resolve("liked@prod").version == 1
    spec = run("show", "liked", "--json").value["spec"]
    assert spec["languages"] == ["en", "zh"]
    assert spec["labels"] == ["no", "yes"]
    assert spec["training"]["seed"] == 3
    assert run("score", "the film was good", "-t", "liked").rows[0]["liked.label"] in ("no", "yes")
    assert run("doctor").code == 0
    value = run("eval", "liked", data, "--json").value
    assert (value["task"], value["version"], value["rows"]) == ("liked", 1, 40)
    assert 0 <= value["metrics"]["accuracy"] <= 1
    table = run("eval", "liked", data)
    assert "liked:1 on 40 rows" in table.err
    assert f"{value['metrics']['accuracy']:.4f}" in table.out


@pytest.mark.slow
def test_recipes_of_tuning_say_what_they_cost(run: Run, tiny_backbone_folder: Path) -> None:
    data, few = rows_file(Path("rows.jsonl")), ("--poolings", "mean", "--hidden-widths", "")
    words = ("train", data, *few, "--backbone", tiny_backbone_folder, "--epochs", "1", "--json")
    head = run(*words, "-t", "liked", "--tune", "head").value["tuning"]
    assert (head["recipe"], head["own_passes"], head["shares_trunk"]) == ("head", 0, True)
    top = run(*words, "-t", "top", "--tune", "top:1").value
    assert (top["tuning"]["recipe"], top["tuning"]["own_passes"]) == ("top:1", 1)
    assert (top["tuning"]["shares_trunk"], top["adapter"]["depths"]) == (True, [3])
    single = run(*words, "-t", "single", "--at-depths", "0,3", "--rank", "2").value
    assert (single["adapter"]["method"], single["adapter"]["depths"]) == ("lora", [0, 3])
    whole = run(*words, "-t", "own", "--tune", "all").value
    assert (whole["adapter"], whole["backbone"]) == (None, "own-1")
    assert Path(whole["tuning"]["backbone"], "config.json").is_file()
    assert not whole["tuning"]["shares_trunk"]
    assert whole["tuning"]["trained"] > top["tuning"]["trained"] > head["trained"]
    assert min(one["tuning"]["memory_bytes"] for one in (whole, top)) > head["memory_bytes"] > 0
    assert any("shares no trunk" in note for note in whole["notes"])
    for task in ("own", "top"):
        assert run("score", "the film was good", "-t", task).rows[0][f"{task}.label"]
    again = run(*words, "-t", "own", "--tune", "embeddings")
    assert (again.code, "another name" in again.err) == (5, True)


def test_figures_say_of_which_rows_they_are(run: Run, tiny_backbone_folder: Path) -> None:
    data, words = rows_file(Path("rows.jsonl"), 120), ("-t", "liked", *QUICK)
    held_out = rows_file(Path("held-out.jsonl"), 60, first=7)
    words = (*words, "--backbone", tiny_backbone_folder, "--validation", held_out)
    ran = run("train", data, *words, "--test-fraction", "0.5")
    assert ran.code == 0, ran.err
    none, both = "no part in training, selection or calibration: accuracy", "chose the head and set"
    assert f"rows that had {none}" in ran.out
    assert both in ran.out
    assert ran.out.index(none) < ran.out.index(both)
    assert ran.err.rstrip().endswith("--task liked")  # a command to copy, and nothing behind it
    shown = run("show", "liked").out
    assert shown.index("test rows that had no part") < shown.index("validation rows that also")
    first, second = run("show", "liked", "--json").value["measured"]
    assert (first["split"], first["used_for"]) == ("test", [])
    assert (second["split"], second["used_for"]) == ("validation", ["selection", "calibration"])
    (listed,) = run("list", "--json").value["tasks"]
    assert (listed["measured_on"], listed["metrics"]) == ("test", first["metrics"])
    assert "(test)" in run("list").out
    value = run("train", data, *words, "--json").value
    assert (value["measured_on"], value["validation_rows"]) == ("validation", 60)
    assert [one["split"] for one in value["measured"]] == ["validation"]


def test_rows_that_were_trained_on_are_counted_beside_the_figures(
    run: Run, tiny_backbone_folder: Path
) -> None:
    data, seen = rows_file(Path("rows.jsonl"), 120), rows_file(Path("seen.jsonl"), 30)
    held_out = rows_file(Path("held-out.jsonl"), 60, first=7)
    both = Path("both.jsonl")
    both.write_text(held_out.read_text() + seen.read_text().upper().replace("TEXT", "text"))
    both.write_text(both.read_text().replace("LABEL", "label").replace('"YES"', '"yes"'))
    both.write_text(both.read_text().replace('"NO"', '"no"'))
    words = ("-t", "liked", *QUICK, "--backbone", tiny_backbone_folder)
    ran = run("train", data, *words, "--validation", held_out, "--test", both)
    assert ran.code == 0, ran.err
    # All rows of the test set occur before: in the validation set, or in other case in training.
    assert "90 test rows, of which 90 are also training or validation rows: accuracy" in ran.out
    test, validation = run("show", "liked", "--json").value["measured"]
    assert (test["seen"], validation["seen"]) == (90, 0)
    assert run("train", data, *words, "--validation", both).code == 0
    assert "calibration, 30 of them training rows too" in run("show", "liked").out
    (validation,) = run("show", "liked", "--json").value["measured"]
    assert (validation["split"], validation["seen"]) == ("validation", 30)


@pytest.mark.parametrize(
    ("options", "rows", "use"),
    [
        ((), "rows.jsonl", "all 120 rows are those that the task was trained on"),
        (("--folds", "0"), "rows.jsonl", "of 120 rows are those that the task was trained on"),
        (("--validation", "held-out.jsonl"), "rows.jsonl", "all 120 rows are those that"),
        (("--validation", "held-out.jsonl"), "held-out.jsonl", "all 60 rows chose the head"),
        (("--validation", "held-out.jsonl"), "new.jsonl", None),
        (("--validation-fraction", "0.1"), "rows.jsonl", "of 120 rows are those that"),
    ],
)
@pytest.mark.slow
def test_eval_tells_of_rows_that_had_a_part_in_training(
    run: Run, tiny_backbone_folder: Path, options: tuple[str, ...], rows: str, use: str | None
) -> None:
    for name, count in (("rows", 120), ("held-out", 60), ("new", 44)):
        rows_file(Path(f"{name}.jsonl"), count)
    words = ("train", "rows.jsonl", "-t", "liked", *QUICK, "--backbone", tiny_backbone_folder)
    assert run(*words, *options).code == 0
    value = run("eval", "liked", rows, "--json").value["earlier_use"]
    assert (value is None) == (use is None)
    assert use is None or use in value


def test_train_as_json_prints_one_object(run: Run, tiny_backbone_folder: Path) -> None:
    Path("rows.csv").write_text(
        "review,stars\n"
        + "".join(f"{'good' if i % 2 else 'bad'} film {i},{i % 2}.5\n" for i in range(40))
    )
    words = ("train", "rows.csv", "-t", "stars", "--backbone", tiny_backbone_folder, *QUICK)
    words = (*words, "--text-column", "review", "--target-column", "stars", "--kind", "regression")
    ran = run(*words, "--value-range", "0,5", "--json")
    assert ran.code == 0, ran.err
    value = ran.value
    assert (value["task"], value["version"], value["kind"]) == ("stars", 1, "regression")
    assert value["metric"] == "spearman"
    assert sum(row["chosen"] for row in value["tried"]) == 1
    assert len(ran.out.splitlines()) == 1
    assert value["data"]["values"] == [0.5, 1.0, 1.5]
    assert value["data"]["columns"] == ["review", "stars"]


def test_what_is_read_is_said_before_training(run: Run, tiny_backbone_folder: Path) -> None:
    lines = [
        {"text": f"t {i}", "label": ["DOG", "dog"][i % 2], "text2": f"u {i}"} for i in range(40)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    # The place of the task is looked at behind the rows, and training is never begun.
    ran = run("train", "rows.jsonl", "-t", "x", "--backbone", "nowhere")
    assert ran.code != 0
    assert "columns text, label; not read: text2." in ran.err
    assert "2 labels (rows): DOG (20), dog (20)." in ran.err
    assert "'DOG' (20) and 'dog' (20) are different labels" in ran.err
    assert "--pair text2" in ran.err
    choice = [{**line, "choices": [f"{i}", "b"], "label": i % 2} for i, line in enumerate(lines)]
    Path("rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in choice))
    ran = run("train", "rows.jsonl", "-t", "x", "--backbone", tiny_backbone_folder)
    assert ran.code == 2
    assert "multiple choice" in ran.err


@pytest.mark.slow
def test_eval_measures_several_tasks_and_draws_them(run: Run, tiny_registry: Path) -> None:
    rows = [{"text": f"a day {n}", "label": "positive", "labels": ["sport"]} for n in range(9)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("eval", "sentiment,topics", "rows.jsonl", "-r", tiny_registry)
    first, second = run(*words, "--json").value["tasks"]
    assert (first["task"], second["task"]) == ("sentiment", "topics")
    assert first["columns"]["target"] == "label"
    assert sum(map(sum, first["confusion"])) == 9
    assert [one["count"] for one in second["labels"]] == [0, 0, 9]
    ran = run(*words, "--plot", "both.svg")
    assert "sentiment:1   accuracy" in ran.out
    assert "topics:1 on 9 rows of rows.jsonl" in ran.err
    assert Path("both.svg").read_text().startswith("<?xml")


def test_eval_refuses_other_labels(run: Run, tiny_registry: Path) -> None:
    data = rows_file(Path("rows.jsonl"))
    ran = run("eval", "sentiment", data, "-r", tiny_registry)
    assert ran.code == 3
    assert "negative, positive" in ran.err


@pytest.mark.slow
def test_an_adapter_is_trained_and_scored(run: Run, tiny_backbone_folder: Path) -> None:
    data = rows_file(Path("rows.jsonl"))
    words = ("train", data, "-t", "liked", "--backbone", tiny_backbone_folder, "--epochs", "1")
    words = (*words, "--adapter", "lora", "--sites", "query,value", "--learning-rate", "0.01")
    ran = run(*words, "--from-depth", "2,3", "--rank", "2", "--json", "--plot", "plot.png")
    assert ran.code == 0, ran.err
    assert ran.err.endswith("adapterhub: the plot is in plot.png\n")
    assert Path("plot.png").stat().st_size > 20_000
    value = ran.value
    assert value["adapter"]["method"] == "lora"
    assert value["adapter"]["sites"] == ["query", "value"]
    assert [row["from_depth"] for row in value["tried"]] == [None, 3, 2]
    assert [row["rank"] for row in value["tried"]] == [None, 2, 2]
    assert run("score", "the film was good", "-t", "liked").rows[0]["liked.label"] in ("no", "yes")
    assert run("doctor").code == 0
    table = run(*words, "--from-depth", "3", "--tie-depths", "--alpha", "4")
    assert table.code == 0, table.err
    assert "The adapter scores" in table.out
    assert "liked:2" in table.err
    shown = run("show", "liked:2").out
    assert "lora of rank 8, in the passes from depth 3, one for all of them, on query, " in shown
    assert "reads depth 4 of 4: 1.00 of a separate model's passes, 1 of them from its fork" in shown
    again = run(*words, "--continue-from", "liked", "--tie-depths", "--from-depth", "3")
    assert again.code == 0, again.err
    assert ", begun with that of liked" in run("show", "liked:3").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rank", "4"), "--rank is for adapters; name a method"),
        (("--adapter", "lora", "--rank", "four"), "--rank is 'four'; expected whole numbers"),
        (("--adapter", "lora", "--sites", "quary"), "quary"),
        (("--adapter", "laura"), "PEFT has no method 'laura'"),
        (("--adapter", "lora", "--from-depth", "4"), "has depths 0 to 3"),
    ],
)
def test_adapter_options_that_make_no_sense(
    run: Run, tiny_backbone_folder: Path, words: tuple[str, ...], message: str
) -> None:
    data = rows_file(Path("rows.jsonl"))
    ran = run("train", data, "-t", "liked", "--backbone", tiny_backbone_folder, *QUICK, *words)
    assert ran.code == 2
    assert message in ran.err


@pytest.mark.slow
def test_pairs_are_read_as_asked(run: Run, tiny_backbone_folder: Path) -> None:
    data = Path("pairs.jsonl")
    words = ("film", "food", "city", "day")
    rows = [
        {"text": one, "text_pair": two, "label": "same" if one == two else "other"}
        for one in words
        for two in (*words, one, one)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows * 2))
    asked = ("train", data, "-t", "same", "--backbone", tiny_backbone_folder, *QUICK)
    ran = run(*asked, "--pairs", "apart")
    assert ran.code == 0, ran.err
    assert "apart" in ran.out
    assert "text | text_pair, each alone, windows of" in run("show", "same").out
    assert "text | text_pair, each alone" in run("explain", "same").out
    (trunk,) = run("explain", "same", "--json").value["trunks"]
    assert trunk["apart"] is True
    assert run("doctor").code == 0
    assert run("eval", "same", data, "--json").value["rows"] == len(rows) * 2
    value = run(*asked, "--json").value
    assert {tried["apart"] for tried in value["tried"]} == {False, True}
    assert value["apart"] is next(tried["apart"] for tried in value["tried"] if tried["chosen"])
    wrong = run(*asked, "--pairs", "alone")
    assert wrong.code == 2
    assert "--pairs" in wrong.err
    single = run("train", rows_file(Path("one.jsonl")), "-t", "one", "--pairs", "apart", *QUICK)
    assert single.code != 0
    assert "the rows have one text" in single.err


def _renamed(path: Path, names: dict[str, str], extra: dict[str, str] | None = None) -> Path:
    rows = [json.loads(line) for line in rows_file(Path("usual.jsonl")).read_text().splitlines()]
    renamed = [{names.get(key, key): row[key] for key in row} | (extra or {}) for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in renamed))
    return path


@pytest.mark.slow
def test_columns_named_in_training_need_no_name_in_score_and_eval(
    run: Run, tiny_backbone_folder: Path
) -> None:
    own = _renamed(Path("own.jsonl"), {"text": "review", "label": "verdict"})
    words = ("-t", "liked", "--backbone", tiny_backbone_folder, *QUICK)
    words = (*words, "--text-column", "review", "--target-column", "verdict")
    ran = run("train", own, *words, "--folds", "0")
    assert ran.code == 0, ran.err
    assert run("show", "liked", "--json").value["spec"]["training"]["columns"] == {
        "text": "review",
        "target": "verdict",
    }
    value = run("eval", "liked", own, "--json").value
    assert value["columns"] == {"text": "review", "target": "verdict"}
    assert "of 40 rows are those that the task was trained on" in value["earlier_use"]
    told = run("eval", "liked", own)
    assert "read text from 'review', target from 'verdict'" in told.err
    # Columns of the usual names beside them were something else in the training data.
    both = _renamed(
        Path("both.jsonl"), {"text": "review", "label": "verdict"}, {"text": "x", "label": "no"}
    )
    assert run("eval", "liked", both, "--json").value["metrics"] == value["metrics"]
    usual = run("eval", "liked", "usual.jsonl", "--json").value
    assert usual["columns"] == {"text": "text", "target": "label"}
    assert usual["metrics"] == value["metrics"]
    named = ("--text-column", "text", "--target-column", "label")
    other = run("eval", "liked", both, *named, "--json").value
    assert other["columns"] == usual["columns"]
    assert other["metrics"] != value["metrics"]
    scored = run("score", "-f", own, "-t", "liked").rows
    assert scored[0]["liked.label"] in ("no", "yes")


@pytest.mark.slow
def test_words_and_how_they_are_joined_are_found_again(
    run: Run, tiny_backbone_folder: Path
) -> None:
    rows = [
        {"words": ["she", "was", "city", "day"], "marks": ["O", "O", "B-place", "I-place"]},
        {"words": ["city", "film", "was", "early"], "marks": ["B-place", "I-place", "O", "O"]},
    ]
    data = Path("tagged.jsonl")
    numbered = [
        {"words": [*row["words"], str(i)], "marks": [*row["marks"], "O"]}
        for i in range(20)
        for row in rows
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in numbered))
    words = ("--tokens-column", "words", "--target-column", "marks", "--kind", "tagging")
    words = (*words, "--join-tokens", "none", "--backbone", tiny_backbone_folder, *QUICK)
    ran = run("train", data, "-t", "places", *words)
    assert ran.code == 0, ran.err
    record = run("show", "places", "--json").value["spec"]["training"]
    assert record["columns"] == {"tokens": "words", "target": "marks"}
    assert record["join_tokens"] == "none"
    value = run("eval", "places", data, "--json").value
    assert value["columns"] == record["columns"]
    # Joined in the same way: otherwise these would not be the rows of the training.
    assert "all 40 rows" in value["earlier_use"]


def test_usual_names_are_not_recorded(run: Run, tiny_backbone_folder: Path) -> None:
    words = ("-t", "liked", "--backbone", tiny_backbone_folder, *QUICK)
    assert run("train", rows_file(Path("rows.jsonl")), *words).code == 0
    training = run("show", "liked", "--json").value["spec"]["training"]
    assert not training.keys() & {"columns", "join_tokens", "validation_digest"}


@pytest.mark.slow
def test_a_task_that_does_not_answer_from_the_command_line(
    run: Run, tiny_backbone_folder: Path
) -> None:
    rows = write_rows(Path("rows.jsonl"), [*doubtful_rows(160, 0), *outside_rows(40, 1)])
    place = ("--registry", "mine/registry.yaml")
    quick = ("--depths", 0, "--poolings", "mean", "--epochs", 6, "--validation-fraction", 0.5)
    trained = run(
        *("train", rows, "--task", "mood", *place, "--backbone", tiny_backbone_folder, *quick),
        *("--none-label", "oos", "--min-accuracy", 0.85),
    )
    assert trained.code == 0, trained.err
    assert "40 rows out of scope: 40 to choose when the task does not answer" in trained.err
    assert "Does not answer under a confidence of" in trained.out
    assert "min_confidence   coverage" in trained.out
    shown = run("show", "mood", *place)
    assert "abstains" in shown.out
    assert "accuracy_given" in shown.out
    drawn = run("show", "mood", *place, "--plot", "risk.svg")
    assert (drawn.code, Path("risk.svg").is_file()) == (0, True)
    text = ("score", "the day is good 5", "--task", "mood", *place)
    assert run(*text, "--min-confidence", 1).rows[0]["mood.label"] is None
    assert run(*text, "--min-confidence", 0).rows[0]["mood.label"] is not None
    wrong = run(*text, "--min-confidence", 1.5)
    assert (wrong.code, "--min-confidence" in wrong.err) == (2, True)
    measured = run("eval", "mood", rows, *place)
    assert "rejected" in measured.out
    assert "rejected, of 40 rows out of scope" in measured.err
    value = run("eval", "mood", rows, *place, "--min-confidence", 0, "--json").value
    assert (value["abstention"]["coverage"], value["outside"]) == (1.0, 40)
