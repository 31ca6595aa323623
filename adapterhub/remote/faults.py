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
from adapterhub.remote.reasons import reason_of, shown
from adapterhub.remote.session import Failed, OutOfTime

_TOKENS = "https://huggingface.co/settings/tokens"
_CARD_REFUSED = "Invalid metadata in README.md"
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
    refused = refusal(error)
    if refused is not None and str(error).startswith(_CARD_REFUSED):
        problem = f"the Hub refuses the front matter of README.md: {_reason(refused, api)}"
        return RemoteError(place, problem)
    if refused is not None:
        return _explain_refusal(refused, action, api)
    if isinstance(error, LocalEntryNotFoundError):
        problem = f"{action.doing} failed: it is not in the cache, and the Hub did not send it"
        return RemoteUnavailableError(place, problem)
    if isinstance(error, EntryNotFoundError):
        return RemoteNotFoundError(place, f"{action.doing} failed: there is no such file")
    if isinstance(error, HFValidationError):
        return RemoteNotFoundError(repo, "a name on the Hub is owner/name with plain letters")
    text = shown(str(error) or type(error).__name__, api.token)
    return RemoteError(place, f"{action.doing} failed: {text}")


def refusal(error: BaseException) -> HfHubHTTPError | None:
    """Returns the refusal of the Hub behind an error of the client, or None for other errors.

    The client hides some behind advice about the connection, or behind the name of a file.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, HfHubHTTPError):
            return found
        found = found.__cause__ or found.__context__
    return None


def why(error: HfHubHTTPError, token: str | bool | None = None) -> str:
    """Returns the Hub's own reason of a refusal for a message; empty if it gives none."""
    said = (error.server_message or "").strip()
    reason = said if said and not said.startswith("<") else _reason_in(error)
    return shown(reason, token).rstrip(". ")


def _reason_in(error: HfHubHTTPError) -> str:
    try:
        body = error.response.content
    except RuntimeError:  # nobody read it
        body = b""
    return reason_of(error.response.headers, body)


def _explain_refusal(error: HfHubHTTPError, action: Action, api: HfApi) -> RemoteError:
    place, status = action.place, error.response.status_code
    if isinstance(error, RevisionNotFoundError):
        return RemoteNotFoundError(
            place,
            "there is no such commit, branch or tag. If it existed before, the repository was "
            "changed or recreated; `adapterhub search --remote` shows what is there now.",
        )
    if isinstance(error, EntryNotFoundError):
        return RemoteNotFoundError(place, f"{action.doing} failed: there is no such file")
    if status in (401, 403) or isinstance(error, RepositoryNotFoundError | GatedRepoError):
        return _explain_access(error, action, api)
    said = why(error, api.token)
    means = f": {said}" if said else f" {error.response.reason_phrase}"
    return RemoteError(place, f"{action.doing} failed with status {status}{means}")


def _explain_access(
    error: HfHubHTTPError, action: Action, api: HfApi
) -> RemoteAccessError | RemoteNotFoundError:
    """Returns why access was refused; asks the Hub for the account of the token."""
    repo, reason = action.repo, f" The Hub says: {_reason(error, api)}."
    if isinstance(error, GatedRepoError):
        login = "" if api.token else f" {_NOT_LOGGED_IN}."
        return RemoteAccessError(
            repo,
            f"it is gated: its owner requires you to accept terms first. Do so at "
            f"{api.endpoint}/{repo} with the account of your token.{login}{reason}",
            "gated",
        )
    is_missing = isinstance(error, RepositoryNotFoundError)
    if not api.token:
        if action.writes:
            return no_token(repo, action.doing, reason)
        return _hidden(repo, reason) if is_missing else _no_reader(error, action, reason)
    who = _who(api)
    if who is None:
        return RemoteAccessError(
            repo,
            f"{action.doing} was refused: the token has expired or was revoked. Create a new one "
            f"at {_TOKENS}. {_NOT_LOGGED_IN}.{reason}",
            "expired",
        )
    name = str(who.get("name", "this token"))
    if is_missing:
        return RemoteNotFoundError(
            repo, f"there is no such repository that '{name}' may see. Check the name.{reason}"
        )
    return (_no_writer(action, who, reason) if action.writes else None) or RemoteAccessError(
        repo,
        f"{action.doing} was refused for '{name}': {_reason(error, api)}",
        "forbidden",
    )


def _no_writer(action: Action, who: dict[str, Any], reason: str) -> RemoteAccessError | None:
    """Returns why an account may not write there, or None if it is not for its rights."""
    repo, name = action.repo, str(who.get("name", "this token"))
    owner = repo.partition("/")[0]
    mine = {name, *(str(org.get("name")) for org in who.get("orgs", ()))}
    role = (who.get("auth", {}).get("accessToken") or {}).get("role")
    if role == "read":
        return RemoteAccessError(
            repo,
            f"{action.doing} was refused: the token of '{name}' may only read. Create one that may "
            f"write at {_TOKENS}.{reason}",
            "read-only",
        )
    if who and owner not in mine:
        return RemoteAccessError(
            repo,
            f"{action.doing} was refused: '{name}' may not write for '{owner}', only for "
            f"{', '.join(sorted(mine))}.{reason}",
            "namespace",
        )
    return None


def _reason(error: HfHubHTTPError, api: HfApi) -> str:
    """Returns the Hub's reason of a refusal, or else what its status means."""
    response = error.response
    return why(error, api.token) or f"status {response.status_code} {response.reason_phrase}"


def _no_reader(error: HfHubHTTPError, action: Action, reason: str) -> RemoteAccessError:
    return RemoteAccessError(
        action.repo,
        f"{action.doing} was refused, and there is no token.{reason} If your account may read "
        f"it: {_NOT_LOGGED_IN}.",
        "no-token" if error.response.status_code == 401 else "forbidden",
    )


def _hidden(repo: str, reason: str) -> RemoteAccessError:
    return RemoteAccessError(
        repo,
        f"there is no such public repository, and no token to look for a private one. Check the "
        f"name; if it is private: {_NOT_LOGGED_IN}.{reason}",
        "hidden",
    )


def no_token(repo: str, doing: str, reason: str = "") -> RemoteAccessError:
    """Returns the error for a call that needs a token that may write where there is none.

    Args:
        repo: `owner/name`.
        doing: The action.
        reason: What the Hub says, as a sentence.
    """
    return RemoteAccessError(
        repo,
        f"{doing} needs a token that may write, and there is none. {_NOT_LOGGED_IN}; tokens are "
        f"created at {_TOKENS}.{reason}",
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
