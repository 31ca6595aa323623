"""The card: what it says comes from the head files, and nothing in them breaks out of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from adapterhub.diagnostics import ConfusedPair, Diagnostics
from adapterhub.errors import MissingExtraError
from adapterhub.examples import Example, PredictedLabel
from adapterhub.publishing.card import write_card
from adapterhub.publishing.figures import draw
from adapterhub.publishing.files import extras_of
from adapterhub.publishing.layout import Present
from adapterhub.publishing.rendering import escape
from adapterhub.publishing.task_section import task_section
from adapterhub.remote.find import FoundTask
from adapterhub.specs import AdapterSpec, Calibration, EarlierTask, Metric
from tests.builders import abstention, backbone_spec
from tests.publishing.cards import (
    ALBERT,
    DIAGNOSTICS,
    METRICS,
    RECORD,
    card,
    files,
    full,
    merged_with,
)
from tests.publishing.tasks import REPO, to_publish

PNG = b"\x89PNG\r\n\x1a\n"


def test_commands_of_a_chinese_task_have_a_chinese_text() -> None:
    assert 'adapterhub score "这是一段文字。" --task' in card(full(languages=("zh", "zh-TW")))
    assert 'adapterhub score "This is a text." --task' in card(full(languages=("zh", "en")))


@pytest.mark.parametrize(
    ("depths", "epochs", "shared", "trained"),
    [
        ((0, 1), 1, "no layer is shared with other tasks.", " 1 epoch,"),
        ((4, 5), 2, "the layers below it run once for all tasks.", " 2 epochs,"),
    ],
)
def test_what_an_adapter_shares_follows_from_its_depth(
    depths: tuple[int, ...], epochs: int, shared: str, trained: str
) -> None:
    adapter = AdapterSpec(
        method="lora", depths=depths, sites=("query",), parameters=10, digest="ab" * 32
    )
    training = RECORD.model_copy(update={"epochs": epochs})
    spec = full().spec.model_copy(update={"adapter": adapter, "training": training})
    text = task_section(REPO, "spam", spec, ())
    assert f"starts at depth {depths[0]}; {shared}\n" in text
    assert trained in text


def test_the_front_matter_is_what_the_hub_reads() -> None:
    front = ModelCard(card(full())).data.to_dict()
    index = front.pop("model-index")
    assert front == {
        "library_name": "adapterhub",
        "base_model": ["albert/albert-base-v2"],
        "base_model_relation": "adapter",
        "pipeline_tag": "text-classification",
        "language": ["en", "pt"],
        "license": "apache-2.0",
        "datasets": ["acme/reviews"],
        "metrics": ["accuracy"],
        "tags": [
            "adapterhub",
            "albert",
            "base_model:adapter:albert/albert-base-v2",
            f"adapterhub-backbone:{'ab' * 8}",
        ],
    }
    assert index[0]["name"] == REPO
    assert index[0]["results"][0]["dataset"]["config"] == "spam"
    assert index[0]["results"][0]["dataset"]["type"] == "acme/reviews"
    assert index[0]["results"][0]["metrics"] == [
        {"type": "accuracy", "value": 0.9, "name": "Accuracy"}
    ]


def test_the_tags_name_the_families_of_the_tasks() -> None:
    bert = ALBERT.model_copy(
        update={"name": "google-bert/bert-base-uncased", "revision": "c" * 40, "family": "bert"}
    )
    first = files(full(backbone=bert))
    tags = ModelCard(first["README.md"].decode()).data.to_dict()["tags"]
    assert tags[:2] == ["adapterhub", "bert"]
    assert "albert" not in tags
    both = ModelCard(card(full("mood"), before=first)).data.to_dict()["tags"]
    assert {"albert", "bert"} <= set(both)


def test_the_body_says_what_a_reader_asks() -> None:
    text = card(full(diagnostics=DIAGNOSTICS))
    for part in (
        "Whether a review praises.",
        "| 1 | negative | 49 | 81.6% |\n| 2 | positive | 51 | 98.0% |",
        "--backbone albert/albert-base-v2@" + "b" * 40,
        f'hub = Hub.from_hub("{REPO}:spam")',
        'print(hub.score("This is a text.").to_columns())',
        "| Accuracy | 0.9000 | [acme/reviews](https://huggingface.co/datasets/acme/reviews) | "
        "validation | 100 |",
        "reads depth 6 of 12: 50 % of a forward pass",
        "![calibration](figures/spam-calibration.png)",
        "![confusion](figures/spam-confusion.png)",
        "Trained on 900 rows",
        "terms of the data: cc-by-4.0",
        "Most frequent errors in 100 validation rows: negative predicted as positive (9), ",
        "Probabilities are calibrated with temperature 1.5.",
    ):
        assert part in text
    assert "More Information Needed" not in text


def test_how_to_use_it_is_python() -> None:
    for task in (full(), full("pairs", fields=("text", "text_pair"))):
        code = re.findall(r"```python\n(.*?)```", card(task), re.DOTALL)
        assert len(code) == 1
        compile(code[0], "card", "exec")


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression", "tagging"])
def test_a_bare_head_has_a_card_without_holes(kind: Any) -> None:
    text = card(to_publish("bare", kind, languages=(), license=None))
    assert "## bare" in text
    for hole in ("None", "nan", " ()", "More Information", "![", "### Evaluation", "### Training"):
        assert hole not in text, hole


@pytest.mark.slow
def test_pictures_are_png_and_the_same_every_time() -> None:
    task = full(diagnostics=DIAGNOSTICS)
    made = files(task)
    names = [path for path in made if path.startswith("figures/")]
    assert names == ["figures/spam-calibration.png", "figures/spam-confusion.png"]
    again = files(task)
    for name in names:
        assert made[name].startswith(PNG)
        assert made[name] == again[name]


def test_labels_without_letters_in_the_font_are_numbered(recwarn: pytest.WarningsRecorder) -> None:
    made = files(full(labels=("好评", "$差评$"), diagnostics=DIAGNOSTICS))
    assert "figures/spam-confusion.png" in made
    assert "| 1 | 好评 |" in made["README.md"].decode()
    assert "| 2 | \\$差评\\$ |" in made["README.md"].decode()
    assert [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)] == []


def test_many_labels_have_their_worst_pairs() -> None:
    labels = tuple(f"intent_{number}" for number in range(60))
    worst = Diagnostics(
        split="validation", rows=500, confused=(ConfusedPair(true=1, given=2, rows=8),)
    )
    text = card(full(labels=labels, diagnostics=worst, calibration=Calibration()))
    assert "intent\\_1 predicted as intent\\_2 (8)" in text
    assert "![" not in text


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"adapterhub\[publish\]"):
        draw(full(diagnostics=DIAGNOSTICS).spec)
    assert extras_of([to_publish("bare")]) == {"bare": {}}


EVIL = {
    "script": "<script>alert(1)</script>",
    "comment": "--> <!-- /adapterhub:top --> <!--",
    "image": "![x](https://evil.example/x.png)",
    "link": "[x](javascript:alert(1))",
    "table": "a | b | c",
    "fence": "```\n# heading\n```",
    "lines": "a\n\n## heading\n- item\r\n---\n",
    "entity": "&lt;b&gt; &amp;#124;",
    "direction": "a\u202eb\u2028c\x00d",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EVIL)
def test_nothing_breaks_out_of_the_card(name: str) -> None:
    evil = EVIL[name]
    examples = (Example(inputs=("x",), labels=(PredictedLabel(label="y", score=0.5),)),)
    calm = card(full(description="x", labels=("x", "y"), license="x", examples=examples))
    shown = PredictedLabel(label=evil, score=0.5)
    data = {"dataset": evil, "dataset_license": evil}
    earlier = EarlierTask(task=evil, adapter="cd" * 32, **data)
    changes = {
        "description": evil,
        "labels": (evil, "y"),
        "license": evil,
        "training": RECORD.model_copy(update={**data, "continued_from": earlier}),
        "metrics": (*METRICS, Metric(name=evil, value=0.1, split=evil, rows=1)),
        "diagnostics": DIAGNOSTICS,
        "examples": (Example(inputs=(evil,), labels=(shown,)),),
        "backbone": ALBERT.model_copy(update={"name": evil, "revision": evil}),
    }
    text = card(full(**changes))
    body = text.split("\n---\n", 1)[1]
    assert yaml.safe_load(text.split("---\n")[1])["license"] == evil
    assert "<script" not in body
    assert "](https://evil" not in body.replace("\\](", "")
    assert "](javascript" not in body.replace("\\](", "")
    assert not re.search("[\x00\u202e\u2028]", body)
    marks = re.compile(r"^<!-- .* -->$|^#+ .*$|^```.*$", re.MULTILINE)
    assert marks.findall(body) == marks.findall(calm.split("\n---\n", 1)[1])
    rows = [line for line in body.splitlines() if line.startswith("|")]
    assert {len(row.split("|")) for row in rows} == {4, 6, 7, 9}


def test_a_name_of_a_backbone_stays_in_its_string() -> None:
    evil = backbone_spec(name='x")\nimport os\n```\n<b>')
    code = re.findall(r"```python\n(.*?)```", card(full(backbone=evil, depths=(4,))), re.DOTALL)
    assert 'backbone="./x-import-os-b"' in code[0]


def test_plain_text_is_left_alone() -> None:
    assert escape("Über 5 % der Texte, z. B. 天气 - so what?") == (
        "Über 5 % der Texte, z. B. 天气 - so what?"
    )
    assert escape("a_b*c") == r"a\_b\*c"


def test_what_people_wrote_stays() -> None:
    first = files(full())
    text = first["README.md"].decode()
    text = text.replace("library_name:", "co2_eq_emissions: 3\nlibrary_name:")
    text = text.replace("# heads\n", "# Our heads\n\nWritten by hand.\n")
    text += "\n## Contact\n\nmail us\n"
    second = files(full("topic"), before={**first, "README.md": text.encode()})
    kept = second["README.md"].decode()
    for part in ("# Our heads\n\nWritten by hand.", "## Contact\n\nmail us", "co2_eq_emissions: 3"):
        assert part in kept
    assert kept.index("## spam") < kept.index("## topic") < kept.index("## Contact")
    third = files(full(description="Changed."), before=second)["README.md"].decode()
    assert third.count("## spam") == 1
    assert third.index("Changed.") < third.index("## topic")
    assert "Written by hand." in third
    (entry,) = yaml.safe_load(third.split("---\n")[1])["model-index"]
    assert [result["dataset"]["config"] for result in entry["results"]] == ["spam", "topic"]


def test_publishing_in_another_order_gives_the_same_front_matter() -> None:
    one = files(full("topic"), before=files(full()))
    other = files(full(), before=files(full("topic")))
    assert one["registry.yaml"] == other["registry.yaml"]
    fronts = [made["README.md"].split(b"\n---\n")[0] for made in (one, other)]
    assert fronts[0] == fronts[1]


def test_a_card_without_front_matter_keeps_its_body() -> None:
    merged = merged_with({}, full())
    before = b"# Title\r\n\r\nText.\r\n"
    there = Present(card=before)
    written = write_card(merged.content, [full()], repo=REPO, extras={}, there=there)
    made = written["README.md"].decode()
    assert made.startswith("---\r\nlibrary_name: adapterhub\r\n")
    assert "\r\nText.\r\n" in made


def test_licences_that_differ_are_named_by_task() -> None:
    front = ModelCard(card(full(), full("topic", license="mit"))).data.to_dict()
    assert (front["license"], front["license_name"]) == ("other", "see-each-task")


@pytest.mark.parametrize(
    "changes",
    [
        {"confusion": ((1, 2),)},
        {"confusion": ((40, 9), (1, 51))},
        {"confused": (ConfusedPair(true=0, given=1, rows=2),)},
        {"rows": 0},
    ],
    ids=["not square", "other count", "twice", "no rows"],
)
def test_diagnostics_that_contradict_themselves_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"confusion|rows"):
        Diagnostics.model_validate({**DIAGNOSTICS.model_dump(), **changes})


def test_diagnostics_are_about_the_labels_of_the_task() -> None:
    build: Callable[..., FoundTask] = full
    with pytest.raises(ValueError, match="diagnostics are about other labels"):
        build(labels=("a", "b", "c"), diagnostics=DIAGNOSTICS)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (
            {"dataset": "acme/names", "dataset_license": "CC0"},
            "The adapter was initialised from that of `names`, trained on acme/names (terms of the "
            "data: CC0).",
        ),
        ({}, "The adapter was initialised from that of `names`.\n"),
    ],
)
def test_a_card_names_the_task_whose_adapter_was_trained_on(
    known: dict[str, str], said: str
) -> None:
    earlier = EarlierTask(task="names", adapter="cd" * 32, **known)
    record = RECORD.model_copy(update={"continued_from": earlier})
    assert said in files(full(training=record))["README.md"].decode()
    assert "initialised" not in files(full())["README.md"].decode()


def test_a_licence_that_people_wrote_stays_where_no_task_states_one() -> None:
    first = files(full(license=None))
    text = first["README.md"].decode().replace("library_name:", "license: mit\nlibrary_name:")
    second = card(full("topic", license=None), before={**first, "README.md": text.encode()})
    assert ModelCard(second).data.to_dict()["license"] == "mit"


def test_a_licence_of_several_goes_with_them() -> None:
    both = files(full(), full("topic", license="mit"))
    front = ModelCard(card(full("topic"), before=both)).data.to_dict()
    assert front["license"] == "apache-2.0"
    assert "license_name" not in front


def test_the_card_says_of_which_rows_figures_are_and_what_these_had_done() -> None:
    test = Metric(name="accuracy", value=0.8, split="test", rows=50, used_for=())
    chosen = METRICS[0].model_copy(update={"used_for": ("selection", "calibration")})
    both = card(full(metrics=(test, chosen)))
    assert "| Accuracy | 0.8000 | [acme/reviews]" in both
    assert "Measured on 50 test rows that had no part in training, selection or calib" in both
    assert "Measured on 100 validation rows that also chose the head and set its calib" in both
    assert "The validation rows also chose the head" in both
    assert "| Accuracy 0.800 (test) |" in both
    assert ModelCard(both).data.to_dict()["model-index"][0]["results"][0]["dataset"]["split"] == (
        "test"
    )
    crossed = METRICS[0].model_copy(update={"split": "cross-validation"})
    old = card(full(metrics=(crossed,)))
    assert "Chosen by cross-validation from 120" in old
    assert "Measured on 100 cross-validation rows that also chose" in old
    unknown = card(full(metrics=METRICS[:1], training=None))
    assert "100 validation rows, not recorded whether they had a part in training" in unknown
    assert "also chose the head" not in unknown
    only = card(full(metrics=(test,)))
    assert "also chose the head" not in only


def test_a_card_says_when_a_task_does_not_answer() -> None:
    always = "Always predicts one of its labels"
    assert always in card(full())
    text = card(full(abstention=abstention(none_label="o_o|s", min_accuracy=0.9)))
    assert always not in text
    assert "Does not answer under a confidence of 0.7000, chosen for 0.9 right" in text
    assert r"of 20 rows out of scope \('o\_o&#124;s'\); AUROC 0.9000." in text
    assert "| 0.5000 | 75.0 % ± 2.0 | 85.0 % ± 3.0 | 50.0 % ± 10.0 |" in text
    assert always in card(full(abstention=abstention(0.0, table=())))


def test_risk_and_coverage_are_drawn() -> None:
    spec = full(abstention=abstention(none_label="oos")).spec
    (title,) = draw(spec)
    assert title == "abstention"
    assert draw(spec)[title].startswith(PNG)
    assert draw(full().spec) == {}
