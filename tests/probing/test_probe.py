"""`probe` and `adapterhub probe`: rows in, bits by depth out, as table, JSON and plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapterhub import Encoder, ProbeResult, probe
from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.probing.conclusions import conclusions
from adapterhub.probing.result import ProbeFit, SplitSizes
from tests.commands.conftest import Run, run  # noqa: F401
from tests.tiny import save_backbone

QUICK: dict[str, Any] = {"probes": ("linear",), "depths": (0, 2), "epochs": 2}
WORDS = ["she", "was", "late", "in", "the", "city"]
TREES = [
    {
        "tokens": [*WORDS[: 2 + n % 5], "."],
        "head": [0, *[1] * (2 + n % 5)],
        "deprel": ["root", *["dep"] * (n % 5), "obj", "punct"][: 3 + n % 5],
        "upos": ["PRON", *["X"] * (n % 5), "VERB", "PUNCT"][: 3 + n % 5],
    }
    for n in range(50)
]
TEXTS = [
    {"text": f"{'good' if n % 2 else 'bad'} day {n}", "label": ("no", "yes")[n % 2]}
    for n in range(60)
]
PARAGRAPHS = [
    {"text": f"The first of {n} was long ago. The second of {n} came much later."}
    for n in range(60)
]


def fit(depth: int | None, bits: float, **changes: Any) -> ProbeFit:
    return ProbeFit.model_validate(
        {
            "weights": "backbone",
            "depth": depth,
            "probe": "linear",
            "target": "labels",
            "items": 500,
            "entropy": 2.0,
            "cross_entropy": 2.0 - bits,
            "bits": bits,
            "standard_error": 0.1,
            "coefficient": bits / 2,
            "accuracy": 0.75,
            "base_accuracy": 0.5,
            "parameters": 10,
            "epoch": 3,
            "weight_decay": 0.01,
            "seconds": 1.0,
            **changes,
        }
    )


RESULT = ProbeResult(
    data="set",
    target="tags",
    reads="word",
    labels=("A", "B"),
    label_counts=(5, 5),
    entropy=2.0,
    splits={
        name: SplitSizes(texts=50, items=500, tokens=900) for name in ("training", "measuring")
    },
    backbone="sha256:ab",
    depths=3,
    settings={},
    fits=(
        *(fit(depth, bits) for depth, bits in enumerate((0.5, 1.35, 1.40, 1.2))),
        fit(None, 1.5),
        *(fit(depth, 0.4 + depth / 10, weights="random") for depth in range(4)),
        *(fit(depth, -0.01, target="control") for depth in range(4)),
        *(fit(depth, 0.9, target="memorised") for depth in range(4)),
        fit(0, 0.7, probe="attention", standard_error=None, coefficient=None),
    ),
    notes=("Three texts are cut.",),
    seconds=9.0,
)


def test_the_depth_to_read_is_the_lowest_within_one_standard_error() -> None:
    linear, attention = conclusions(RESULT.fits)
    assert (linear.best.depth, linear.enough.depth) == (2, 1)
    assert (linear.mix and linear.mix.bits, linear.random and linear.random.bits) == (1.5, 0.7)
    assert (attention.best.depth, attention.enough.depth, attention.control) == (0, 0, None)


def test_a_result_is_shown_with_its_controls_and_what_to_read() -> None:
    lines = RESULT.render().splitlines()
    assert "set, tags, 2 labels: a prediction reads the first token of a word." in lines
    assert "|     2 |   1.40 | 0.70 |   75.0% |           |   |         |" in lines
    assert "|   mix |   1.50 | 0.75 |   75.0% |           |   |         |" in lines
    assert "|     2 |  -0.01 |  0.90 |   0.60 |           |       |        |" in lines
    assert "Without input a label takes 2.00 bits, and 50.0% are correct." in lines[1]
    lowest = "depth 1 is the lowest within one standard error."
    assert f"linear: most bits at depth 2 (1.40 ± 0.10 of 2.00, 70%); {lowest}" in lines
    nothing = conclusions([fit(0, 0.1), fit(1, 0.15)])[0]
    assert "beyond two standard errors (at most 0.15 ± 0.10 of 2.00" in nothing.lines()[0]
    assert lines[-1] == "Three texts are cut."
    again = ProbeResult.model_validate_json(RESULT.to_json())
    assert again == RESULT
    assert RESULT.as_dict() == json.loads(RESULT.to_json())


@pytest.mark.slow
def test_a_result_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = RESULT.plot(tmp_path / "bits.svg")
    text = file.read_text()
    assert all(name in text for name in ("linear, random", "linear, control", "entropy of the"))
    with pytest.raises(UsageError, match=r"bits\.doc"):
        RESULT.plot("bits.doc")


@pytest.mark.parametrize(
    ("rows", "options", "reads"),
    [
        (TEXTS, {}, "text"),
        ([{**row, "text_pair": "it is"} for row in TEXTS], {}, "text"),
        (TREES, {"target": "upos"}, "word"),
        (TREES, {"what": "relation"}, "relation"),
        (TREES, {"what": "head"}, "head"),
        (PARAGRAPHS, {"what": "order"}, "text"),
    ],
)
@pytest.mark.slow
def test_every_target_is_probed(
    rows: Any, options: dict[str, Any], reads: str, tiny_backbone: Backbone
) -> None:
    result = probe(rows, options={**QUICK, **options}, backbone=tiny_backbone, registry=None)
    assert result.reads == reads
    assert {one.depth for one in result.fits} == {0, 2, None}
    assert {one.weights for one in result.fits} == {"backbone", "random"}
    # Each text is new, and few words are.
    assert {"labels", "control" if reads == "text" else "memorised"} <= {
        one.target for one in result.fits
    }
    size = result.splits["measuring"]
    labels = [one for one in result.fits if one.target == "labels"]
    assert {one.items for one in labels} == {size.items}
    assert {one.entropy for one in labels} == {result.entropy}
    assert sum(result.label_counts) == (0 if reads == "head" else result.splits["training"].items)


def test_an_encoder_of_another_backbone_is_refused(tiny_backbone: Backbone, tmp_path: Path) -> None:
    other = open_backbone(save_backbone(tmp_path / "other", seed=5))
    with pytest.raises(UsageError, match="another backbone"):
        probe(TEXTS, options=QUICK, backbone=other, registry=None, encoder=Encoder(tiny_backbone))
    with pytest.raises(UsageError, match="reads 64 tokens"):
        probe(TEXTS, options={**QUICK, "max_length": 65}, backbone=other, registry=None)
    with pytest.raises(UsageError, match="depth"):
        probe(TEXTS, options={"depths": (5,)}, backbone=other, registry=None)


@pytest.mark.slow
def test_the_verb_prints_a_table_json_and_a_plot(
    run: Run,  # noqa: F811
    tiny_backbone_folder: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip("matplotlib")
    data, plot = Path("rows.jsonl"), tmp_path / "bits.png"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in TEXTS))
    words = ("probe", data, "--backbone", tiny_backbone_folder, "--epochs", "2", "--no-mix")
    less = ("--depths", "2", "--no-random", "--no-control", "--attention-epochs", "1")
    ran = run(*words, *less, "--probes", "linear,attention", "--plot", plot)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("rows, label, 2 labels: a prediction reads the mean over the tokens")
    assert "attention: most bits at depth" in ran.out
    assert "Read as label of 2 labels from column 'label': 36 training" in ran.err
    assert plot.read_bytes().startswith(b"\x89PNG")
    words = (*words, "--probes", "linear", "--depths", "2,0")
    values = [run(*words, "--json").value for _ in range(2)]
    first, second = (ProbeResult.model_validate_json(json.dumps(value)) for value in values)
    own = [one for one in first.fits if (one.target, one.weights) == ("labels", "backbone")]
    assert [one.depth for one in own] == [0, 2]
    assert first.settings["depths"] == [2, 0]
    assert [one.bits for one in first.fits] == [one.bits for one in second.fits]
