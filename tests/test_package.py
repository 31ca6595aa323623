"""The wheel: what is in it, and that it works where nothing else of the project is."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from adapterhub.store.registry import read_registry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
BACKBONE = "adapterhub/backbones/small-bilingual"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the wheel, built as an index would get it but with what is installed here."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; it is in the extra dev")
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    _pip("wheel", *options, "--wheel-dir", str(folder), str(ROOT))
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder that holds what the wheel installs."""
    folder = tmp_path_factory.mktemp("installed")
    _pip("install", "--no-deps", "--no-index", "--quiet", "--target", str(folder), str(wheel))
    return folder


@pytest.mark.slow
def test_the_wheel_holds_backbone_registry_and_heads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    listed = read_registry(ROOT / "registry.yaml").tasks.values()
    heads = {record.file for entry in listed for record in entry.versions.values()}
    wanted = {f"adapterhub/shipped/{name}" for name in ("registry.yaml", *heads)}
    wanted |= {f"{BACKBONE}/{name}" for name in ("config.json", "model.safetensors")}
    wanted |= {"adapterhub/py.typed", "adapterhub/hub.py", "adapterhub/publishing/card.md.jinja"}
    assert heads
    assert wanted - names == set()
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    roots = {name.split("/")[0] for name in names}
    assert roots == {"adapterhub", f"adapterhub-{_project()['version']}.dist-info"}
    assert [name for name in names if "__pycache__" in name or name.endswith(".lock")] == []


@pytest.mark.slow
def test_the_installed_wheel_scores_offline(installed: Path, tmp_path: Path) -> None:
    code = """
import json, adapterhub
from adapterhub import Hub
hub = Hub(device="cpu")
names = [task.name for task in hub.tasks()]
rows = [{"text": "I loved it.", "text_pair": "It is good."}, {"text": "很好", "text_pair": "好"}]
scores = hub.score(rows, tasks=names)
answered = sum(answer is not None for name in names for answer in scores[name])
print(json.dumps([adapterhub.__file__, str(hub.registry_path), len(names), answered]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    file, registry, tasks, answered = json.loads(done.stdout)
    assert Path(file).is_relative_to(installed)
    assert Path(registry) == installed / "adapterhub/shipped/registry.yaml"
    assert tasks == len(read_registry(ROOT / "registry.yaml").tasks)
    assert answered == 2 * tasks


def test_every_dependency_is_pinned() -> None:
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    project = _project()
    asked = chain(project["dependencies"], *project["optional-dependencies"].values())
    names = {_plain(requirement) for requirement in asked} - {"adapterhub"}
    assert names - {_plain(name) for name in pinned} == set()


@pytest.mark.slow
def test_every_imported_package_is_declared() -> None:
    project = _project()
    asked = chain(project["dependencies"], *project["optional-dependencies"].values())
    declared = {_plain(requirement) for requirement in asked}
    providers = packages_distributions()
    for name in _imported(ROOT / "adapterhub") - set(sys.stdlib_module_names) - {"adapterhub"}:
        found = {_plain(provider) for provider in providers[name]}
        assert found & declared, f"{name} is imported; none of {found} is in pyproject.toml"


def _imported(folder: Path) -> set[str]:
    """Returns the top-level names of all imports in a folder, those inside functions too."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _plain(requirement: str) -> str:
    """Returns the name of a requirement as package indexes spell it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
