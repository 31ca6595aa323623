"""What a task may say about itself: every rule of the specs, one refusal each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapterhub.shapes import tensor_shapes
from adapterhub.specs import (
    KINDS,
    POOLINGS,
    Abstention,
    AdapterSpec,
    BackboneSpec,
    Calibration,
    HeadSpec,
    Kind,
    KnownAnswer,
    Metric,
    TaskSpec,
    TrainingRecord,
)
from tests.builders import LABELS, abstention, backbone_spec, task_spec


def known(inputs: tuple[str, ...], rows: int, width: int, *answers: str) -> KnownAnswer:
    return KnownAnswer(inputs=inputs, logits=((0.5,) * width,) * rows, answers=answers)


FULL: dict[str, Any] = {
    "description": "Tells 'good' from bad.\nNo more.",
    "languages": ("en", "zh-Hans", "yue"),
    "license": "apache-2.0",
    "overlap": 8,
    "calibration": Calibration(temperature=1.5),
    "metrics": (Metric(name="macro_f1", value=0.91, split="validation", rows=500),),
    "training": TrainingRecord(
        dataset="reviews",
        data_digest="0" * 64,
        rows=900,
        seed=0,
        candidates=12,
        epochs=0,
        learning_rate=0.01,
        weight_decay=0,
    ),
    "known_answers": (known(("good",), 1, 2, "positive"),),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_json(kind: Kind) -> None:
    spec = task_spec(kind)
    assert TaskSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_full_spec_survives_json_with_equal_bytes() -> None:
    spec = task_spec(**FULL)
    text = spec.model_dump_json()
    again = TaskSpec.model_validate_json(text)
    assert again == spec
    assert again.model_dump_json() == text


LABEL_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(deadline=None)
@given(
    labels=st.lists(LABEL_TEXT, min_size=2, max_size=6, unique=True),
    depths=st.sets(st.integers(0, 4), min_size=1),
    temperature=st.floats(1e-3, 1e3),
)
@pytest.mark.slow
def test_any_valid_spec_survives_json(
    labels: list[str], depths: set[int], temperature: float
) -> None:
    spec = task_spec(
        labels=tuple(labels),
        depths=tuple(sorted(depths)),
        calibration=Calibration(temperature=temperature),
    )
    assert TaskSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("kind", "changes", "problem"),
    [
        ("single_label", {"labels": ("yes", "no", "yes")}, "label 'yes' occurs twice"),
        ("single_label", {"labels": ("yes",)}, "two labels or more, found 1"),
        ("single_label", {"labels": ()}, "two labels or more, found 0"),
        ("multi_label", {"labels": ()}, "needs labels"),
        ("regression", {"labels": ("low", "high")}, "has no labels"),
        ("tagging", {"labels": ()}, "needs the tag 'O'"),
        ("tagging", {"labels": ("B-PER", "I-PER")}, "needs the tag 'O'"),
        ("tagging", {"labels": ("O", "PER")}, "tag 'PER' is neither"),
        ("tagging", {"labels": ("O", "B-")}, "tag 'B-' is neither"),
        ("tagging", {"labels": ("O", "L-PER")}, "tag 'L-PER' is neither"),
        ("tagging", {"labels": ("O", "S-PER")}, "has no 'B-PER' beside it"),
        ("tagging", {"labels": ("O", "b-PER")}, "tag 'b-PER' is neither"),
        ("tagging", {"labels": ("O", "I-PER")}, "has no 'B-PER' beside it"),
        ("tagging", {"labels": ("O", "B-ORG", "I-PER")}, "has no 'B-PER' beside it"),
        ("tagging", {"pooling": "mean"}, "cannot read with pooling 'mean'"),
        ("single_label", {"pooling": "tokens"}, "cannot read with pooling 'tokens'"),
        ("tagging", {"fields": ("text", "other")}, "reads one field"),
        ("parsing", {"labels": ()}, "needs a relation other than '_'"),
        ("parsing", {"labels": ("_",)}, "needs a relation other than '_'"),
        ("parsing", {"fields": ("text", "other")}, "reads one field"),
        ("parsing", {"pooling": "mean"}, "reads tokens"),
        ("parsing", {"arc_width": None}, "arc_width belongs to parsing"),
        ("tagging", {"arc_width": 2, "hidden_width": 8}, "arc_width belongs to parsing"),
        ("parsing", {"hidden_width": None}, "hidden_width is None"),
        ("parsing", {"hidden_width": 13}, "hidden_width is 13"),
        ("parsing", {"hidden_width": 8}, "twice their sum, hidden_width is 8"),
        ("parsing", {"calibration": Calibration(temperature=2.0)}, "has no temperature"),
        ("single_label", {"fields": ("text", "text")}, "name one field twice"),
        ("single_label", {"depths": (5,)}, "depth 5 of a backbone with 4"),
        ("single_label", {"overlap": 33}, "overlap 33 is over half of max_length 64"),
        (
            "single_label",
            {"calibration": Calibration(thresholds=(0.5, 0.5))},
            "thresholds are for multi_label",
        ),
        (
            "multi_label",
            {"calibration": Calibration(thresholds=(0.5,))},
            "1 thresholds for 3 labels",
        ),
        ("single_label", {"value_range": (0.0, 1.0)}, "value_range is for regression"),
        ("regression", {"value_range": (1.0, 1.0)}, "is empty"),
        ("regression", {"value_range": (2.0, 1.0)}, "is empty"),
    ],
)
def test_what_contradicts_itself_is_refused(
    kind: Kind, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        task_spec(kind, **changes)


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        (("text",), {"ngrams": 8, "pieces": 20}),
        (("text",), {"pieces": 20}),
        (("text", "text_pair"), {"pieces": 20}),
        (("text", "text_pair"), {"ngrams": 8}),
    ],
)
def test_rarity_of_pieces_belongs_to_ngrams_of_pairs(
    fields: tuple[str, ...], sizes: dict[str, int]
) -> None:
    head = HeadSpec(depths=(4,), pooling="mean", **sizes)
    with pytest.raises(ValidationError, match=r"head\.pieces belongs to n-grams of two fields"):
        task_spec(head=head, fields=fields)


@pytest.mark.parametrize(
    ("kind", "answer", "problem"),
    [
        ("single_label", known(("a", "b"), 1, 2, "positive"), "another number of inputs"),
        ("single_label", known(("a",), 1, 3, "positive"), "does not have 2 logits"),
        ("single_label", known(("a",), 2, 2, "positive", "negative"), "more than one row"),
        ("single_label", known(("a",), 1, 2), "one label per row"),
        ("single_label", known(("a",), 1, 2, "positive", "positive"), "one label per row"),
        ("single_label", known(("a",), 1, 2, "neutral"), "a label that the task does not have"),
        ("regression", known(("a",), 1, 1, "positive"), "one label per row"),
        ("tagging", known(("a",), 3, 3, "O", "O"), "one label per row"),
    ],
)
def test_known_answers_that_do_not_fit_are_refused(
    kind: Kind, answer: KnownAnswer, problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        task_spec(kind, known_answers=(answer,))


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("single_label", known(("a",), 1, 2, "negative")),
        ("multi_label", known(("a",), 1, 3, "sport")),
        ("regression", known(("a",), 1, 1)),
        ("tagging", known(("a",), 3, 3, "O", "B-PER", "I-PER")),
    ],
)
def test_known_answers_that_fit_are_taken(kind: Kind, answer: KnownAnswer) -> None:
    assert task_spec(kind, known_answers=(answer,)).known_answers == (answer,)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "Sentiment"),
        ("task", ""),
        ("task", "-a"),
        ("task", "a b"),
        ("task", "a\n"),
        ("task", "a/b"),
        ("task", "sentimént"),
        ("task", "a" * 65),
        ("kind", "ranking"),
        ("labels", ("a", "")),
        ("labels", ("a", "b" * 257)),
        ("labels", ("a", 1)),
        ("labels", tuple(map(str, range(10_001)))),
        ("fields", ()),
        ("fields", ("a", "b", "c")),
        ("fields", ("a b",)),
        ("fields", ("1a",)),
        ("languages", ("english",)),
        ("languages", ("EN",)),
        ("description", "x" * 2_001),
        ("max_length", 7),
        ("max_length", 65_537),
        ("max_length", 64.0),
        ("max_length", "64"),
        ("max_length", True),
        ("overlap", -1),
        ("schema_version", 2),
        ("value_range", (0.0,)),
    ],
)
def test_a_field_outside_its_range_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        TaskSpec.model_validate({**task_spec().model_dump(), field: value})
    assert refused.value.errors()[0]["loc"][0] == field


@pytest.mark.parametrize("depths", [(), (2, 1), (1, 1), (-1,), (1_025,), (1.0,), (True,), ("1",)])
def test_depths_that_do_not_ascend_are_refused(depths: tuple[object, ...]) -> None:
    with pytest.raises(ValidationError, match="depths"):
        HeadSpec(depths=depths, pooling="cls")  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [0, -1, 16_385, 2.5])
def test_a_hidden_width_outside_its_range_is_refused(width: float) -> None:
    with pytest.raises(ValidationError, match="hidden_width"):
        HeadSpec(depths=(1,), pooling="cls", hidden_width=width)  # type: ignore[arg-type]


def test_an_activation_needs_a_hidden_layer() -> None:
    assert HeadSpec(depths=(1,), pooling="cls", hidden_width=4).activation == "gelu"
    with pytest.raises(ValidationError, match="a linear head has no activation 'tanh'"):
        HeadSpec(depths=(1,), pooling="cls", activation="tanh")


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0.0},
        {"temperature": 1e-40},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"thresholds": (1.1,)},
        {"thresholds": (-0.1,)},
        {"thresholds": (float("nan"),)},
    ],
)
def test_a_calibration_outside_its_range_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Calibration(**values)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_are_finite_everywhere(number: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        KnownAnswer(inputs=("a",), logits=((number,),))
    with pytest.raises(ValidationError, match="finite"):
        Metric(name="f1", value=number, split="test", rows=1)
    with pytest.raises(ValidationError, match="finite"):
        task_spec("regression", value_range=(0.0, number))


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": "ab" * 32},
        {"fingerprint": f"sha256:{'AB' * 32}"},
        {"fingerprint": f"sha256:{'ab' * 31}"},
        {"fingerprint": f"sha256:{'ab' * 32}\n"},
        {"name": ""},
        {"hidden_size": 0},
        {"num_hidden_layers": 0},
        {"num_hidden_layers": 1_025},
    ],
)
def test_a_backbone_without_an_identity_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(changes))):
        backbone_spec(**changes)


def test_unknown_fields_are_refused_at_every_level() -> None:
    values = task_spec().model_dump()
    for place in (values, values["head"], values["backbone"], values["calibration"]):
        place["extra"] = 1
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            TaskSpec.model_validate(values)
        del place["extra"]
    assert TaskSpec.model_validate(values) == task_spec()


def test_json_is_as_strict_as_python() -> None:
    text = task_spec().model_dump_json()
    for given_text, wrong in [
        ('"max_length":64', '"max_length":"64"'),
        ('"max_length":64', '"max_length":64.5'),
        ('"max_length":64', '"max_length":true'),
        ('"labels":["negative","positive"]', '"labels":["negative",1]'),
        ('"overlap":0', '"overlap":0,"extra":1'),
        ('"temperature":1.0', '"temperature":NaN'),
        ('"temperature":1.0', '"temperature":"1.0"'),
    ]:
        assert given_text in text
        with pytest.raises(ValidationError):
            TaskSpec.model_validate_json(text.replace(given_text, wrong))


def test_a_spec_cannot_be_changed() -> None:
    spec = task_spec()
    with pytest.raises(ValidationError, match="frozen"):
        spec.task = "other"
    with pytest.raises(ValidationError, match="frozen"):
        spec.head.depths = (1,)


@pytest.mark.parametrize(("kind", "outputs"), [("regression", 1), ("tagging", 3)])
def test_outputs_and_deepest(kind: Kind, outputs: int) -> None:
    spec = task_spec(kind, depths=(0, 2, 3))
    assert spec.outputs == outputs
    assert spec.deepest == 3


def test_tensor_shapes_of_a_parsing_head() -> None:
    spec = task_spec("parsing", arc_width=4, hidden_width=14, depths=(0, 3))
    assert tensor_shapes(spec) == {
        "head.hidden.weight": (14, 16),
        "head.hidden.bias": (14,),
        "head.root": (7,),
        "head.arcs": (5, 4),
        "head.relations": (4, 4, 4),
        "mix.weights": (2,),
    }


def test_the_spec_of_other_heads_names_no_arc_width() -> None:
    assert "arc_width" not in task_spec().model_dump_json()
    assert task_spec("parsing").model_dump()["head"]["arc_width"] == 4


def test_tensor_shapes_of_prototypes() -> None:
    assert tensor_shapes(task_spec("prototype")) == {
        "head.prototypes": (2, 16),
        "head.counts": (2,),
        "head.center": (16,),
    }


@pytest.mark.parametrize(
    "changes",
    [{"hidden_width": 8}, {"depths": (1, 2)}, {"pooling": "attentive"}, {"labels": ("one",)}],
)
def test_prototypes_have_no_fitted_parts(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="a prototype task"):
        task_spec("prototype", **changes)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("parsing", "prototype")])
@pytest.mark.parametrize("width", [None, 5])
@pytest.mark.parametrize("depths", [(4,), (0, 2, 4)])
def test_tensor_shapes_of_every_linear_head(
    kind: Kind, width: int | None, depths: tuple[int, ...]
) -> None:
    for pooling in POOLINGS:
        if KINDS[kind].per_token != (pooling == "tokens"):
            continue
        spec = task_spec(kind, hidden_width=width, depths=depths, pooling=pooling)
        outputs = spec.head.outputs or KINDS[kind].outputs or len(LABELS[kind])
        expected: dict[str, tuple[int, ...]] = {
            "head.weight": (outputs, width or 16),
            "head.bias": (outputs,),
        }
        if width:
            expected |= {"head.hidden.weight": (5, 16), "head.hidden.bias": (5,)}
        if pooling == "attentive":
            expected |= {"pool.query": (16,)}
        if len(depths) == 3:
            expected |= {"mix.weights": (3,)}
        assert tensor_shapes(spec) == expected


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_fields_that_are_read_apart_give_four_times_the_width(kind: Kind, pooling: str) -> None:
    apart: dict[str, Any] = {"fields": ("a", "b"), "apart": True, "pooling": pooling}
    outputs = 1 if kind == "regression" else len(LABELS[kind])
    assert tensor_shapes(task_spec(kind, **apart)) == {
        "head.weight": (outputs, 64),
        "head.bias": (outputs,),
    }
    assert tensor_shapes(task_spec(kind, **apart, hidden_width=5, depths=(1, 2))) == {
        "head.weight": (outputs, 5),
        "head.bias": (outputs,),
        "head.hidden.weight": (5, 64),
        "head.hidden.bias": (5,),
        "mix.weights": (2,),
    }


ADAPTER = AdapterSpec(
    method="lora", depths=(1,), sites=("query",), config={"r": 8}, parameters=9, digest="a" * 64
)


@pytest.mark.parametrize(
    ("kind", "changes", "problem"),
    [
        ("single_label", {}, "apart is for two fields, the task reads 1"),
        ("tagging", {}, "apart is for two fields"),
        ("single_label", {"fields": ("a", "b"), "pooling": "attentive"}, "pooling 'attentive'"),
        ("single_label", {"fields": ("a", "b"), "pooling": "tokens"}, "pooling 'tokens'"),
    ],
)
def test_what_cannot_be_read_apart_is_refused(
    kind: Kind, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        task_spec(kind, apart=True, **changes)


def test_a_backbone_is_equal_by_its_fields() -> None:
    same = BackboneSpec(**backbone_spec().model_dump())
    assert same == backbone_spec()
    assert hash(same) == hash(backbone_spec())


@pytest.mark.parametrize(
    ("kind", "changes", "problem"),
    [
        ("regression", {}, "abstention is for tasks with a confidence; regression has none"),
        ("parsing", {}, "parsing has none"),
        ("multi_label", {"none_label": "oos"}, "a multi_label task has no none_label"),
        ("single_label", {"none_label": "negative"}, "none_label 'negative' is a label"),
    ],
)
def test_abstention_has_to_fit_the_task(kind: Kind, changes: dict[str, str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        task_spec(kind, abstention=abstention(**changes))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"outside": 5}, "rows out of scope have a label"),
        ({"auroc": 0.5}, "auroc does not belong"),
        ({"table": abstention().table[::-1]}, "not ascending"),
        ({"table": abstention(none_label="oos").table}, "rejected rows do not belong"),
        ({"table": abstention().table * 9}, "at most 25"),
        ({"min_accuracy": 1.5}, "less than or equal to 1"),
    ],
)
def test_figures_of_abstention_do_not_contradict_each_other(
    changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        Abstention.model_validate({**abstention().model_dump(), **changes})
