"""The shape of the package: who imports whom, what nobody calls, and how big things get.

docs/architecture.md says why. A new folder or module at the top of the package, of model/, of
scoring/ or of training/ gets a place in LADDER; what it may import follows from that.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import adapterhub
from adapterhub.kinds import KINDS

PACKAGE = Path(adapterhub.__file__).parent

LADDER: dict[str, tuple[set[str], ...]] = {
    "": (
        {"cells", "errors", "families", "kind_row", "label_trees", "schema", "tags"},
        {"by_task", "decoding", "diagnostics", "examples", "kinds"},
        {"specs"},
        {"shapes", "inputs", "option_models"},
        {"choices", "results", "plan"},
        {"store"},
        {"peft", "plots", "remote"},
        {"rows", "model"},
        {"opening", "publishing", "saving", "scoring"},
        {"training", "importing", "retrieval"},
        {"evaluation", "labels", "probing"},
        {"hub"},
        {"commands"},
        {"cli"},
        {"__main__"},
    ),
    "model": ({"tokenizers"}, {"backbone"}, {"encoder"}, {"adapters"}, {"heads"}, {"execution"}),
    "scoring": (
        {"output", "progress"},
        {"options"},
        {"state"},
        {"pipeline"},
        {"sources"},
        {"assign_columns"},
        {"parts"},
        {"job"},
        {"engines"},
        {"batches", "stream"},
        {"score_file", "scorer"},
    ),
    "training": (
        {"adapter_options"},
        {"option_files", "tune"},
        {"options"},
        {"data"},
        {"features"},
        {"evaluation"},
        {"kinds"},
        {"abstention", "heads", "prepare"},
        {"warm_start"},
        {"adapters"},
        {"finalize"},
        {"train"},
        {"several"},
    ),
}
"""By folder, from the bottom up: a module may import its own folder and what stands below it."""

ARCHITECTURE = Path(__file__).parent.parent / "docs/architecture.md"


def ladder_lines() -> list[str]:
    """Returns LADDER as docs/architecture.md shows it, between its two markers."""
    lines = []
    for folder, layers in LADDER.items():
        steps = " ◀ ".join(", ".join(sorted(units)) for units in layers)
        place = f"adapterhub/{folder}".rstrip("/")
        wrapped = textwrap.wrap(f"{place}: {steps}", 110, subsequent_indent=" " * 4)
        lines += [f"    {line}" for line in wrapped]
    return lines


ONLY_IN = {
    "huggingface_hub": {
        *(f"remote/{name}.py" for name in ("cache", "calls", "download", "faults", "fetch")),
        *(f"remote/{name}.py" for name in ("large_files", "refs", "session", "upload")),
        "remote/download_count.py",
        "model/backbone/sources.py",
    },
    "httpx2": {"remote/download.py", "remote/session.py"},
    "jinja2": {"publishing/rendering.py"},
    "matplotlib": {"plots/figure_files.py", "plots/style.py"},
    "peft": {
        *(f"importing/{name}.py" for name in ("injected", "merged_pooling")),
        "model/adapters/merged_weights.py",
        *(f"peft/{name}.py" for name in ("folder", "format", "settings")),
        *(f"training/adapters/trainable/{name}.py" for name in ("injection", "peft_methods")),
    },
}
WITHOUT_TORCH = (
    "adapterhub",
    "adapterhub.errors",
    "adapterhub.specs",
    "adapterhub.results",
    "adapterhub.plan",
    "adapterhub.inputs",
    "adapterhub.store.registry",
    "adapterhub.store.references",
    "adapterhub.scoring.score_file",
    "adapterhub.cli",
)
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {
    "torch.load",
    "yaml.load",
    "yaml.safe_load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "os.system",
    "eval",
    "exec",
}
"""`yaml` is read by `store/yamlsafe.py` alone, which goes through `yaml.parse`."""

OPENS_PICKLES = "importing/unpickle.py"
"""The one exception: a process of its own with limits, which nothing imports, opens a pickle."""

UNSAFE_OPTIONS = {"trust_remote_code", "allow_pickle"}

ROOT_IMPORT_ALLOWED = {"cli.py": "the version"}
MAX_FILE_LINES = 400
BIGGER_FILES: dict[str, int] = {}
"""A file over 400 lines is a signal: it gets a place here only if it is one thing."""
MAX_FILES = 10
ELSEWHERE = {"compatibility", "hubserver", "kinds", "soak"}
"""Folders of tests without one in the package: old files, the Hub of the tests, faults."""
MAX_FUNCTION_LINES = 40
BIGGER_FUNCTIONS: dict[str, int] = {}
MAX_PARAMETERS = 6
VAGUE_NAMES = {"util", "utils", "helper", "helpers", "common", "base", "misc", "manager"}


@dataclass(frozen=True)
class Module:
    path: str
    tree: ast.Module
    lines: int

    @property
    def name(self) -> str:
        parts = ["adapterhub", *Path(self.path).with_suffix("").parts]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _read_modules() -> list[Module]:
    modules = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(PACKAGE).as_posix()
        modules.append(Module(name, ast.parse(text), len(text.splitlines())))
    return modules


MODULES = _read_modules()
INNER = [module for module in MODULES if module.path != "__init__.py"]


def _imports(tree: ast.AST, *, at_run_time: bool = False) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields module name and imported names; `at_run_time` leaves out those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or "", tuple(alias.name for alias in node.names)
        elif at_run_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from (found for child in node.orelse for found in _imports(child))
        else:
            yield from _imports(node, at_run_time=at_run_time)


def _rank(folder: str, unit: str) -> int:
    ranks = [rank for rank, units in enumerate(LADDER[folder]) if unit in units]
    assert ranks, f"'{unit}' has no place in LADDER['{folder}']; see the first lines of this file"
    return ranks[0]


def _is_downwards(own: list[str], other: list[str]) -> bool:
    """Returns whether a module may import another, given the parts of their paths."""
    folder: list[str] = []
    for mine, theirs in zip(own, other, strict=False):
        if mine != theirs:
            key = "/".join(folder)
            return key not in LADDER or _rank(key, theirs) < _rank(key, mine)
        folder.append(mine)
    return True


def test_imports_run_downwards_only() -> None:
    assert [line for module in INNER for line in _upward_imports(module)] == []


def _upward_imports(module: Module) -> Iterator[str]:
    own = module.name.split(".")[1:]
    for name, names in _imports(module.tree):
        if name == "adapterhub":
            if not ROOT_IMPORT_ALLOWED.get(module.path):
                yield f"{module.path} imports the package root for {names}"
        elif name.startswith("adapterhub.") and not _is_downwards(own, name.split(".")[1:]):
            yield f"{module.path} imports {name}"


def test_every_place_of_the_ladder_is_taken() -> None:
    for folder, layers in LADDER.items():
        found = {
            Path(module.path).relative_to(folder).parts[0].removesuffix(".py")
            for module in INNER
            if Path(module.path).is_relative_to(folder)
        }
        assert set().union(*layers) == found - {"__init__"}


def test_the_docs_show_the_ladder() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    shown = text.partition("<!-- ladder -->")[2].partition("<!-- /ladder -->")[0]
    message = "write there what `python -m tests.test_structure` prints"
    assert shown.strip("\n").splitlines() == ladder_lines(), message


@pytest.mark.parametrize("folder", ["model", "scoring", "training"])
def test_folders_stay_small(folder: str) -> None:
    for place in [PACKAGE / folder, *(PACKAGE / folder).iterdir()]:
        # A folder of kinds has a file for each.
        kinds = {f"{kind}.py" for kind in KINDS}
        files = {path.name for path in place.glob("*.py")} - {"__init__.py", *kinds}
        assert len(files) <= MAX_FILES, f"{place.name} has {len(files)} files"


def test_tests_stand_where_the_modules_stand() -> None:
    tests = Path(__file__).parent
    folders = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    assert {folder for folder in folders if not (PACKAGE / folder).is_dir()} == ELSEWHERE


@pytest.mark.slow
def test_imports_make_no_circle() -> None:
    known = {module.name for module in MODULES}
    graph = {
        module.name: {
            target
            for name, names in _imports(module.tree, at_run_time=True)
            for target in (name, *(f"{name}.{part}" for part in names))
            if target in known - {"adapterhub", module.name}
        }
        for module in INNER
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("library", ONLY_IN)
@pytest.mark.slow
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = {
        module.path
        for module in MODULES
        for name, _ in _imports(module.tree)
        if name.split(".")[0] == library
    }
    assert users <= ONLY_IN[library]


@pytest.mark.slow
def test_what_needs_no_torch_imports_none() -> None:
    code = (
        f"import importlib, sys\n"
        f"for name in {WITHOUT_TORCH!r}:\n"
        f"    importlib.import_module(name)\n"
        f"    heavy = {{'torch', 'transformers', 'peft'}} & set(sys.modules)\n"
        f"    if heavy: sys.exit(f'{{name}} imports {{heavy}}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_nothing_unsafe_is_called() -> None:
    found = []
    for module in MODULES:
        for name, _ in _imports(module.tree):
            if name.split(".")[0] in UNSAFE_MODULES:
                found.append(f"{module.path}: imports {name}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in UNSAFE_CALLS:
                allowed = module.path == OPENS_PICKLES and _loads_weights_only(node)
                if not allowed:
                    found.append(f"{module.path}:{node.lineno}: {ast.unparse(node.func)}")
            if isinstance(node, ast.keyword) and node.arg in UNSAFE_OPTIONS:
                found.append(f"{module.path}:{node.value.lineno}: {node.arg}")
    assert found == []


def test_one_process_opens_a_pickle_and_nothing_imports_it() -> None:
    opening = next(module for module in MODULES if module.path == OPENS_PICKLES)
    calls = [node for node in ast.walk(opening.tree) if isinstance(node, ast.Call)]
    assert sum(_loads_weights_only(call) for call in calls) == 1
    users = [
        module.path
        for module in MODULES
        for name, names in _imports(module.tree)
        if opening.name in (name, *(f"{name}.{part}" for part in names))
    ]
    assert users == []


def _loads_weights_only(call: ast.Call) -> bool:
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    return ast.unparse(call.func) == "torch.load" and options.get("weights_only") == "True"


def test_one_loop_over_depths_serves_everything() -> None:
    callers = {
        module.path
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("encoder.run")
    }
    assert callers == {"model/encoder/depth_loop.py"}


def test_public_names_are_exactly_what_is_exported() -> None:
    tree = next(module.tree for module in MODULES if module.path == "__init__.py")
    for_checkers = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        for source, names in _imports(node)
        if source.startswith("adapterhub.")
        for name in names
    }
    assert set(adapterhub.__all__) == for_checkers | {"__version__"}
    assert len(set(adapterhub.__all__)) == len(adapterhub.__all__)
    assert dir(adapterhub) == sorted(adapterhub.__all__)
    for name in adapterhub.__all__:
        assert getattr(adapterhub, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Hubb'"):
        adapterhub.Hubb  # noqa: B018


def test_files_and_functions_stay_small() -> None:
    assert [line for module in MODULES for line in _too_big(module)] == []


def _too_big(module: Module) -> Iterator[str]:
    if module.lines > BIGGER_FILES.get(module.path, MAX_FILE_LINES):
        yield f"{module.path} has {module.lines} lines"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            place = f"{module.path}:{node.name}"
            if _code_lines(node) > BIGGER_FUNCTIONS.get(place, MAX_FUNCTION_LINES):
                yield f"{place} is too long"
            if _parameters(node) > MAX_PARAMETERS:
                yield f"{place} has too many parameters"


def test_exceptions_are_still_needed() -> None:
    lines = {module.path: module.lines for module in MODULES}
    assert [path for path in BIGGER_FILES if lines.get(path, 0) <= MAX_FILE_LINES] == []
    roots = {
        module.path
        for module in INNER
        if any(name == "adapterhub" for name, _ in _imports(module.tree))
    }
    assert roots == set(ROOT_IMPORT_ALLOWED)


def test_names_say_what_is_inside() -> None:
    names = {part.removesuffix(".py") for module in MODULES for part in Path(module.path).parts}
    assert names & VAGUE_NAMES == set()


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Returns the lines of a function's body without its docstring."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in names)


if __name__ == "__main__":
    print("\n".join(ladder_lines()))
