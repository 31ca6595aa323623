"""Tasks to publish, made without a backbone: quick, and each answers under its own name."""

from __future__ import annotations

from typing import Any

from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from adapterhub.remote.find import FoundTask, task_in
from adapterhub.specs import Kind
from adapterhub.store.headfile import encode_head
from tests.builders import head_tensors, task_spec

DEFAULTS = PublishOptions()
REPO = "acme/heads"


def to_publish(
    name: str, kind: Kind = "single_label", *, seed: int = 0, alias: str | None = None, **spec: Any
) -> FoundTask:
    """Returns a random head of a task; another seed is another version of it."""
    made = task_spec(kind, task=name, **spec)
    data = encode_head(made, head_tensors(made, seed))
    return task_in(data, name, alias=alias)


def put(*names: str, repo: str = REPO, seed: int = 0) -> None:
    """Publishes random heads of these names in one commit."""
    publish(repo, [to_publish(name, seed=seed) for name in names], DEFAULTS)
