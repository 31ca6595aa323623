"""`adapterhub doctor`: checks files against the registry, and recomputes known answers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adapterhub.commands.options import AsJson, Registries
from adapterhub.commands.printing import counted, print_json, print_line, printable
from adapterhub.errors import AdapterHubError, RegistryError, UsageError
from adapterhub.store.atomic import OLD_SUFFIXES, reason, remove, stray_files
from adapterhub.store.owners import is_abandoned, owner_of

if TYPE_CHECKING:
    from adapterhub.model.backbone.open_backbone import Backbone
    from adapterhub.store import registry as store
    from adapterhub.store.headfile import HeadFile

Status = Literal["ok", "note", "problem"]

UNHEALTHY = 5
"""Exit code where there is a problem, as of the errors of damaged files."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        subject: What was looked at.
        status: `note` is worth knowing and harms nothing.
        detail: What was found.
    """

    subject: str
    status: Status
    detail: str


def doctor(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            show_default=False,
            help="Where to look for temporary files that killed processes left, in all folders "
            "below too; a registry in it is checked as with --registry.",
        ),
    ] = None,
    registry: Registries = None,
    clean: Annotated[
        bool,
        typer.Option("--clean", help="Remove temporary files whose process has ended."),
    ] = False,
    replay: Annotated[
        bool,
        typer.Option("--replay/--no-replay", help="Recompute known answers, on the CPU."),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Check a registry, its files and its backbones, and recompute known answers."""
    checks: list[Check] = []
    for check in _all_checks(folder, registry, replay=replay, clean=clean):
        checks.append(check)
        if not as_json:
            print_line(f"{check.status:<8} {check.subject}: {printable(check.detail)}")
    problems = sum(check.status == "problem" for check in checks)
    if as_json:
        print_json({"healthy": not problems, "checks": [asdict(check) for check in checks]})
    else:
        found_wrong = counted(problems, "problem") if problems else "no problems"
        print_line(f"{counted(len(checks), 'check')}, {found_wrong}.")
    if problems:
        raise typer.Exit(UNHEALTHY)


def _all_checks(
    folder: Path | None, registries: Sequence[Path] | None, *, replay: bool, clean: bool
) -> Iterator[Check]:
    from adapterhub.store.editing import HEADS_FOLDER
    from adapterhub.store.entries import BACKBONES_FOLDER
    from adapterhub.store.registries import locate_registries
    from adapterhub.store.registry import REGISTRY_NAME, read_registry

    if folder is not None:
        if registries:
            raise UsageError("There are FOLDER and --registry; give one of them.")
        if not folder.exists():
            raise UsageError(f"There is no folder {folder}.")
        registries = [folder]
    if folder is None or not folder.is_dir() or (folder / REGISTRY_NAME).exists():
        for path in locate_registries(registries or None):
            try:
                opened = read_registry(path)
            except RegistryError as error:
                yield Check("registry", "problem", str(error))
                continue
            yield from _examine(opened, replay=replay)
            if folder is None or not folder.is_dir():
                top = opened.path.parent
                places = (top, top / HEADS_FOLDER, top / BACKBONES_FOLDER)
                yield from _strays(places, clean=clean)
    if folder is not None and folder.is_dir():
        yield from _strays((Path(place) for place, _, _ in os.walk(folder)), clean=clean)


def _examine(registry: store.Registry, *, replay: bool) -> Iterator[Check]:
    """Yields one check after the other; a fault ends its own check only."""
    tasks, backbones = counted(len(registry.tasks), "task"), len(registry.backbones)
    detail = f"{registry.path}: {tasks} on {counted(backbones, 'backbone')}"
    yield Check("registry", "ok" if registry.tasks else "note", detail)
    aliases = sum(len(entry.aliases) for entry in registry.tasks.values())
    # Reading the registry refuses an alias without its version.
    listed = f"{aliases}, each points to a version that is listed" if aliases else "none"
    yield Check("aliases", "ok", listed)
    for key in registry.backbones:
        yield from _examine_backbone(registry, key, replay=replay)
    yield from _unlisted(registry.path)


