"""Ray: parts scored by its actors as here, and a Scorer in Ray Data. Ray is started once."""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub.cli import app
from adapterhub.errors import DataError, MissingExtraError, UsageError
from adapterhub.hub import Hub
from adapterhub.scoring.engines.ray_cluster import resources_in
from tests.scoring.closeness import is_close
from tests.test_clusters_page import ROWS, run_commands, run_section, write_reviews

TASKS = ["sentiment", "entities", "trees", "rating"]
LINES = [
    *(json.dumps({"text": f"a good day {n}", "n": n}) for n in range(230)),
    json.dumps({"text": "", "n": 230}),
    *(json.dumps({"text": f"she was in the city {n}", "n": n}) for n in range(231, 300)),
    "no json",
]
OPTIONS = {"part_rows": 64, "on_error": "skip"}
RAY = {"engine": "ray", "workers": 2}


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Starts Ray as people do; whoever finds it running uses it, and does not end it."""
    found = pytest.importorskip("ray")
    folder = tmp_path_factory.mktemp("ray")
    write_reviews(folder)
    with pytest.MonkeyPatch.context() as patch:
        # Workers stay in the folder that Ray was started in.
        patch.chdir(folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        found.init(
            address="local",
            # One more than actors, which would wait for ever for what reads files for them.
            num_cpus=3,
            object_store_memory=80 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        yield found
        found.shutdown()


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(LINES) + "\n")
    return path


def table_of(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("part-*"))])


def bad_rows(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "_errors.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_what_one_engine_has_begun_the_other_one_ends(
    ray: Any, hub: Hub, lines: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    one = hub.score_file(lines, here, tasks=TASKS, options=OPTIONS)
    assert (one.rows, one.scored, one.bad, one.parts) == (301, 299, 2, 5)
    shutil.copytree(here, there)
    for left in ("_SUCCESS", "_errors.jsonl", *(f"_job/0000{n}.json" for n in (0, 2, 3, 4))):
        (there / left).unlink()
    two = hub.score_file(lines, there, tasks=TASKS, options={**OPTIONS, **RAY})
    assert ray.is_initialized()
    assert (two.rows, two.scored, two.bad, two.parts) == (301, 299, 2, 5)
    assert two.resumed_rows == 64
    assert is_close(table_of(there), table_of(here))
    assert table_of(there).schema == table_of(here).schema
    assert bad_rows(there) == bad_rows(here)
    files = {path.relative_to(there) for path in there.rglob("*") if path.is_file()}
    assert files == {path.relative_to(here) for path in here.rglob("*") if path.is_file()}

    for left in ("_SUCCESS", "_job/00002.json"):
        (there / left).unlink()
    three = hub.score_file(lines, there, tasks=TASKS, options=OPTIONS)
    assert (three.rows, three.resumed_rows) == (301, 237)
    assert is_close(table_of(there), table_of(here))
    four = hub.score_file(lines, there, tasks=TASKS, options={**OPTIONS, **RAY})
    assert four.resumed_rows == 301


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_a_fault_stops_ray_in_the_words_of_the_local_engine(
    ray: Any, hub: Hub, lines: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="line 231") as error:
        hub.score_file(lines, tmp_path / "here", tasks="rating", options={"part_rows": 64})
    words = ["score", "-r", str(hub.registry_path), "-t", "rating", "--part-rows", "64"]
    words += ["--engine", "ray", "--workers", "1"]
    with pytest.raises(SystemExit) as ended:
        app([*words, "-f", str(lines), "-o", f"{tmp_path / 'there'}/"])
    assert ended.value.code == 3
    found = capfd.readouterr()
    # Ray itself remarks, not always, where arguments are kept and that we ended its workers.
    out, err = (
        [one for one in text.splitlines() if not re.search(r"core_worker\.cc|\(raylet\)", one)]
        for text in (found.out, found.err)
    )
    assert (out, err) == ([], [f"adapterhub: {error.value}"])
    assert not (tmp_path / "there/_SUCCESS").exists()


@pytest.mark.slow
def test_the_page_shows_files_on_ray(ray: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run_commands("Files on Ray")
    assert table_of(Path("scored")).num_rows == len(ROWS)
    capsys.readouterr()
    assert run_section("Files on Ray")["done"].resumed_rows == len(ROWS)
    assert capsys.readouterr().out == f"{len(ROWS)}\n"


@pytest.mark.slow
def test_the_page_shows_a_scorer_in_ray(ray: Any, capsys: pytest.CaptureFixture[str]) -> None:
    names = run_section("Ray Data")
    written = pq.read_table("scored-by-ray")
    assert written.num_rows == len(ROWS)
    assert [written.schema.field(one) for one in names["scorer"].schema.names] == list(
        names["scorer"].schema
    )
    assert capsys.readouterr().out.strip() == str(len(ROWS))


def node(cpus: float, gpus: float = 0.0, *, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "found"),
    [
        ([node(2)], 2, 0, (2, 1)),
        ([node(2)], None, 0, (1, 2)),
        ([node(16)], None, 0, (4, 4)),
        ([node(8), node(8), node(8)], 4, 0, (4, 4)),
        ([node(8), node(8), node(64, alive=False)], 1, 0, (1, 8)),
        ([node(16, 2)], None, 1, (2, 8)),
        ([node(16, 2)], None, 0.5, (4, 4)),
        ([node(0), node(8, 1)], None, 1, (1, 8)),
    ],
)
def test_workers_share_the_processors(
    nodes: list[Any], workers: int | None, gpus: float, found: tuple[int, int]
) -> None:
    resources = resources_in(nodes, workers, gpus)
    assert (resources.workers, resources.cpus, resources.gpus) == (*found, gpus)


@pytest.mark.parametrize(
    ("workers", "gpus", "words"),
    [(3, 0, "3 workers do not fit .* 2 processors and 1 GPUs"), (2, 1, "2 workers with 1 GPU")],
)
def test_too_many_workers_are_refused(workers: int, gpus: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resources_in([node(2, 1)], workers, gpus)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 2}, r"--workers \(workers=…\) is of the engine Ray"),
        ({"num_gpus": 1}, r"--num-gpus \(num_gpus=…\) is of the engine Ray"),
        ({"engine": "ray", "workers": 0}, "workers"),
        ({"engine": "spark"}, "engine"),
        ({"engine": "ray"}, "arguments is none"),
    ],
)
def test_what_does_not_fit_an_engine_is_refused(
    options: dict[str, Any], words: str, hub: Hub, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        hub.score_file({"text": ["a"]}, tmp_path / "out", tasks="rating", options=options)
    assert not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(
    hub: Hub, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"adapterhub\[ray\]"):
        hub.score_file(lines, tmp_path / "out", tasks="rating", options={"engine": "ray"})
    assert not (tmp_path / "out").exists()
