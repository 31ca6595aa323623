"""Who may do what, and how the Hub says that somebody may not."""

from __future__ import annotations

from tests.hubserver.state import Account, Refused, Repository, State


def account_of(state: State, authorization: str | None) -> Account | None:
    """Returns whose token came along, or None where none did."""
    if not authorization:
        return None
    token = authorization.removeprefix("Bearer ")
    account = state.accounts.by_token.get(token)
    if account is None:
        raise Refused(401, "Invalid credentials in Authorization header")
    if account.expired:
        # Some proxies repeat what they were sent.
        raise Refused(401, f'User Access Token "{token}" is expired', in_header=False)
    return account


def readable(state: State, name: str, account: Account | None) -> Repository:
    """Returns a repository whose existence the account may know of."""
    repository = state.repositories.get(name)
    hidden = repository is not None and repository.private
    if repository is None or (
        hidden and (account is None or repository.owner not in account.namespaces)
    ):
        raise Refused(404 if account else 401, "Repository not found", "RepoNotFound")
    return repository


def opened(state: State, name: str, account: Account | None) -> Repository:
    """Returns a repository whose files the account may read."""
    repository = readable(state, name, account)
    mine = account is not None and (
        repository.owner in account.namespaces or account.name in repository.granted
    )
    if repository.gated and not mine:
        message = f"Access to model {name} is restricted and you are not in the authorized list."
        raise Refused(403 if account else 401, message, "GatedRepo")
    return repository


def writable(state: State, name: str, account: Account | None) -> Repository:
    """Returns a repository that the account may change."""
    if account is None:
        raise Refused(401, "Invalid username or password.")
    repository = readable(state, name, account)
    may_write(repository.owner, account)
    return repository


def may_write(owner: str, account: Account | None) -> None:
    if account is None:
        raise Refused(401, "Invalid username or password.")
    if account.role == "read":
        raise Refused(403, "You don't have the required permissions to perform this action")
    if owner not in account.namespaces:
        raise Refused(403, f'You don\'t have the rights to create a model under "{owner}"')