def _examine_backbone(registry: store.Registry, key: str, *, replay: bool) -> Iterator[Check]:
    """Yields the checks of a backbone and of every version of every task on it."""
    from adapterhub.model.backbone.open_backbone import open_registered

    subject = f"backbone {key}"
    backbone: Backbone | None = None
    try:
        backbone = open_registered(registry, key)
    except AdapterHubError as error:
        yield Check(subject, "problem", str(error))
    else:
        spec = backbone.spec
        sizes = f"{spec.family}, H={spec.hidden_size} D={spec.num_hidden_layers}"
        yield Check(subject, "ok", f"{spec.name}, {sizes}, {spec.fingerprint[:19]}… as promised")
        tokens = len(backbone.tokenizer)
        yield Check(f"tokenizer {key}", "ok", f"{tokens} tokens, fits the token table")
    answers = _Replay(backbone) if replay and backbone is not None else None
    for name, entry in registry.tasks.items():
        if entry.backbone == key:
            for version in sorted(entry.versions):
                yield _examine_version(registry.resolve(f"{name}:{version}"), answers)


def _examine_version(found: store.Resolved, answers: _Replay | None) -> Check:
    from adapterhub.model.execution.known_answers import is_constant
    from adapterhub.store.agreement import contradiction, other_description
    from adapterhub.store.headfile import read_head

    subject = f"task {found.task}:{found.version}"
    record = found.record
    try:
        head = read_head(found.path, sha256=record.sha256, size=record.size)
        problem = contradiction(
            head.spec, found.task, version=found.version, entry=found.entry, backbone=found.backbone
        )
        if problem:
            return Check(subject, "problem", f"{found.path}: {problem}")
        status: Status = "ok" if head.spec.known_answers else "note"
        if not head.spec.known_answers:
            detail = "no known answers"
        elif answers is None:
            detail = "known answers not recomputed"
        else:
            answers.check(head)
            detail = f"{counted(len(head.spec.known_answers), 'known answer')} recomputed"
    except AdapterHubError as error:
        return Check(subject, "problem", str(error))
    if is_constant(head):
        status = "note"
        detail += "; its weights are all zero, so every text gets the same prediction"
    newest = found.version == found.entry.newest
    if newest and (other := other_description(head.spec, found.entry)):
        status = "note"
        detail += f"; {other}"
    return Check(subject, status, f"{record.size} bytes, sha256 ok; {detail}")


def _unlisted(path: Path) -> Iterator[Check]:
    from adapterhub.store.editing import unlisted_files

    files = set(unlisted_files(path))
    files -= {stray for file in files for stray in stray_files(file.parent)}
    for file in sorted(files):
        yield Check("unlisted file", "note", f"{file} is in no entry; remove it if nobody writes")
    if not files:
        yield Check("unlisted files", "ok", "none")


def _strays(folders: Iterable[Path], *, clean: bool) -> Iterator[Check]:
    """Yields what killed processes left in folders, and what running ones write there."""
    from adapterhub.store.locks import output_locks

    are_any = False
    for folder in folders:
        for path in (*stray_files(folder), *output_locks(folder)):
            are_any = True
            yield Check("temporary file", "note", f"{path} {_state_of(path, clean=clean)}")
    if not are_any:
        yield Check("temporary files", "ok", "none")


def _state_of(path: Path, *, clean: bool) -> str:
    """Returns the state of a temporary file, after it was removed if that is wanted and safe."""
    from adapterhub.store.locks import is_left_over, is_output_lock

    try:
        if is_output_lock(path):
            owner, is_left = "a process", is_left_over(path, remove=clean)
        else:
            owner, is_left = owner_of(path), is_abandoned(path)
            if is_left and clean:
                remove(path)
    except FileNotFoundError:
        return "is gone by now"
    except OSError as error:
        return f"cannot be examined: {reason(error)}"
    if not path.name.endswith(OLD_SUFFIXES):
        after = "was removed" if clean else "is left over; --clean removes it"
        return f"of {owner} that has ended {after}" if is_left else f"is in use by {owner}"
    return "is of an earlier version; remove it if nobody writes"


class _Replay:
    """Computes known answers on the CPU, with one encoder for all tasks of a backbone."""

    def __init__(self, backbone: Backbone) -> None:
        from adapterhub.model.encoder.encoder import Encoder
        from adapterhub.model.encoder.tokens import TextTokenizer

        self._encoder = Encoder(backbone, device="cpu")
        self._tokenizer = TextTokenizer(backbone.tokenizer)

    def check(self, head: HeadFile) -> None:
        """Computes the known answers of one head file.

        Raises:
            KnownAnswersError: Its logits differ from those in its header.
        """
        from adapterhub.model.execution.known_answers import check_known_answers

        check_known_answers(head, encoder=self._encoder, tokenizer=self._tokenizer)
