"""Our text in files that people edit as well: it stands between marks, and the rest is kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_ATTENTION = "written by adapterhub; text outside of these marks is kept"
_BLOCK = re.compile(
    r"<!-- adapterhub:(?P<name>[a-z][a-z0-9_:-]*) \([^\n]*\) -->\n*(?P<text>.*?)\n*"
    r"<!-- /adapterhub:(?P=name) -->",
    re.DOTALL,
)


def blocks(body: str) -> dict[str, str]:
    """Returns the text of each block of ours by its name."""
    return {found["name"]: found["text"] for found in _BLOCK.finditer(body)}


def put(body: str, name: str, text: str, *, after: Sequence[str] = ()) -> str:
    """Returns the body with a block replaced, or inserted where there is none.

    Args:
        body: The text of a file.
        name: Name of the block.
        text: Its content.
        after: It is put behind the last block whose name begins with the first of these, else
            with the second, and so on; where there is none, below the title.
    """
    start, end = f"<!-- adapterhub:{name} ({_ATTENTION}) -->", f"<!-- /adapterhub:{name} -->"
    block = f"{start}\n\n{text}\n\n{end}"
    found = list(_BLOCK.finditer(body))
    for own in found:
        if own["name"] == name:
            return body[: own.start()] + block + body[own.end() :]
    title = re.match(r"#[^\n]*\n*", body)
    place = title.end() if title else 0
    for prefix in reversed(after):
        place = max((own.end() for own in found if own["name"].startswith(prefix)), default=place)
    return f"{body[:place].rstrip()}\n\n{block}\n\n{body[place:].lstrip()}".strip("\n")


def without(body: str, names: Collection[str]) -> str:
    """Returns the body without the blocks of these names."""

    def left(found: re.Match[str]) -> str:
        return "" if found["name"] in names else found[0]

    text = _BLOCK.sub(left, body)
    return text if text == body else re.sub(r"\n{3,}", "\n\n", text).strip("\n")
