"""One file of a commit: its bytes into memory, continued where a transfer broke off."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import _is_same_or_hub_host, hf_raise_for_status

from adapterhub.errors import RemoteContentError
from adapterhub.remote.session import Failed, storage_failure, stream
from adapterhub.store.header import MAX_FILE_BYTES

if TYPE_CHECKING:
    from httpx2 import Response

_MOST_REDIRECTS = 10
_BEYOND_THE_END = 416
_IDENTITY = ("", "identity")


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file as it arrived.

    Attributes:
        data: Its bytes, not verified yet.
        name: The Hub's id of it.
    """

    data: bytes
    name: str


class Transfer:
    """The download of one file, in as many attempts as it takes.

    Each attempt asks the Hub anew where the file is, because links into its storage expire, and
    asks there for what is missing.
    """

    def __init__(self, repo: str, oid: str, path: str) -> None:
        self._repo = repo
        self._oid = oid
        self._path = path
        self._data = bytearray()
        self._most = 0
        self._id: str | None = None
        self._size: int | None = None

    def attempt(self, api: HfApi) -> Downloaded:
        """Returns the whole file.

        Raises:
            Failed: The transfer broke off; the next attempt continues it.
            HfHubHTTPError: The Hub refuses it.
            RemoteContentError: It is longer than MAX_FILE_BYTES.
        """
        if self._id is not None and len(self._data) == self._size:
            return Downloaded(bytes(self._data), self._id)
        try:
            return self._follow(api)
        except Failed as fault:
            fault.gained = max(0, len(self._data) - self._most)
            self._most = max(self._most, len(self._data))
            raise

    def _follow(self, api: HfApi) -> Downloaded:
        url = hf_hub_url(self._repo, self._path, revision=self._oid, endpoint=api.endpoint)
        headers = build_hf_headers(token=api.token, library_name="adapterhub")
        # Of compressed bytes nobody could say where they broke off.
        headers["Accept-Encoding"] = "identity"
        if self._data:
            headers["Range"] = f"bytes={len(self._data)}-"
        is_hub = True
        for _ in range(_MOST_REDIRECTS):
            with stream(url, headers) as response:
                if response.status_code == _BEYOND_THE_END:
                    self._data.clear()
                    raise Failed("the transfer cannot be continued")
                if is_hub:
                    hf_raise_for_status(response)
                    self._identify(response)
                elif response.is_error:
                    # It knows nothing of tasks and tokens; the link has expired, or it is ill.
                    raise storage_failure(response)
                if not response.has_redirect_location:
                    return self._read(response)
                target = urljoin(url, response.headers["Location"])
            if not _is_same_or_hub_host(url, target):
                headers.pop("authorization", None)
                is_hub = False
            url = target
        raise Failed(f"it was redirected {_MOST_REDIRECTS} times")

    def _identify(self, response: Response) -> None:
        """Reads what the Hub says of the file, in any of its responses on the way to it."""
        found = response.headers.get("X-Linked-ETag") or response.headers.get("ETag")
        if response.headers.get("X-Repo-Commit") is not None and found:
            self._id = found.removeprefix("W/").strip('"')
        size = response.headers.get("X-Linked-Size", "")
        if size.isdigit():
            self._size = int(size)

    def _read(self, response: Response) -> Downloaded:
        if self._id is None:
            raise Failed(
                "the response has no X-Repo-Commit or no ETag, so it is not the Hub's; something "
                "between here and there may have sent it"
            )
        start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if response.status_code != 206 or start is None or int(start[1]) != len(self._data):
            self._data.clear()
        if response.status_code == 206 and start is not None and int(start[1]) > len(self._data):
            raise Failed("the response has another part of the file")
        plain = response.headers.get("Content-Encoding", "").lower() in _IDENTITY
        try:
            for part in response.iter_bytes():
                self._data += part
                if len(self._data) > MAX_FILE_BYTES:
                    raise RemoteContentError(
                        f"{self._repo}@{self._oid[:12]}",
                        f"{self._path} is longer than {MAX_FILE_BYTES} bytes",
                    )
                if self._size is not None and len(self._data) > self._size:
                    break  # wrong, whatever follows
        except Exception:
            if not plain:
                self._data.clear()
            raise
        if self._size is not None and len(self._data) < self._size:
            raise Failed(f"the transfer ended after {len(self._data)} of {self._size} bytes")
        return Downloaded(bytes(self._data), self._id)
