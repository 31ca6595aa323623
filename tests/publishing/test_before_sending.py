"""What would end badly is refused before anything is sent: visibility, tags, pull requests."""

from __future__ import annotations

from typing import Any

import pytest

from adapterhub.errors import RemoteError, UsageError
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from tests.hubserver.server import HubServer
from tests.publishing.tasks import DEFAULTS, REPO, put, to_publish

pytestmark = pytest.mark.slow


def options(**changes: Any) -> PublishOptions:
    return DEFAULTS.model_copy(update=changes)


def sent(server: HubServer) -> list[tuple[str, str]]:
    """Returns the requests that change something."""
    return [(method, path) for method, path in server.faults.log if method not in ("GET", "HEAD")]


@pytest.mark.parametrize(
    "change", [{}, {"dry_run": True}, {"create_pr": True}, {"revision": "next"}], ids=str
)
def test_private_into_a_public_repository_is_refused(
    change: dict[str, Any], hub_server: HubServer
) -> None:
    put("spam")
    before = hub_server.files(REPO)
    hub_server.faults.log.clear()
    with pytest.raises(
        UsageError, match=r"heads is public.*/acme/heads/settings.*without --private"
    ):
        publish(REPO, [to_publish("topic")], options(private=True, **change))
    assert sent(hub_server) == []
    assert hub_server.files(REPO) == before


def test_private_says_so_too_where_nothing_is_new(hub_server: HubServer) -> None:
    put("spam")
    with pytest.raises(UsageError, match="is public"):
        publish(REPO, [to_publish("spam")], options(private=True))


def test_private_into_a_private_repository_is_fine(hub_server: HubServer) -> None:
    for seed in (0, 1):
        publish(REPO, [to_publish("spam", seed=seed)], options(private=True))
    publish(REPO, [to_publish("spam", seed=2)], DEFAULTS)
    assert hub_server.repository(REPO).private


@pytest.mark.parametrize(
    "tag",
    ["main", "HEAD", "head", "refs/heads/x", "refs", "a..b", "v1.", "v1.lock", "x/y", "-v", "@"],
)
def test_a_tag_that_cannot_be_one_is_refused_before_anything_is_asked(
    tag: str, hub_server: HubServer
) -> None:
    with pytest.raises(UsageError, match=f"The tag '{tag}' is not allowed"):
        publish(REPO, [to_publish("spam")], options(tag=tag))
    assert hub_server.faults.log == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_tag_with_the_name_of_a_branch_is_refused(dry_run: bool, hub_server: HubServer) -> None:
    put("spam")
    repository = hub_server.repository(REPO)
    repository.branches["next"] = repository.branches["main"]
    hub_server.faults.log.clear()
    with pytest.raises(UsageError, match="'next' is a branch of acme/heads"):
        publish(REPO, [to_publish("topic")], options(tag="next", dry_run=dry_run))
    assert sent(hub_server) == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_tag_that_is_elsewhere_is_found_before_the_commit(
    dry_run: bool, hub_server: HubServer
) -> None:
    publish(REPO, [to_publish("spam")], options(tag="v1"))
    before = hub_server.repository(REPO).resolve("main").oid
    hub_server.faults.log.clear()
    with pytest.raises(RemoteError, match=r"'v1' is at commit .* already, and tags do not move"):
        publish(REPO, [to_publish("spam", seed=1)], options(tag="v1", dry_run=dry_run))
    assert sent(hub_server) == []
    assert hub_server.repository(REPO).resolve("main").oid == before


def test_the_same_tag_of_the_same_commit_is_done(hub_server: HubServer) -> None:
    first = publish(REPO, [to_publish("spam")], options(tag="v1"))
    again = publish(REPO, [to_publish("spam")], options(tag="v1"))
    assert (again.commit, again.tag) == (first.commit, "v1")
    put("topic")
    with pytest.raises(RemoteError, match="tags do not move"):
        publish(REPO, [to_publish("spam")], options(tag="v1"))


@pytest.mark.parametrize("status", ["closed", "merged"])
def test_a_pull_request_that_ended_is_opened_again(status: str, hub_server: HubServer) -> None:
    put("spam")
    first = publish(REPO, [to_publish("topic")], options(create_pr=True))
    hub_server.repository(REPO).ended["1"] = status
    again = publish(REPO, [to_publish("topic")], options(create_pr=True))
    third = publish(REPO, [to_publish("topic")], options(create_pr=True))
    address = f"{hub_server.url}/{REPO}/discussions"
    assert [done.pull_request for done in (first, again, third)] == [
        f"{address}/{number}" for number in (1, 2, 2)
    ]


def test_names_are_looked_up_once_for_all_aliases(hub_server: HubServer) -> None:
    put("spam")
    hub_server.faults.log.clear()
    tasks = [to_publish(name, alias=f"alias-{name}") for name in ("a", "b", "c")]
    publish(REPO, tasks, options(tag="v1"))
    assert hub_server.faults.count("GET", "/refs") == 1
