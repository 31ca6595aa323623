"""A registry with tasks of two backbones: one call runs one of them, and says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.store.entries import BackboneEntry
from adapterhub.store.versions import add_version
from tests.builders import head_tensors
from tests.commands.conftest import Run
from tests.tiny import open_tiny, tiny_task


@pytest.fixture
def registry(tiny_registry: Path) -> Path:
    """Returns the tiny registry with a task `mood` on a second backbone."""
    backbone = open_tiny(tiny_registry.parent / "other", seed=5)
    spec = tiny_task(backbone, "single_label", task="mood")
    add_version(
        tiny_registry,
        spec,
        head_tensors(spec),
        backbone_key="other",
        backbone_entry=BackboneEntry(source="./other", fingerprint=backbone.spec.fingerprint),
    )
    return tiny_registry


def test_the_backbone_is_that_of_the_tasks(run: Run, registry: Path) -> None:
    assert "mood.label" in run("score", "good", "-t", "mood", "-r", registry).rows[0]
    assert "rating.value" in run("score", "good", "-t", "rating", "-r", registry).rows[0]


def test_tasks_of_two_backbones_do_not_run_together(run: Run, registry: Path) -> None:
    for verb in (("score", "good", "-t", "mood,rating"), ("explain", "mood", "rating")):
        ran = run(*verb, "-r", registry)
        assert ran.code == 2
        assert "belongs to the backbone backbone, task 'mood' to other" in ran.err


def test_without_tasks_the_backbone_must_be_named(run: Run, registry: Path) -> None:
    ran = run("score", "good", "-r", registry)
    assert (ran.code, "--backbone" in ran.err) == (2, True)
    ran = run("score", "good", "-r", registry, "--backbone", "other")
    assert set(ran.rows[0]) == {"text", "mood.label", "mood.score"}
    ran = run("score", "good", "-r", registry, "--backbone", "othr")
    assert (ran.code, "'othr' is none of these names" in ran.err) == (2, True)


def test_a_head_file_runs_on_the_registry_that_has_its_backbone(run: Run, registry: Path) -> None:
    file = registry.parent / "heads" / "mood.safetensors"
    assert "mood.label" in run("score", "good", "-t", file, "-r", registry).rows[0]


def test_a_head_file_without_its_backbone_is_refused(
    run: Run, registry: Path, tmp_path: Path
) -> None:
    from tests.tiny import save_registry

    other = save_registry(tmp_path / "third")
    file = registry.parent / "heads" / "mood.safetensors"
    ran = run("score", "good", "-t", file, "-r", other)
    assert ran.code == 5
    assert "mood" in ran.err


def test_doctor_looks_at_both(run: Run, registry: Path) -> None:
    ran = run("doctor", "-r", registry)
    assert ran.code == 0, ran.out
    assert "backbone tiny" in ran.out
    assert "backbone other" in ran.out
    assert "task mood:1: " in ran.out
    assert "no known answers" in ran.out
