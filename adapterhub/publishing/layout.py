"""The body of a card: the details of a few tasks are in it, those of many have pages of their own.

A card stays under `MOST_CARD_BYTES` for any number of tasks, unless what people wrote in it is
longer. Once a task has a page, all have: cards do not change back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, metadata

from adapterhub.publishing.marks import blocks, put, without
from adapterhub.publishing.rendering import render
from adapterhub.publishing.written import WRITTEN_PATH, read_written, written_file
from adapterhub.remote.parallel import in_parallel
from adapterhub.store.entries import RegistryContent

MOST_CARD_BYTES = 60_000
_MOST_WITH_DETAILS = 40_000
_SPARE = 3_000  # marks, line ends and sentences around the table
_FEWEST_BYTES = 1_000
_WIDTHS = (120, 60)  # characters of a description in the table, where these fit
LIST_PATH = "tasks.md"
_TOP, _TASK, _ABOUT, _LIST = "top", "task:", "about", "list"
_HEAD = """\
| task | kind | language | depths | metric | versions | description |
| --- | --- | --- | --- | --- | --- | --- |
"""


def _missing(path: str) -> bytes:
    raise FileNotFoundError(path)


@dataclass(frozen=True, slots=True)
class Present:
    """What a repository holds before a publication.

    Attributes:
        card: Its card, or None.
        files: Paths of its files.
        read: Returns the content of one.
        ids: Git's id of each file by path, as far as known.
    """

    card: bytes | None = None
    files: Collection[str] = ()
    read: Callable[[str], bytes] = _missing
    ids: Mapping[str, str] = field(default_factory=dict)

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Returns the content of those of the files that there are, by path."""
        known = [path for path in paths if path in self.files]
        return dict(zip(known, in_parallel(self.read, known), strict=True))


def page_path(task: str) -> str:
    """Returns the path of the page of a task."""
    return f"tasks/{task}.md"


@dataclass(frozen=True, slots=True)
class _Body:
    """A card's body, taken apart.

    Attributes:
        text: The body without the sections of tasks that are not in it any more.
        sections: The sections of tasks, the published ones new, by task.
        people: Size of what others wrote, in bytes.
        about: What the card says of adapterhub.
    """

    text: str
    sections: Mapping[str, str]
    people: int
    about: str


def lay_out(
    body: str,
    content: RegistryContent,
    sections: Mapping[str, str],
    *,
    repo: str,
    there: Present,
    room: int,
) -> tuple[str, dict[str, bytes]]:
    """Returns the body of a card, and the pages that are written beside it.

    Args:
        body: The current body; blocks of earlier versions are replaced or moved.
        content: The registry.
        sections: The sections of tasks that are published, by task.
        repo: `owner/name`.
        there: The repository.
        room: How many bytes the front matter leaves.
    """
    found = blocks(body)
    kept = {name: text for name, text in found.items() if name.startswith(_TASK)}
    old = {name.removeprefix(_TASK): text for name, text in kept.items()}
    gone = [f"{_TASK}{name}" for name in old if name not in content.tasks]
    taken = _Body(
        text=without(body, gone),
        sections={name: old[name] for name in old if name in content.tasks} | dict(sections),
        people=len(without(body, found).encode()),
        about=_about(repo),
    )
    details = sum(len(text.encode()) for text in taken.sections.values())
    has_pages = any(page_path(name) in there.files for name in content.tasks)
    if not has_pages and details <= _MOST_WITH_DETAILS:
        text = _with_sections(taken, content)
        if len(text.encode()) - taken.people <= _MOST_WITH_DETAILS - (MOST_CARD_BYTES - room):
            return text, {}
    return _with_pages(taken, content, there, room=room)


def _with_sections(body: _Body, content: RegistryContent) -> str:
    links = {name: f"#{name}" for name in body.sections}
    rows = list(_rows(content, links, _WIDTHS[0]))
    text = put(body.text, _TOP, _overview(content, rows, has_pages=False))
    for name, section in sorted(body.sections.items()):
        text = put(text, f"{_TASK}{name}", section, after=(_TASK, _TOP))
    return put(text, _ABOUT, body.about, after=(_TASK, _TOP))


