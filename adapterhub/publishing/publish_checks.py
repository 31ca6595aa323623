"""A publication, checked before torch is imported: names, tag, examples, access."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from importlib.util import find_spec

from adapterhub.errors import MissingExtraError, UsageError
from adapterhub.model.backbone.sources import hub_name
from adapterhub.publishing.eval_results import read_benchmarks
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.target import check_commit, open_place
from adapterhub.remote.calls import Place
from adapterhub.remote.find import FoundTask
from adapterhub.store.example_texts import examples_by_task
from adapterhub.store.references import check_repository

# Git allows no `..` and no `.` or `.lock` at the end; 40 hexadecimal digits are a commit.
_TAG = re.compile(r"(?![0-9a-f]{40}$)(?!.*\.\.)(?!.*(?:\.|\.lock)$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NO_TAGS = frozenset({"main", "head", "refs"})


def check_publication(repo: str, tasks: Sequence[FoundTask], options: PublishOptions) -> Place:
    """Returns the Hub for a publication whose names, options and examples fit; needs no torch.

    Args:
        repo: `owner/name`.
        tasks: The tasks.
        options: How to publish.

    Raises:
        UsageError: A name, alias or tag is not allowed or ambiguous, or an example fits no task.
        MissingExtraError: There are figures to draw and matplotlib is not installed.
        RemoteUnavailableError: HF_HUB_OFFLINE is set.
        RemoteAccessError: There is no token, and it is no dry run.
    """
    check_repository(repo)
    names = [task.name for task in tasks]
    if not names:
        raise UsageError("No task was named; give one at least.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"Two tasks would both be '{twice}' in {repo}; publish them separately.")
    if options.tag is not None and options.tag.lower() in _NO_TAGS:
        raise UsageError(f"The tag {options.tag!r} is not allowed: branches have that name.")
    if options.tag is not None and not _TAG.fullmatch(options.tag):
        raise UsageError(
            f"The tag {options.tag!r} is not allowed: use up to 64 of A-Z, a-z, 0-9, '.', '-', "
            f"'_', without '..' and without '.' or '.lock' at the end, and no commit."
        )
    if options.tag is not None and options.create_pr:
        raise UsageError("A tag marks a published commit; a pull request is not yet. Tag it later.")
    if options.tag is not None and options.tag == options.revision:
        raise UsageError(f"'{options.tag}' cannot be a tag and a branch.")
    check_commit(options)
    base = options.base_model
    if base is not None and hub_name(base) is None:
        raise UsageError(
            f"The base model {base[:200]!r} is not a repository on the Hub; write owner/name "
            f"or owner/name@commit. `adapterhub publish-backbone` makes one."
        )
    if base is None:
        _check_backbones(tasks)
    read_benchmarks(options.benchmarks, {task.name: task.spec for task in tasks})
    if any(task.spec.diagnostics for task in tasks) and find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "publish")
    examples_by_task(options.examples, [task.spec for task in tasks])
    return open_place(repo, options)


def _check_backbones(tasks: Sequence[FoundTask]) -> None:
    """Checks that no task has a backbone that training made, which is nowhere but here.

    Raises:
        UsageError: One has.
    """
    for task in tasks:
        backbone, registry = task.backbone, task.registry
        if backbone is not None and backbone.was_made_by_training and registry is not None:
            folder = shlex.quote(str(registry.parent / backbone.source))
            raise UsageError(
                f"Task '{task.name}' has a backbone of its own, made by its training, which nobody "
                f"else has. Publish that first: `adapterhub publish-backbone OWNER/NAME --backbone "
                f"{folder}`, and then the task with `--base-model OWNER/NAME`."
            )
