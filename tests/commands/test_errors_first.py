"""Errors that need no torch come before it is imported: in every verb, in a process without it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.test_process import ROOT, environment

# Not an ImportError, which libraries catch.
BARRED = """
class WasImported(BaseException):
    pass
raise WasImported(__name__)
"""

RUN_ALL = """
import contextlib, io, json, sys
from adapterhub.cli import app

for words in json.load(sys.stdin):
    error, code = io.StringIO(), None
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        try:
            app([str(word) for word in words])
        except SystemExit as done:
            code = done.code
        except BaseException as raised:
            error.write(repr(raised))
    print(json.dumps([code, error.getvalue()]), flush=True)
"""

CASES: list[tuple[str, int, str]] = [
    # Names, files and folders that are not there.
    ("score x -t sentimant", 2, "Did you mean 'sentiment'?"),
    ("score -f absent.csv", 3, "there is no such file"),
    ("score x -t sentiment -r absent.yaml", 5, "there is no such file"),
    ("score x -t sentiment --backbone ./absent", 5, "no such folder"),
    ("score x -t sentiment --backbone nokey", 5, "is no key of the registry"),
    ("eval sentimant rows.jsonl", 2, "Did you mean 'sentiment'?"),
    ("eval sentiment absent.jsonl", 3, "there is no such file"),
    ("eval sentiment rows.jsonl --backbone ./absent", 5, "no such folder"),
    ("train absent.jsonl -t new", 3, "absent.jsonl"),
    ("train rows.jsonl -t new --backbone ./absent", 5, "no such folder"),
    ("train rows.jsonl -t new --backbone empty", 5, "is no key of the registry"),
    ("train rows.jsonl -t new -r fresh/registry.yaml --backbone ./empty", 5, "no config.json"),
    ("train rows.jsonl -t new --adapter-of absent", 2, "absent"),
    ("train rows.jsonl -t new --adapter-of sentiment", 2, "has no adapter"),
    ("train rows.jsonl -t new --continue-from sentiment", 2, "has no adapter"),
    ("train rows.jsonl -t new --validation absent.jsonl", 3, "absent.jsonl"),
    ("train trees.conllu -t new", 3, "line 1: word 2 is its own head"),
    ("train rows.jsonl -t new --kind parsing", 3, "'deprel'"),
    ("train rows.jsonl -t new --mentions absent.json", 3, "absent.json"),
    ("nearest absent.jsonl x", 3, "there is no such file"),
    ("nearest rows.jsonl x --backbone ./absent", 5, "no such folder"),
    ("nearest rows.jsonl x --text-column txt", 3, "there is no column 'txt'"),
    ("nearest rows.jsonl x -o there.csv", 3, "it exists already"),
    ("nearest rows.jsonl", 2, "There are no queries"),
    ("probe absent.jsonl", 3, "absent.jsonl"),
    ("probe rows.jsonl --backbone ./absent", 5, "no such folder"),
    ("probe rows.jsonl -r absent.yaml", 5, "there is no such file"),
    ("probe rows.jsonl --validation absent.jsonl", 3, "absent.jsonl"),
    ("publish sentimant --to owner/repo --dry-run", 2, "Did you mean 'sentiment'?"),
    ("publish sentiment --to owner/repo --dry-run --backbone ./absent", 5, "no such folder"),
    ("publish-backbone owner/repo --backbone ./absent --dry-run", 5, "no such folder"),
    ("publish-backbone owner/repo --backbone ./empty --dry-run", 5, "no config.json"),
    ("add ./absent.safetensors", 5, "absent.safetensors"),
    ("add shipped:absent", 2, "absent"),
    ("update absent", 2, "absent"),
    ("import absent -t new", 5, "no such folder"),
    ("import empty -t new", 5, "no config.json"),
    ("import peft -t new", 5, "no adapter_model.safetensors"),
    ("import peft -t new --backbone ./absent", 5, "no adapter_model.safetensors"),
    ("export sentimant new", 2, "Did you mean 'sentiment'?"),
    ("convert absent new", 5, "no such folder"),
    ("convert ./empty new", 5, "no pytorch_model.bin"),
    ("explain sentimant", 2, "Did you mean 'sentiment'?"),
    ("show sentimant", 2, "Did you mean 'sentiment'?"),
    ("list -r absent.yaml", 5, "there is no such file"),
    ("info ./absent", 5, "no such folder"),
    ("info ./empty", 5, "no config.json"),
    ("doctor absent", 2, "There is no folder"),
    ("search --kind taging", 2, "Did you mean 'tagging'?"),
    ("alias sentimant prod 1", 2, "Did you mean 'sentiment'?"),
    ("deprecate sentimant old", 2, "Did you mean 'sentiment'?"),
    ("remove sentimant", 2, "Did you mean 'sentiment'?"),
    ("rename sentimant other", 2, "Did you mean 'sentiment'?"),
    # Registries that cannot be read.
    ("score x -t a -r broken.yaml", 5, "broken.yaml"),
    ("eval a rows.jsonl -r broken.yaml", 5, "broken.yaml"),
    ("train rows.jsonl -t a -r broken.yaml", 5, "broken.yaml"),
    ("publish a --to owner/repo --dry-run -r broken.yaml", 5, "broken.yaml"),
    ("add shipped:spam-en -r broken.yaml", 5, "broken.yaml"),
    ("import peft -t a -r broken.yaml", 5, "broken.yaml"),
    ("export a new -r broken.yaml", 5, "broken.yaml"),
    # Columns and rows.
    ("score -f rows.jsonl -t sentiment --text-column txt", 3, "there is no column 'txt'"),
    ("score -f rows.jsonl -t entails", 3, "there is no column"),
    ("eval sentiment rows.jsonl --text-column txt", 3, "'txt'"),
    ("eval sentiment rows.jsonl --target-column lable", 3, "'lable'"),
    ("eval sentiment unknown.jsonl", 3, "unknown.jsonl"),
    ("eval sentiment empty.csv", 3, "empty.csv"),
    ("eval entails rows.jsonl", 3, "reads text and text_pair"),
    ("train rows.jsonl -t new --text-column txt", 3, "'txt'"),
    ("train empty.csv -t new", 3, "empty.csv"),
    ("train few.jsonl -t new", 3, "8 or more are needed"),
    ("probe rows.jsonl --text-column txt", 3, "'txt'"),
    ("probe few.jsonl", 3, "8 or more are needed"),
    ("probe rows.jsonl --what tag", 3, "there is no column 'tokens'"),
    ("probe rows.jsonl --what order", 3, "has two sentences"),
    ("train rows.jsonl -t topics", 5, "a version that is single_label cannot be added"),
    # Values and combinations of options.
    ("score x -t sentiment --device gpu", 2, "Device 'gpu'"),
    ("score x -t sentiment --dtype float23", 2, "Did you mean 'float32'?"),
    ("score x -t sentiment --max-windows 0", 2, "--max-windows"),
    ("score x -t sentiment --top-k 2 --all", 2, "give one"),
    ("score -f rows.jsonl -t sentiment -o there.csv", 3, "it exists already"),
    ("score -f rows.jsonl -t sentiment -o out.docx", 2, "out.docx"),
    ("score -f rows.jsonl -t sentiment -o absent/out.csv", 3, "there is no folder"),
    ("score -f rows.jsonl -t sentiment -o full", 3, "full"),
    ("score -f rows.jsonl -t sentiment --engine ray", 2, "--out"),
    ("score -f rows.jsonl -t sentiment -o o --engine rai", 2, "Did you mean 'ray'?"),
    ("score -f rows.jsonl -t sentiment -o o --features-cache there.csv", 3, "there.csv"),
    ("score -f rows.jsonl -t sentiment -o out.csv --keep-columns nope", 3, "'nope'"),
    ("score -f *.nope -t sentiment -o out.csv", 3, "no file matches it"),
    ("score -f none -t sentiment -o out.csv", 3, "none"),
    ("score -f mixed -t sentiment -o out.csv", 3, "files of several formats"),
    ("score -f bad.jsonl -t sentiment", 3, "bad.jsonl, line 2: field 'text' is empty"),
    ("score -f bad.jsonl -t rating -o out/", 3, "bad.jsonl, line 2: field 'text' is empty"),
    ("eval sentiment rows.jsonl --device gpu", 2, "Device 'gpu'"),
    ("eval sentiment rows.jsonl --dtype float23", 2, "Did you mean 'float32'?"),
    ("eval sentiment rows.jsonl --plot plot.jpg", 2, "ends in .png, .svg, .pdf"),
    ("train rows.jsonl -t new --plot absent/plot.png", 2, "there is no folder"),
    ("show rating --plot plot.svg", 2, "`adapterhub eval rating FILE --plot plot.svg`"),
    ("train rows.jsonl -t No!Name", 2, "'No!Name' is not allowed"),
    ("train rows.jsonl -t new --metric span_f1", 2, "the data make a single_label task"),
    ("train rows.jsonl -t new --value-range 1,5", 2, "value_range is for regression"),
    ("train rows.jsonl -t new --rank 4", 2, "name a method"),
    ("train rows.jsonl -t new --folds 1", 2, "folds are 2 or more"),
    ("train rows.jsonl -t new --tune bottom:2", 2, "there are head, top:K, middle-frozen"),
    ("train rows.jsonl -t new --tune top:0", 2, "1 or more"),
    ("train rows.jsonl -t new --tune top:99", 2, "this backbone has 4 depths"),
    ("train rows.jsonl -t new --tune at:7", 2, "depths 0 to 3"),
    ("train rows.jsonl -t new --tune at:1,1", 2, "depth 1 is there twice"),
    ("train rows.jsonl -t new --tune top:2 --adapter lora", 2, "by no adapter's method"),
    ("train rows.jsonl -t new --tune tied --adapter-of other", 2, "give one"),
    ("train rows.jsonl -t sentiment --tune all", 5, "Give the new task another name"),
    ("train rows.jsonl -t new --at-depths 0,9", 2, "at_depths names depth 9"),
    ("train rows.jsonl -t new --at-depths 0,2 --from-depth 1", 2, "not both"),
    ('train rows.jsonl -t new --example {"a":"b"}', 2, "Example 1"),
    ("probe rows.jsonl --what lable", 2, "Did you mean 'label'?"),
    ("probe rows.jsonl --probes lineer", 2, "Did you mean 'linear'?"),
    ("probe rows.jsonl --plot out.docx", 2, "out.docx"),
    ("probe rows.jsonl --test rows.jsonl", 2, "give a validation file"),
    ("publish sentiment --to norepo --dry-run", 2, "norepo"),
    ("publish sentiment --to owner/repo --dry-run --tag main", 2, "tag 'main' is not allowed"),
    ("publish sentiment --to owner/repo@a --branch b --dry-run", 2, "give one of them"),
    ("publish sentiment --to owner/repo --dry-run --base-model ./x", 2, "base model"),
    ('publish sentiment --to owner/repo --dry-run --example {"a":"b"}', 2, "fits no task"),
    ("publish sentiment --to owner/repo", 4, "token"),
    ("publish-backbone norepo", 2, "norepo"),
    ("publish-backbone owner/repo --branch HEAD --dry-run", 2, "branch 'HEAD' is not allowed"),
    ("import peft -t No!Name", 2, "'No!Name' is not allowed"),
    ("import peft -t new --kind taging", 2, "Did you mean 'tagging'?"),
    ("export sentiment new", 5, "a head on the frozen backbone"),
    ("export sentiment new --format onnx", 2, "expected peft"),
    ("convert ./empty empty --max-seconds 0", 2, "expected more than 0"),
    ("convert ./empty there", 5, "choose a new name"),
    ("info ./deberta", 5, "deberta"),
    ("convert ./deberta new", 5, "no pytorch_model.bin"),
]


@pytest.fixture(scope="module")
def outcomes(
    tmp_path_factory: pytest.TempPathFactory, _registry_original: Path
) -> dict[str, tuple[int | None, str]]:
    """Runs all cases in one process in which torch, transformers and PEFT cannot be imported."""
    folder = tmp_path_factory.mktemp("work") / "here"
    shutil.copytree(_registry_original.parent, folder)
    write_files(folder)
    barred = tmp_path_factory.mktemp("barred")
    for name in ("torch", "transformers", "peft"):
        (barred / f"{name}.py").write_text(BARRED)
    paths = os.pathsep.join([str(barred), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps([words.split(" ") for words, _, _ in CASES]),
        cwd=folder,
        env={**environment(), "PYTHONPATH": paths, "HF_HOME": str(folder), "HF_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = map(json.loads, done.stdout.splitlines())
    return {words: tuple(one) for (words, _, _), one in zip(CASES, found, strict=True)}


def write_files(folder: Path) -> None:
    rows = [{"text": f"text {n}", "label": ("positive", "negative")[n % 2]} for n in range(40)]
    write_jsonl(folder / "rows.jsonl", rows)
    words = "1\ta\ta\t_\t_\t_\t0\troot\t_\t_\n2\tb\tb\t_\t_\t_\t2\tobj\t_\t_\n"
    (folder / "trees.conllu").write_text(words, encoding="utf-8")
    write_jsonl(folder / "few.jsonl", rows[:4])
    write_jsonl(folder / "unknown.jsonl", [{"text": "good", "label": "neither"}])
    write_jsonl(folder / "bad.jsonl", [rows[0], {"text": " "}])
    (folder / "empty.csv").write_text("text,label\n")
    (folder / "there.csv").write_text("x\n")
    (folder / "broken.yaml").write_text("tasks: [1, 2\n")
    for name in ("empty", "peft", "deberta", "there", "full", "none", "mixed"):
        (folder / name).mkdir()
    for file in ("there/file", "full/file", "mixed/a.csv", "mixed/b.jsonl"):
        (folder / file).write_text("x")
    (folder / "peft" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "deberta" / "config.json").write_text('{"model_type": "deberta"}')


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.slow
@pytest.mark.parametrize(("words", "code", "part"), CASES, ids=[words for words, _, _ in CASES])
def test_an_error_that_needs_no_torch_comes_first(
    outcomes: dict[str, tuple[int | None, str]], words: str, code: int, part: str
) -> None:
    found, message = outcomes[words]
    assert (found, part in message) == (code, True), message
