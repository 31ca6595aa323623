"""The Hub's download count: it counts requests for `config.json`, as of models of transformers."""

from __future__ import annotations

import contextlib

from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.utils._headers import build_hf_headers

from adapterhub.errors import RemoteError
from adapterhub.remote.calls import call
from adapterhub.remote.faults import Action
from adapterhub.remote.fetch import Commit
from adapterhub.remote.operation import briefly, operation
from adapterhub.remote.session import Failed, stream

CONFIG_NAME = "config.json"


def count_download(commit: Commit) -> None:
    """Requests the file that the Hub counts, once; the load does not depend on what comes of it."""
    if commit.place.offline or (commit.files is not None and CONFIG_NAME not in commit.files):
        return

    def request(api: HfApi) -> None:
        url = hf_hub_url(commit.repo, CONFIG_NAME, revision=commit.oid, endpoint=api.endpoint)
        # One attempt, and no redirect followed: the content does not matter.
        with (
            contextlib.suppress(Failed),
            stream(url, build_hf_headers(token=api.token, library_name="adapterhub")),
        ):
            return

    with operation() as running:
        mine = object()
        if running.kept.setdefault((count_download, commit), mine) is not mine:
            return  # another file of the same call
    # Out of time, for instance; the task itself is there.
    with briefly(), contextlib.suppress(RemoteError):
        call(commit.place, Action(commit.repo, "counting the download", commit.oid[:12]), request)
