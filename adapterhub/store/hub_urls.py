"""Addresses of the Hub, as people paste them, turned into names. No address is ever fetched.

    https://huggingface.co/owner/repo                            owner/repo
    https://huggingface.co/owner/repo/tree/v1                    owner/repo@v1
    https://huggingface.co/owner/repo/blob/main/heads/x.safetensors    owner/repo:x:1
    hf://owner/repo@v1                                           owner/repo@v1

An address of a repository may be followed by `:task` as a name is.
"""

from __future__ import annotations

import os
import re
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from adapterhub.errors import UsageError

_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|(www\.)?(huggingface|hf)\.co/", re.IGNORECASE)
_PAGES = frozenset({"tree", "blob", "resolve", "raw", "commits", "commit"})
_OTHERS = frozenset({"datasets", "spaces", "papers", "collections", "docs", "buckets", "kernels"})
_PAGE = re.compile(r"tasks/([a-z0-9][a-z0-9_-]*)\.md")
_HEAD = re.compile(r"heads/([a-z0-9][a-z0-9_-]*)(?:\.([1-9][0-9]*))?\.safetensors")


def is_address(text: str) -> bool:
    """Returns whether a text is an address and not a name: it begins with a scheme or the Hub."""
    return _ADDRESS.match(text) is not None


def name_of(text: str) -> str:
    """Returns the name of the repository or task that an address of the Hub is of.

    Raises:
        UsageError: It is not an address of a model repository on the Hub.
    """
    if text.lower().startswith("hf://"):
        return _uri(text)
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError as error:
        raise UsageError(f"{text[:200]!r} is no address: {error}.") from error
    if "@" in parts.netloc:
        raise UsageError(
            f"The address holds a user name or a token; write it without: "
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]
        )
    path = _below_endpoint(parts)
    if path is None:
        raise UsageError(
            f"{text[:200]!r} is not on the Hub (huggingface.co, or HF_ENDPOINT); write "
            f"owner/repository or owner/repository:task."
        )
    _, mark, task = unquote(path).partition(":")
    names = [part for part in path.partition(":")[0].split("/") if part]
    if len(names) < 2 or names[0] in _OTHERS:
        _refuse(text)
    repo = "/".join(map(unquote, names[:2])).removesuffix(".git")
    if len(names) == 2:
        return f"{repo}{mark}{task}"
    if names[2] == "discussions" and len(names) > 3 and names[3].isdigit():
        return f"{repo}@refs/pr/{names[3]}{mark}{task}"
    if names[2] not in _PAGES or len(names) < 4:
        _refuse(text)
    revision, file = unquote(names[3]), "/".join(map(unquote, names[4:]))
    if mark and not file:
        return f"{_at(repo, revision)}{mark}{task}"
    return _with_file(_at(repo, revision), file)


def _below_endpoint(parts: SplitResult) -> str | None:
    """Returns the path of an address below the Hub's, or None if it is of another host."""
    own = urlsplit(os.environ.get("HF_ENDPOINT", "").rstrip("/"))
    if own.netloc and parts.netloc.lower() == own.netloc.lower():
        return parts.path.removeprefix(own.path)
    return parts.path if parts.netloc.lower() in _HOSTS and parts.scheme != "ftp" else None


def _uri(text: str) -> str:
    """Returns the name in a URI of the Hub's client: `hf://[models/]owner/repo[@revision][/file]`."""
    rest, mark, task = text[len("hf://") :].partition(":")
    names = [part for part in rest.removeprefix("models/").split("/") if part]
    if len(names) < 2 or names[0] in _OTHERS:
        _refuse(text)
    name, at, revision = names[1].partition("@")
    if at and name:
        # A revision such as refs/pr/1 has slashes of its own, as in the client.
        special = re.match(r"refs/(?:pr|convert)/[^/]+", "/".join([revision, *names[2:]]))
        taken = special[0] if special else revision
        names = [*names[:1], name, *"/".join([revision, *names[2:]])[len(taken) :].split("/")]
        revision = unquote(taken)
    place = _at(f"{names[0]}/{name}", revision)
    file = "/".join(filter(None, names[2:]))
    return f"{place}{mark}{task}" if mark else _with_file(place, file)


def _at(repo: str, revision: str) -> str:
    return repo if revision in ("", "main") else f"{repo}@{revision}"


def _with_file(place: str, file: str) -> str:
    """Returns the name of the task whose head file or page it is; others mean the repository."""
    page = _PAGE.fullmatch(file)
    if page is not None:
        return f"{place}:{page[1]}"
    found = _HEAD.fullmatch(file)
    return place if found is None else f"{place}:{found[1]}:{found[2] or 1}"


def _refuse(text: str) -> NoReturn:
    raise UsageError(
        f"{text[:200]!r} is not the address of a model repository; it is like "
        f"https://huggingface.co/owner/repository. Or write owner/repository:task."
    )
