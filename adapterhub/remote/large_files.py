"""Uploads the large files of a commit: few requests about them, and several at a time.

The Hub's client would upload several files in threads of its own, where our limits do not apply.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.lfs import lfs_upload, post_lfs_batch_info
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from adapterhub.errors import RemoteError
from adapterhub.remote.calls import Place, call
from adapterhub.remote.faults import Action
from adapterhub.remote.fetch import Commit
from adapterhub.remote.operation import operation
from adapterhub.remote.parallel import in_parallel

_BATCH = 256


class Uploads:
    """The large files that one publication uploaded; each goes once for all its attempts.

    Attributes:
        unsure: How many commits were sent without a response.
    """

    def __init__(self) -> None:
        self.unsure = 0
        self._there: set[str] = set()

    def send(
        self, parent: Commit, files: Mapping[str, bytes], *, revision: str | None
    ) -> dict[str, CommitOperationAdd]:
        """Uploads files that are not there yet; returns the client's operation for each path.

        Args:
            parent: The commit that they will be added to.
            files: Content by path.
            revision: The branch, whose protection applies; None for a pull request.

        Raises:
            RemoteError: The Hub refuses one, or cannot be reached.
        """
        made = {path: CommitOperationAdd(path, io.BytesIO(data)) for path, data in files.items()}
        missing = {_digest(one): one for one in made.values() if _digest(one) not in self._there}
        with operation():
            for part in _parts(missing, _BATCH):
                self._send(parent, part, revision)
        for one in made.values():
            # Otherwise the client asks again about each.
            one._upload_mode, one._is_uploaded = "lfs", True
        return made

    def _send(
        self, parent: Commit, files: Mapping[str, CommitOperationAdd], revision: str | None
    ) -> None:
        places = {one["oid"]: one for one in _places(parent, files, revision)}
        wanted = [oid for oid in files if places.get(oid, {}).get("actions")]
        self._there |= {*files} - {*wanted}

        def upload(oid: str) -> None:
            _upload(parent, files[oid], places[oid], revision)
            self._there.add(oid)

        in_parallel(upload, wanted)


def _upload(
    parent: Commit, file: CommitOperationAdd, place: dict[str, Any], revision: str | None
) -> None:
    known = [place]

    def send(api: HfApi) -> None:
        # An address is signed for some time only: another attempt asks for another one.
        places = [known.pop()] if known else _places(parent, {_digest(file): file}, revision)
        for one in places:
            if isinstance(file.path_or_fileobj, io.BytesIO):
                file.path_or_fileobj.seek(0)  # where an attempt before left it
            headers, token = _headers(parent.place), parent.place.token
            lfs_upload(file, one, token=token, headers=headers, endpoint=api.endpoint)

    call(parent.place, Action(parent.repo, f"uploading {file.path_in_repo}", writes=True), send)


def _places(
    parent: Commit, files: Mapping[str, CommitOperationAdd], revision: str | None
) -> Sequence[dict[str, Any]]:
    """Returns where files go, of each its `oid`, with `actions` unless it is there."""
    action = Action(parent.repo, "preparing the upload", writes=True)

    def ask(api: HfApi) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str | None]:
        return post_lfs_batch_info(
            [file.upload_info for file in files.values()],
            token=parent.place.token,
            repo_type="model",
            repo_id=parent.repo,
            revision=revision,
            endpoint=api.endpoint,
            headers=_headers(parent.place),
            transfers=["basic", "multipart"],
        )

    places, refused, _ = call(parent.place, action, ask)
    for one in refused:
        path = files[one["oid"]].path_in_repo
        raise RemoteError(parent.repo, f"uploading {path} was refused: {one['error']['message']}")
    return places


def _headers(place: Place) -> dict[str, str]:
    headers: dict[str, str] = build_hf_headers(token=place.token, library_name="adapterhub")
    return headers


def _digest(file: CommitOperationAdd) -> str:
    return file.upload_info.sha256.hex()


def _parts(
    files: Mapping[str, CommitOperationAdd], size: int
) -> Iterator[dict[str, CommitOperationAdd]]:
    items = iter(files.items())
    while part := dict(islice(items, size)):
        yield part