def _with_pages(
    body: _Body, content: RegistryContent, there: Present, *, room: int
) -> tuple[str, dict[str, bytes]]:
    """Returns a body without details, and a page for each task that had a section."""
    pages = _pages(body, content, there)
    links = {
        name: page_path(name)
        for name in content.tasks
        if page_path(name) in pages or page_path(name) in there.files
    }
    left = room - body.people - len(body.about.encode()) - _SPARE
    rows: list[str] = []
    for width in _WIDTHS:
        every = list(_rows(content, links, width))
        rows = list(_fitting(every, max(left, _FEWEST_BYTES)))
        if len(rows) == len(every):
            break
    if len(rows) < len(content.tasks) or LIST_PATH in there.files:
        table = "\n".join(_rows(content, links, _WIDTHS[0]))
        every_task = render("list", table=_HEAD + table)
        before = there.read_all([LIST_PATH]).get(LIST_PATH)
        pages[LIST_PATH] = _page(before, _LIST, every_task)
    text = without(body.text, [f"{_TASK}{name}" for name in body.sections])
    text = put(text, _TOP, _overview(content, rows, has_pages=True))
    return put(text, _ABOUT, body.about, after=(_TOP,)), pages


def _pages(body: _Body, content: RegistryContent, there: Present) -> dict[str, bytes]:
    """Returns the pages of the tasks that had a section, and the record of those that are ours.

    Only pages that may have text of people are read.
    """
    if not body.sections:
        return {}
    known = read_written(there.read_all([WRITTEN_PATH]).get(WRITTEN_PATH))
    there_now = {name: _page_of(name, content, there) for name in body.sections}
    read = [path for path in there_now.values() if there.ids.get(path, "") != known.get(path)]
    before = there.read_all(read)
    pages = {
        page_path(name): _page(before.get(path), f"{_TASK}{name}", _moved(body.sections[name]))
        for name, path in there_now.items()
    }
    stay = {path: known[path] for path in map(page_path, content.tasks) if path in known}
    return {**pages, WRITTEN_PATH: written_file(stay, pages)}


def _page_of(name: str, content: RegistryContent, there: Present) -> str:
    """Returns the path of the page that a task has, or had under a former name."""
    former = [old for old, one in content.retired.items() if one.renamed == name]
    paths = [page_path(one) for one in (name, *former)]
    return next((path for path in paths if path in there.files), paths[0])


def _page(before: bytes | None, name: str, text: str) -> bytes:
    """Returns a page; what people wrote in it is kept."""
    there = (before or b"").decode(errors="replace")
    there = without(there, [one for one in blocks(there) if one.startswith(_TASK) and one != name])
    return (put(there, name, text).strip("\n") + "\n").encode()


def _moved(section: str) -> str:
    """Returns a section for a file in a folder of the repository; text of tasks has no links."""
    return render("page", section=section.replace("](figures/", "](../figures/"))


def _overview(content: RegistryContent, rows: Sequence[str], *, has_pages: bool) -> str:
    return render(
        "overview",
        table=_HEAD + "\n".join(rows),
        shown=len(rows),
        total=len(content.tasks),
        has_pages=has_pages,
        list_path=LIST_PATH,
    )


def _rows(content: RegistryContent, links: Mapping[str, str], width: int) -> Iterator[str]:
    for name, entry in sorted(content.tasks.items()):
        yield render("row", name=name, entry=entry, link=links.get(name), width=width)


def _fitting(rows: Iterable[str], most: int) -> Iterator[str]:
    size = 0
    for row in rows:
        size += len(row.encode()) + 1
        if size > most:
            return
        yield row


def _about(repo: str) -> str:
    owner, _, title = repo.partition("/")
    try:
        package = metadata("adapterhub")
    except PackageNotFoundError:
        version, addresses = "0+unknown", []
    else:
        version, addresses = package["Version"], package.get_all("Project-URL") or []
    places = [tuple(address.split(", ", 1)) for address in addresses if ", " in address]
    return render(
        "about",
        repo=repo,
        owner=owner.replace("_", r"\_"),
        title=title.replace("_", r"\_"),
        version=version,
        places=places,
    )
