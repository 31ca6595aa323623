"""Which backbone is meant, and its source -> a local folder; without torch.

The form of a source decides, not what exists: `package:<name>` ships with adapterhub; a Path, or
what starts with `./`, `../`, `/` or `~`, is a folder; `owner/name` or `owner/name@revision` is on
the Hub.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from adapterhub.errors import BackboneError, UsageError, check_type
from adapterhub.model.backbone.config import check_config, config_depth
from adapterhub.model.backbone.sentence_files import encoder_folder
from adapterhub.model.backbone.weight_files import check_weights
from adapterhub.remote.cache import cached_oid, find_cached
from adapterhub.remote.calls import Place, current_place, plain
from adapterhub.remote.faults import refusal, why
from adapterhub.remote.fetch import COMMIT
from adapterhub.remote.outages import remember, remembered
from adapterhub.remote.reasons import shown
from adapterhub.remote.session import Failed, OutOfTime, limited
from adapterhub.store.paths import absolute_path
from adapterhub.store.registries import Registries, as_registries
from adapterhub.store.registry import Registry

_Source = TypeVar("_Source")

SHIPPED = "package:small-bilingual"

REQUEST_SECONDS = 10.0
"""Time limit of one request to the Hub, in seconds."""
FETCH_SECONDS = 1_800.0
"""Time limit for all files of a backbone, in seconds; XLM-RoBERTa large has 2.2 GB."""

_log = logging.getLogger("adapterhub")

_NAME = r"\w[\w.-]*"
_HUB_NAME = re.compile(rf"(hub:)?({_NAME}/{_NAME}?)(?:@([\w./-]+))?")
_ADDRESS = re.compile(rf"https?://[\w.:-]+/({_NAME}/{_NAME})")
_PACKAGE_NAME = re.compile(r"package:([a-z0-9][a-z0-9._-]*)")


def is_folder(source: str | Path) -> bool:
    """Returns whether a source has the form of a folder, which need not exist."""
    if isinstance(source, Path) or source in (".", ".."):
        return True
    return source.startswith(("./", "../", "/", "~")) or os.path.isabs(source)


def absolute_source(source: _Source) -> _Source | Path:
    """Returns what names the same backbone wherever the process works from now on.

    Only a folder does not: what else a caller may give is returned as it is.
    """
    if isinstance(source, str | Path) and is_folder(source):
        return absolute_path(source, "backbone")
    return source


def locate(
    source: str | Path, *, revision: str | None = None, only: Sequence[str]
) -> tuple[Path, str | None]:
    """Returns the folder of `source`, fetched if it is on the Hub, and the commit or None.

    Args:
        source: As in `open_backbone`.
        revision: Commit, tag or branch on the Hub; also written `owner/name@revision`.
        only: Names of the files to fetch from the Hub.

    Raises:
        BackboneError: `source` is malformed, missing, or cannot be fetched.
    """
    folder = _local(source)
    if folder is not None:
        return folder, None
    repository, own = _on_hub(str(source), revision)
    return fetch(repository, own, only=only)


def _local(source: str | Path) -> Path | None:
    """Returns the folder of a source that is one, or ships with adapterhub; None for another."""
    text = str(source)
    if is_folder(source):
        return _existing(absolute_path(source, "backbone"), text)
    if not text.startswith("package:"):
        return None
    name = _PACKAGE_NAME.fullmatch(text)
    if name is None:
        raise BackboneError(text, "after package: comes the name of a shipped backbone")
    return _existing(Path(str(files("adapterhub"))) / "backbones" / name[1], text)


def _on_hub(text: str, revision: str | None) -> tuple[str, str | None]:
    """Returns `owner/name` and the revision of a source on the Hub."""
    match = _HUB_NAME.fullmatch(text)
    if match is None:
        raise BackboneError(
            text,
            f"is neither a folder (./name or /name), nor package:<name>, nor a Hub name "
            f"(owner/name or owner/name@revision). {how_to_name(text)}",
        )
    wanted = revision or match[3]
    if Path(text).exists() and wanted is None and match[1] is None:
        raise BackboneError(
            text, f"is a Hub name, and a path here too; write ./{text} or hub:{text}"
        )
    return match[2], wanted


def check_source(source: str | Path) -> int | None:
    """Checks, without torch, that a backbone may open: its name, and the files of a folder.

    Returns:
        The number of its depths; None where only the Hub or transformers can tell.

    Raises:
        BackboneError: The name is malformed, the folder is missing, or it is no encoder's.
    """
    folder = _local(source)
    if folder is None:
        _on_hub(str(source), None)
        return None
    own = encoder_folder(folder)
    check_config(own)
    check_weights(own)
    return config_depth(own)


def check_backbone(registry: Registries | Registry, backbone: str | Path | None) -> int | None:
    """Checks, without torch, the backbone that `choose_backbone` opens; returns as `check_source`.

    Args:
        registry: As in `choose_source`.
        backbone: As in `choose_source`.

    Raises:
        UsageError: As `choose_source`.
        BackboneError: As `check_source`.
    """
    chosen = choose_source(registry, backbone)
    return check_source(registered_source(*chosen) if isinstance(chosen, tuple) else chosen)


def registered_source(registry: Registry, key: str) -> str | Path:
    """Returns the source of a backbone; a folder is relative to that of the registry."""
    entry = registry.backbones[key]
    source = entry.source
    if source.startswith("package:"):
        return source
    if is_folder(source) and not source.startswith("~"):
        return registry.path.parent / source
    if entry.revision is None:
        raise BackboneError(
            source,
            f"the registry {registry.path} gives its '{key}' no revision, as a Hub name needs. A "
            f"folder is written ./name, ../name or /name, from the registry's folder.",
        )
    return source


def choose_source(
    registry: Registries | Registry, backbone: str | Path | None
) -> tuple[Registry, str] | str | Path:
    """Returns which backbone is meant: the registry and its key, or a source.

    Args:
        registry: The registry that has backbones by key, or several.
        backbone: A key of a registry, or a source as in `open_backbone`; None for the only one,
            or the only one that no task's training made.

    Raises:
        UsageError: `backbone` is None and there is not exactly one of these, or it is a key that
            registries have for different ones.
        BackboneError: It is no key, and no source either.
    """
    check_type(backbone, (str, Path, type(None)), "The backbone", "a key, a folder or a name")
    registries = as_registries(registry)
    named = [listed for listed in registries.backbones if backbone in (None, listed[1])]
    if backbone is None:
        # What the training of a task made is for that task: all others go on as before.
        named = [one for one in named if not one[2].was_made_by_training] or named
    prints = {entry.fingerprint for _, _, entry in named}
    if len(prints) == 1:
        return named[0][:2]
    if backbone is None or named:
        raise UsageError(
            f"{registries.noun.capitalize()} {registries.text} "
            f"{'names' if registries.is_one else 'name'} {len(prints)} backbones "
            f"({registries.keys}); say which one with --backbone (backbone=… in Python)"
        )
    text = str(backbone)
    if "/" not in text and not is_folder(backbone) and not text.startswith("package:"):
        raise BackboneError(
            text,
            f"is no key of the {registries.noun} {registries.text}, which "
            f"{'has' if registries.is_one else 'have'} {registries.keys}. {how_to_name(text)}",
        )
    return backbone


def hub_name(source: str | Path) -> str | None:
    """Returns `owner/name` if `source` is on the Hub, else None."""
    match = None if is_folder(source) else _HUB_NAME.fullmatch(str(source))
    return None if match is None else match[2]


def how_to_name(text: str) -> str:
    """Returns how to write what was probably meant by a name that has no valid form."""
    address = _ADDRESS.match(text)
    if address is not None:
        return f"Of an address, this is the name: {address[1]}"
    if text != "" and Path(text).is_dir():
        return f"There is a folder of this name: write ./{text}"
    return (
        "A folder is written ./name; a Hub name has its owner before it, as in "
        "google-bert/bert-base-uncased"
    )


def fetch(repository: str, revision: str | None, *, only: Sequence[str]) -> tuple[Path, str]:
    """Returns the snapshot folder and the commit, from the cache if the Hub cannot be reached.

    Raises:
        BackboneError: It does not exist, cannot be reached, or takes too long.
    """
    source = f"{repository}@{revision}" if revision else repository
    place = current_place()
    try:
        folder = _within(
            FETCH_SECONDS,
            lambda bar: _newest_or_cached(place, repository, revision, only=only, bar=bar),
        )
    except TimeoutError as error:
        raise BackboneError(
            source,
            f"was not fetched from the Hub ({place.endpoint}) within {FETCH_SECONDS:g} s. Try "
            f"again: finished files are kept; or download it yourself and give its folder.",
        ) from error
    # The client passes on errors of its HTTP library, which have no common class.
    except Exception as error:
        refused = refusal(error)
        if refused is None and isinstance(error, LocalEntryNotFoundError):
            problem = "is not in the local cache and the Hub cannot be reached"
        else:
            reason = _reason(refused or error, place.token)
            problem = f"cannot be fetched from the Hub: {reason}"
        raise BackboneError(source, problem) from plain(error, place.token)
    # snapshot_download names the folder after the commit.
    return Path(folder), Path(folder).name


def _newest_or_cached(
    place: Place, repository: str, revision: str | None, *, only: Sequence[str], bar: type[tqdm]
) -> str:
    """Returns the snapshot folder; the cached one where the Hub does not respond."""

    def download(*, offline: bool) -> str:
        return snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(only),
            etag_timeout=REQUEST_SECONDS,
            tqdm_class=bar,
            endpoint=place.endpoint,
            cache_dir=place.cache,
            token=place.token or False,
            local_files_only=offline,
        )

    if place.offline:
        return download(offline=True)
    wanted = revision or "main"
    is_fixed = COMMIT.fullmatch(wanted) is not None
    oid = wanted if is_fixed else cached_oid(place, repository, wanted) or ""
    is_cached = any(find_cached(place, repository, oid, name, None) for name in only if oid)
    why = remembered(place.endpoint) if is_cached else None
    if why is None:
        try:
            with limited(brief=is_cached):
                return download(offline=False)
        except (Failed, OutOfTime) as error:
            why = str(error)
            if isinstance(error, Failed) and error.away:
                remember(place.endpoint, why)
            if not is_cached:
                raise
    if not is_fixed:
        _log.warning("Hub %s: using the cached commit %s: %s", repository, oid[:12], why)
    return download(offline=True)


def _reason(error: Exception, token: str | None) -> str:
    """Returns why something was not fetched, in one line."""
    if isinstance(error, GatedRepoError):
        return "its owner wants its terms accepted first, on its page, by the account of the token"
    if isinstance(error, RepositoryNotFoundError):
        return "there is no such repository, or it is private and needs a token (hf auth login)"
    if isinstance(error, RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, HfHubHTTPError):
        reason = why(error, token) or error.response.reason_phrase
        return f"status {error.response.status_code}: {reason}"
    return shown(str(error) or repr(error), token)


def _within(seconds: float, download: Callable[[type[tqdm]], str]) -> str:
    """Runs `download` in a thread with a progress bar class and returns its result.

    The client limits each wait for bytes but not their sum: a server that sends a few at a time
    would block it for ever. The client calls the bar between parts, so the bar stops the threads
    of a download after its time limit.

    Raises:
        TimeoutError: It has not ended in time.
    """
    deadline = time.monotonic() + seconds
    stopped = threading.Event()
    outcome: list[str | BaseException] = []

    class Bar(tqdm):
        def update(self, n: float | None = 1) -> Any:
            if stopped.is_set():
                raise TimeoutError
            return super().update(n)

    def work() -> None:
        try:
            outcome.append(download(Bar))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name="adapterhub-fetch", daemon=True)
    thread.start()
    try:
        thread.join(max(deadline - time.monotonic(), 0))
    finally:
        stopped.set()
    if not outcome:
        raise TimeoutError
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _existing(folder: Path, source: str) -> Path:
    if folder.is_dir():
        return folder.resolve()
    if folder.is_file():
        # As it was written: a Path would drop the ./ that makes it a folder.
        parent = os.path.dirname(source) or "."
        raise BackboneError(source, f"is a file; give its folder: {parent}")
    beside = {
        path.name.lower(): path.name for path in folder.parent.glob("*") if os.path.isdir(path)
    }
    near = difflib.get_close_matches(folder.name.lower(), beside, n=1)
    hint = f". Beside it is {beside[near[0]]}" if near else ""
    raise BackboneError(source, f"no such folder: {folder}{hint}")
