"""Which pages of a repository hold nothing but our text, so that they need not be read back.

The record is a file beside the pages: git's id of each one as it was written. Where the Hub lists
another id, a person has changed the page since, or an earlier version wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from adapterhub.publishing.marks import blocks, without
from adapterhub.remote.fetch import git_id

WRITTEN_PATH = "tasks/written.json"


def read_written(data: bytes | None) -> dict[str, str]:
    """Returns git's id of each page as it was written, by path; empty without a usable record."""
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {path: one for path, one in found.items() if isinstance(one, str)}


def written_file(before: Mapping[str, str], pages: Mapping[str, bytes]) -> bytes:
    """Returns the record after pages were written.

    Args:
        before: The record of the pages that stay, by path.
        pages: Content of those that are written, by path.
    """
    own = {path: git_id(data) for path, data in pages.items() if _is_ours(data)}
    kept = {path: one for path, one in before.items() if path not in pages}
    return (json.dumps({**kept, **own}, indent=0, sort_keys=True) + "\n").encode()


def _is_ours(page: bytes) -> bool:
    """Returns whether a page has no text of a person."""
    text = page.decode(errors="replace")
    return not without(text, blocks(text)).strip()
