"""The size of a card: details of a few tasks are in it, those of many have pages of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from adapterhub.examples import Example, PredictedLabel
from adapterhub.publishing.layout import MOST_CARD_BYTES, Present, lay_out
from adapterhub.publishing.merging import merge
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from adapterhub.publishing.task_changes import deprecate_task, remove_task
from adapterhub.remote.find import FoundTask
from adapterhub.specs import Calibration, Metric
from tests.hubserver.server import HubServer
from tests.publishing.cards import DIAGNOSTICS, RECORD, files, full
from tests.publishing.tasks import DEFAULTS, REPO

LABELS = tuple(f"a rather long label with the number {number}" for number in range(150))
EXAMPLES = (Example(inputs=("A text.",), labels=(PredictedLabel(label=LABELS[0], score=0.5),)),)
METRICS = tuple(
    Metric(name=name, value=0.5, split=split, rows=100)
    for split in ("test", "validation")
    for name in ("accuracy", "macro_f1", "mcc", "ece")
)


def big(number: int, **changes: object) -> FoundTask:
    """Returns a task with a long description, many labels and a data set of its own."""
    record = RECORD.model_copy(update={"dataset": f"an-owner-of-data/{'data-set-' * 8}{number}"})
    return full(
        f"{'long-name-' * 4}{number}",
        description='A long description with "quotes" & <signs>. ' * 45,
        labels=LABELS,
        metrics=METRICS,
        training=record,
        calibration=Calibration(),
        **changes,
    )


def readme(made: dict[str, bytes]) -> str:
    return made["README.md"].decode()


def pages_of(made: dict[str, bytes]) -> dict[str, str]:
    return {path: data.decode() for path, data in made.items() if path.endswith(".md")}


@pytest.mark.slow
def test_a_card_stays_small_for_any_number_of_tasks() -> None:
    count = 300
    tasks = [big(number) for number in range(count)]
    made = files(*tasks)
    text = readme(made)
    assert len(text.encode()) <= MOST_CARD_BYTES
    assert len(text.encode()) > MOST_CARD_BYTES / 2
    assert "](tasks.md)" in text
    every = made["tasks.md"].decode()
    for task in tasks:
        page = f"tasks/{task.name}.md"
        assert f"]({page})" in every
        assert f"## {task.name}" in made[page].decode()
        assert LABELS[149] in made[page].decode()
    index = ModelCard(text).data.eval_results or []
    assert 10 < len({result.dataset_config for result in index}) < count
    again = files(big(count, alias="prod"), before=made)
    assert len(readme(again).encode()) <= MOST_CARD_BYTES
    assert f"tasks/{tasks[0].name}.md" in again["tasks.md"].decode()
    assert again[f"tasks/{tasks[0].name}.md"] == made[f"tasks/{tasks[0].name}.md"]


@pytest.mark.slow
def test_a_card_stays_small_where_tasks_come_one_by_one(hub_server: HubServer) -> None:
    for number in range(12):
        publish(REPO, [big(number)], DEFAULTS)
        text = hub_server.files(REPO)["README.md"].decode()
        assert len(text.encode()) <= MOST_CARD_BYTES
    assert "## long-name" not in text
    for number in range(12):
        page = hub_server.files(REPO)[f"tasks/{'long-name-' * 4}{number}.md"].decode()
        assert page.count("## long-name") == 1


def test_the_details_of_a_few_tasks_are_in_the_card() -> None:
    made = files(full(), full("topic"))
    assert set(pages_of(made)) == {"README.md"}
    assert "](#spam)" in readme(made)
    assert "## topic" in readme(made)


@pytest.mark.slow
def test_what_people_wrote_stays_where_details_move_out() -> None:
    first = files(full(diagnostics=DIAGNOSTICS))
    text = readme(first).replace("# heads\n", "# Ours\n\nBy hand.\n") + "\n## Contact\n\nmail us\n"
    text = text.replace("<!-- adapterhub:about", "## Between\n\nalso ours\n\n<!-- adapterhub:about")
    made = files(*map(big, range(9)), before={**first, "README.md": text.encode()})
    kept = readme(made)
    order = ["# Ours\n\nBy hand.", "adapterhub:top", "## Between\n\nalso ours", "## Contact"]
    places = [kept.index(part) for part in order]
    assert places == sorted(places)
    assert "## spam" not in kept
    assert "[`spam`](tasks/spam.md)" in kept
    page = made["tasks/spam.md"].decode()
    assert "## spam" in page
    assert "![confusion](../figures/spam-confusion.png)" in page


@pytest.mark.slow
def test_what_people_wrote_in_a_page_stays() -> None:
    made = files(*map(big, range(9)))
    path = next(path for path in made if path.startswith("tasks/"))
    page = made[path].decode() + "\nA remark of ours.\n"
    name = path.removeprefix("tasks/").removesuffix(".md")
    number = int(name.rpartition("-")[2])
    again = files(big(number, seed=1, license="mit"), before={**made, path: page.encode()})
    found = again[path].decode()
    assert "Licence of the head: mit." in found
    assert found.endswith("\nA remark of ours.\n")
    assert found.count("## long-name") == 1
    assert f"## {name}" not in readme(again)


def test_a_page_that_was_there_before_is_kept() -> None:
    theirs = {"README.md": b"# Ours\n", "tasks/spam.md": b"# Notes of people\n\nText.\n"}
    there = Present(theirs["README.md"], theirs, theirs.__getitem__)
    content = merge(None, [full()], place=Path("registry.yaml")).content
    _, pages = lay_out("# Ours", content, {"spam": "## spam"}, repo=REPO, there=there, room=50_000)
    page = pages["tasks/spam.md"].decode()
    assert page.startswith("# Notes of people\n")
    assert "\nText.\n" in page
    assert "[card of this repository](../README.md)" in page
    assert "## spam" in page


def old_card(*names: str, length: int = 100) -> bytes:
    """Returns a card as it was laid out before there were pages."""
    note = "written by adapterhub; text outside of these marks is kept"
    sections = "\n\n".join(
        f"<!-- adapterhub:task:{name} ({note}) -->\n\n## {name}\n\n### Use\n\n"
        f"{'Old text. ' * length}\n\n![confusion](figures/{name}-confusion.png)\n\n"
        f"<!-- /adapterhub:task:{name} -->"
        for name in names
    )
    top = f"<!-- adapterhub:top ({note}) -->\n\nOld top.\n\n<!-- /adapterhub:top -->"
    return f"---\nlicense: mit\n---\n\n# heads\n\n{top}\n\n{sections}\n\n## Contact\n".encode()


def test_an_old_card_changes_over_without_leftovers() -> None:
    registry = {"registry.yaml": files(full(), full("topic"))["registry.yaml"]}
    made = files(full(seed=1), before={**registry, "README.md": old_card("spam", "topic")})
    text = readme(made)
    assert "Old top." not in text
    assert text.count("## spam") == text.count("## topic") == text.count("## Contact") == 1
    assert text.count("adapterhub:task:spam") == 2
    assert text.index("## topic") < text.index("## About adapterhub") < text.index("## Contact")


@pytest.mark.slow
def test_an_old_card_that_is_too_long_gets_pages() -> None:
    names = [f"task-{number}" for number in range(20)]
    registry = {"registry.yaml": files(*map(full, names))["registry.yaml"]}
    before = {**registry, "README.md": old_card(*names, length=300)}
    made = files(full("topic"), before=before)
    text = readme(made)
    assert "Old" not in text
    assert "adapterhub:task:" not in text
    assert text.count("](tasks/") == 21
    assert "](../figures/task-3-confusion.png)" in made["tasks/task-3.md"].decode()
    assert not re.search(r"\n{3,}", text)


def test_tasks_that_the_registry_lost_are_in_the_card_no_more() -> None:
    registry = {"registry.yaml": files(full())["registry.yaml"]}
    made = files(full(seed=1), before={**registry, "README.md": old_card("spam", "gone")})
    assert "## gone" not in readme(made)


@pytest.mark.slow
def test_what_is_said_of_a_task_goes_with_it(hub_server: HubServer) -> None:
    tasks = [big(number, examples=EXAMPLES) for number in range(9)]
    gone, old = tasks[0].name, tasks[1].name
    publish(REPO, tasks, PublishOptions(benchmarks=(f"{gone}=acme/bench:hard",)))
    remove_task(f"{REPO}:{gone}")
    deprecate_task(f"{REPO}:{old}", "Read the other one.")
    made = hub_server.files(REPO)
    assert not [path for path in made if gone in path]
    assert f"tasks/{old}.md" in made
    text = readme(made)
    assert gone not in text
    assert "**Deprecated:** " in text
    assert "Read the other one." in text
