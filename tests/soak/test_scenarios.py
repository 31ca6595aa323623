"""Every scenario briefly, and the command that runs them at full length."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import tests.soak.__main__ as soak
from tests.soak.__main__ import main
from tests.soak.figures import Effort, Figure, Unavailable, exactly
from tests.soak.scenarios import SCENARIOS, Scenario

SHORT = [scenario for scenario in SCENARIOS if scenario.short is not None]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.name)
def test_figures_hold(scenario: Scenario, tmp_path: Path) -> None:
    assert scenario.short is not None
    try:
        figures = scenario.run(tmp_path, scenario.short)
    except Unavailable as error:
        pytest.skip(str(error))
    assert figures
    assert [figure for figure in figures if not figure.holds] == []


def test_a_figure_says_what_it_must_be() -> None:
    for figure, holds, expected in (
        (exactly("a", 1_000, 1_000), True, "1,000"),
        (exactly("a", 1, 0), False, "0"),
        (Figure("a", 9, at_least=10), False, ">= 10"),
        (Figure("a", 0.5, at_most=1), True, "<= 1"),
        (Figure("a", 3, at_least=1, at_most=2), False, ">= 1 <= 2"),
    ):
        assert (figure.holds, figure.expected) == (holds, expected)


def test_an_effort_ends_by_rounds_or_by_time() -> None:
    assert list(Effort(3).steps()) == [0, 1, 2]
    assert list(Effort(3, seconds=0).steps()) == []
    assert not Effort(3).done("a", 2).holds
    assert not Effort(seconds=1).done("a", 0).holds


@pytest.mark.parametrize(
    ("words", "code"), [(["hostile-registries"], 0), (["bit-flips", "--minutes", "0"], 1)]
)
@pytest.mark.slow
def test_the_command_prints_figures_and_fails_when_one_is_missed(
    words: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["soak", "--json", "--only", *words])
    assert main() == code
    out, err = capsys.readouterr()
    (found,) = json.loads(out)
    assert (found["scenario"], found["holds"]) == (words[0], code == 0)
    assert f"[1/1] {words[0]}: " in err
    monkeypatch.setattr(sys, "argv", ["soak", "--only", *words])
    assert main() == code
    assert ("MISSED" in capsys.readouterr().out) == (code == 1)


def test_what_cannot_be_made_here_is_said() -> None:
    def run(folder: Path, effort: Effort) -> list[Figure]:
        """Needs another machine."""
        raise Unavailable("needs two machines")

    found = soak.run(Scenario(run, None, Effort(1)), None, "1/1")
    assert (found.figures, found.reason) == ((), "needs two machines")
    assert "not run: needs two machines" in soak.as_table([found])
