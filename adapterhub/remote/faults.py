"""Translates errors of huggingface_hub into ours: what happened, and what the user can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from adapterhub.errors import (
    AdapterHubError,
    RemoteAccessError,
    RemoteError,
    RemoteNotFoundError,
    RemoteUnavailableError,
)
from adapterhub.remote.session import Failed, OutOfTime

_TOKENS = "https://huggingface.co/settings/tokens"
_NOT_LOGGED_IN = "Run `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True, slots=True)
class Action:
    """What a call does, for messages.

    Attributes:
        repo: `owner/name`, or the endpoint for calls about no repository.
        doing: The action, for instance `fetching registry.yaml`.
        revision: The requested revision, or None.
        writes: Whether it changes something on the Hub.
    """

    repo: str
    doing: str
    revision: str | None = None
    writes: bool = False

    @property
    def place(self) -> str:
        """Returns the repository and revision."""
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


def explain(error: Exception, action: Action, api: HfApi) -> AdapterHubError:
    """Returns our error for an error of the client that a retry cannot cure."""
    if isinstance(error, AdapterHubError):
        return error
    repo, place = action.repo, action.place
    if isinstance(error, GatedRepoError):
        return RemoteAccessError(
            repo,
            f"it is gated: its owner requires you to accept terms first. Do so at "
            f"{api.endpoint}/{repo} with the account of your token.",
            "gated",
        )
    if isinstance(error, RevisionNotFoundError):
        return RemoteNotFoundError(
            place,
            "there is no such commit, branch or tag. If it existed before, the repository was "
            "changed or recreated; `adapterhub search --remote` shows what is there now.",
        )
    if isinstance(error, LocalEntryNotFoundError):
        return RemoteUnavailableError(place, f"{action.doing} failed: {_reason(error)}")
    if isinstance(error, EntryNotFoundError):
        return RemoteNotFoundError(place, f"{action.doing} failed: there is no such file")
    if isinstance(error, HFValidationError):
        return RemoteNotFoundError(repo, "a name on the Hub is owner/name with plain letters")
    if isinstance(error, HfHubHTTPError):
        return _explain_status(error, action, api)
    return RemoteError(place, f"{action.doing} failed: {_scrubbed(_reason(error), api)}")


def _explain_status(error: HfHubHTTPError, action: Action, api: HfApi) -> RemoteError:
    status = error.response.status_code
    if status in (401, 403) or isinstance(error, RepositoryNotFoundError):
        return _explain_access(error, action, api)
    reason = _scrubbed(_reason(error), api)
    return RemoteError(action.place, f"{action.doing} failed with status {status}: {reason}")


def _explain_access(error: HfHubHTTPError, action: Action, api: HfApi) -> RemoteError:
    """Returns why access was refused; asks the Hub for the account of the token."""
    repo = action.repo
    if not api.token:
        hidden = isinstance(error, RepositoryNotFoundError)
        return _hidden(repo) if hidden else no_token(repo, action.doing)
    who = _who(api)
    if who is None:
        return RemoteAccessError(
            repo,
            f"{action.doing} was refused: the token has expired or was revoked. Create a new one "
            f"at {_TOKENS}. {_NOT_LOGGED_IN}.",
            "expired",
        )
    name = str(who.get("name", "this token"))
    mine = {name, *(str(org.get("name")) for org in who.get("orgs", ()))}
    role = (who.get("auth", {}).get("accessToken") or {}).get("role")
    owner = repo.partition("/")[0]
    if isinstance(error, RepositoryNotFoundError):
        return RemoteNotFoundError(
            repo, f"there is no such repository that '{name}' may see. Check the name."
        )
    if role == "read":
        return RemoteAccessError(
            repo,
            f"{action.doing} was refused: the token of '{name}' may only read. Create one that may "
            f"write at {_TOKENS}.",
            "read-only",
        )
    if who and owner not in mine:
        return RemoteAccessError(
            repo,
            f"{action.doing} was refused: '{name}' may not write for '{owner}', only for "
            f"{', '.join(sorted(mine))}.",
            "namespace",
        )
    text = f"{action.doing} was refused for '{name}': {_scrubbed(_reason(error), api)}"
    return RemoteAccessError(repo, text, "forbidden")


def _hidden(repo: str) -> RemoteAccessError:
    return RemoteAccessError(
        repo,
        f"there is no such public repository, and no token to look for a private one. Check the "
        f"name; if it is private: {_NOT_LOGGED_IN}.",
        "hidden",
    )


def no_token(repo: str, doing: str) -> RemoteAccessError:
    """Returns the error for a call that needs a token where there is none."""
    return RemoteAccessError(
        repo,
        f"{doing} needs a token that may write, and there is none. {_NOT_LOGGED_IN}; tokens are "
        f"created at {_TOKENS}.",
        "no-token",
    )


def _who(api: HfApi) -> dict[str, Any] | None:
    """Returns the account of the token; None if it is not valid, {} if the Hub does not say."""
    try:
        return api.whoami()
    except HfHubHTTPError as error:
        return None if error.response.status_code == 401 else {}
    except (Failed, OutOfTime):
        return {}


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _scrubbed(text: str, api: HfApi) -> str:
    return text.replace(api.token, "hf_…") if isinstance(api.token, str) else text
