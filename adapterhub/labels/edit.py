"""`add_labels`, `rename_label`, `drop_labels`: the next version of a prototype task.

The model runs only for new texts. A task is read, changed and written as a whole: its versions
never change, and where somebody else has written another version meanwhile, nothing is written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from adapterhub.errors import RegistryError, UsageError, check_type, nearest
from adapterhub.kinds import KINDS
from adapterhub.labels.new_examples import (
    Texts,
    checked_label,
    checked_texts,
    digest_of_texts,
)
from adapterhub.publishing.task_changes import own_registry
from adapterhub.remote.find import FoundTask, find
from adapterhub.specs import MAX_LABELS, LabelEdit, TaskSpec
from adapterhub.store.entries import TaskEntry
from adapterhub.store.references import parse_reference
from adapterhub.store.registry import Resolved, read_registry

if TYPE_CHECKING:
    from adapterhub.labels.head_changes import ChangedHead
    from adapterhub.model.encoder.encoder import Encoder
    from adapterhub.model.encoder.tokens import TextTokenizer
    from adapterhub.model.execution.run_trunk import ExecutionContext

_log = logging.getLogger("adapterhub")

_NOTHING: Mapping[str, str] = MappingProxyType({})


@runtime_checkable
class OpenModel(Protocol):
    """An encoder with its tokenizer, such as a `Hub`."""

    encoder: Encoder
    tokenizer: TextTokenizer
    max_windows: int


@dataclass(frozen=True, slots=True, eq=False)
class _Edited:
    """The task to be changed.

    Attributes:
        found: The version that the next one is made of.
        newest: The newest version when it was read.
        hub: The open model, or None.
    """

    found: FoundTask
    newest: int
    hub: OpenModel | None

    @property
    def spec(self) -> TaskSpec:
        """Returns the task."""
        return self.found.spec

    def check_known(self, labels: Sequence[str]) -> None:
        """Checks that the task has labels.

        Raises:
            UsageError: It lacks one.
        """
        for label in labels:
            if label not in self.spec.labels:
                hint = nearest(label, self.spec.labels)
                meant = f" Did you mean '{hint}'?" if hint else ""
                shown = ", ".join(self.spec.labels[:8])
                more = ", …" if len(self.spec.labels) > 8 else ""
                raise UsageError(
                    f"Task '{self.found.name}' has no label '{label}'; labels are {shown}{more}."
                    f"{meant}"
                )


def add_labels(
    task: str,
    examples: Mapping[str, Sequence[str]] = MappingProxyType({}),
    *,
    descriptions: Mapping[str, str] = _NOTHING,
    extend: bool = False,
    registry: str | Path | None = None,
    hub: OpenModel | None = None,
) -> Resolved:
    """Adds labels to a prototype task, or examples to its labels; returns its next version.

    Nothing is trained, and the similarities of texts to the other labels stay the same bit for
    bit. Figures of the version before are left out, since they are about other labels, and so is a
    minimum of confidence that was chosen by them; the temperature stays.

    Args:
        task: A task of a registry; with `:version` or `@alias` the version to start from.
        examples: By label its texts.
        descriptions: By label a sentence that says what texts it is for; counts as one example.
        extend: Whether the labels are there already, and get more examples.
        registry: The registry.yaml; None for that of `hub`, or the nearest from here upwards.
        hub: An open Hub of the task's backbone, whose encoder is used; None opens the backbone.
            It scores with the new version once that is loaded.

    Raises:
        UsageError: A label is there already (with `extend` is not there), has no example, or the
            task is of another kind.
        UnknownTaskError: There is no such task or version.
        RegistryError: The registry cannot be written, or has got another version meanwhile.
        HeadFileError: The head file cannot be read or written.
        BackboneError: The backbone cannot be opened.
    """
    check_type(extend, bool, "The option extend", "True or False")
    edited = _read(task, registry, hub)
    texts = checked_texts(examples, descriptions)
    _check_new(edited, texts, extend=extend)
    # From here on it takes seconds: torch.
    from adapterhub.labels.encoding import encode_examples, open_model

    context = open_model(edited.found, hub)
    features = encode_examples(edited.found, texts, context)
    rows = sum(map(len, texts.values()))
    edit = LabelEdit(
        action="extended" if extend else "added",
        labels=tuple(texts),
        rows=rows,
        data_digest=digest_of_texts(texts),
    )
    return _save(edited, _head(edited).with_examples(features, edit), context)


def rename_label(
    task: str,
    old: str,
    new: str,
    *,
    registry: str | Path | None = None,
) -> Resolved:
    """Gives a label of a prototype task another name; returns the next version of the task.

    Predictions and figures stay as they are.

    Args:
        task: As in `add_labels`.
        old: The label.
        new: Its new name.
        registry: As in `add_labels`.

    Raises:
        UsageError: The task has no such label, or has the new one already.
        AdapterHubError: As `add_labels`.
    """
    edited = _read(task, registry, None)
    old, new = checked_label(old), checked_label(new)
    edited.check_known([old])
    abstention = edited.spec.abstention
    if abstention is not None and new == abstention.none_label:
        raise UsageError(f"'{new}' means none of the labels of task '{edited.found.name}'.")
    if new in edited.spec.labels:
        raise UsageError(f"Task '{edited.found.name}' has a label '{new}' already.")
    return _save(edited, _head(edited).renamed(old, new), None)


def drop_labels(
    task: str,
    labels: str | Sequence[str],
    *,
    registry: str | Path | None = None,
    hub: OpenModel | None = None,
) -> Resolved:
    """Drops labels of a prototype task; returns its next version.

    Figures of the version before are left out, since they are about other labels.

    Args:
        task: As in `add_labels`.
        labels: One or more; two at least have to stay.
        registry: As in `add_labels`.
        hub: As in `add_labels`; needed only where the task has examples for its card.

    Raises:
        UsageError: The task has no such label, or would keep fewer than two.
        AdapterHubError: As `add_labels`.
    """
    edited = _read(task, registry, hub)
    check_type(labels, (str, Sequence), "What is dropped", "a label or a list of labels")
    given = [labels] if isinstance(labels, str) else labels
    names = list(dict.fromkeys(checked_label(one) for one in given))
    if not names:
        raise UsageError("There is no label to drop; name one.")
    edited.check_known(names)
    left, fewest = len(edited.spec.labels) - len(names), edited.spec.row.fewest_labels
    if left < fewest:
        raise UsageError(
            f"Task '{edited.found.name}' would have {left} label{'' if left == 1 else 's'}; it "
            f"needs {fewest} at least. Add another one first, or remove the task."
        )
    context = None
    if edited.spec.examples:
        from adapterhub.labels.encoding import open_model

        context = open_model(edited.found, hub)
    return _save(edited, _head(edited).without(names), context)


def _read(task: str, registry: str | Path | None, hub: OpenModel | None) -> _Edited:
    """Returns a task whose labels may be changed.

    Raises:
        UsageError: It is of another kind, or in no registry that may be changed.
        AdapterHubError: As `add_labels`.
    """
    if hub is not None and not isinstance(hub, OpenModel):
        raise UsageError(f"The hub is a {type(hub).__name__}; expected a Hub, or None.")
    parsed = parse_reference(task)
    if parsed.path is not None or parsed.repo is not None:
        raise UsageError(
            f"'{task}' is {'a file' if parsed.path else 'on the Hub'}; `adapterhub add` copies the "
            f"task to a registry, where its labels can be changed."
        )
    if registry is None and parsed.registry is None and hub is not None:
        registry = getattr(hub, "registry_path", None)
    path = own_registry(parsed, registry)
    found = find(task, path)
    if not found.spec.row.prototypes:
        able = " or ".join(row.name for row in KINDS.values() if row.prototypes)
        raise UsageError(
            f"Task '{found.name}' is {found.spec.kind}: its labels are those that it was trained "
            f"on. Labels are changed of {able} tasks; train one with --kind {able}."
        )
    assert found.registry is not None  # a task of a registry has one
    return _Edited(found, read_registry(found.registry).resolve(found.name).version, hub)


def _check_new(edited: _Edited, texts: Texts, *, extend: bool) -> None:
    """Checks that labels are new, or of which examples are added, known.

    Raises:
        UsageError: They are not, or are too many.
    """
    if extend:
        edited.check_known(list(texts))
        return
    known = set(edited.spec.labels)
    for label in texts:
        if label in known:
            raise UsageError(
                f"Task '{edited.found.name}' has a label '{label}' already; the option extend "
                f"(--extend) adds examples to it."
            )
    if len(known) + len(texts) > MAX_LABELS:
        raise UsageError(
            f"Task '{edited.found.name}' would have {len(known) + len(texts)} labels; at most "
            f"{MAX_LABELS} are allowed."
        )


def _head(edited: _Edited) -> ChangedHead:
    from adapterhub.labels.head_changes import ChangedHead

    head = edited.found.load()
    return ChangedHead(head.spec, head.tensors)


def _save(edited: _Edited, head: ChangedHead, context: ExecutionContext | None) -> Resolved:
    """Writes a changed task as its next version, with known answers and examples made anew."""
    from adapterhub.store.headfile import encode_head
    from adapterhub.store.versions import NewHead, add_heads

    found, spec = edited.found, head.spec
    assert found.found is not None  # as `_read` checks
    assert found.registry is not None
    before = edited.spec.abstention
    if before is not None and before.min_confidence and spec.abstention is None:
        _log.warning(
            "Task '%s' did not answer under a confidence of %g, which was chosen for other labels: "
            "its new version always answers. The option min_confidence of a call sets one.",
            *(found.name, before.min_confidence),
        )
    # A task that was renamed has its old name in its head file.
    spec = spec.model_copy(update={"task": found.name})
    if context is not None:
        from adapterhub.labels.encoding import with_answers

        spec = with_answers(spec, head.tensors, edited.spec, context)
    new = NewHead(
        found.name,
        encode_head(spec, head.tensors),
        found.found.backbone,
        found.found.entry.backbone,
        check=lambda entry: _check_unchanged(entry, edited),
    )
    return add_heads(found.registry, [new])[0]


def _check_unchanged(entry: TaskEntry | None, edited: _Edited) -> None:
    """Checks, under the lock of the registry, that nobody has written another version.

    Raises:
        RegistryError: Somebody has.
    """
    now = None if entry is None else entry.newest
    if now != edited.newest:
        state = "was removed" if now is None else f"has version {now}"
        raise RegistryError(
            str(edited.found.registry),
            f"task '{edited.found.name}' {state} since its version {edited.newest} was read; "
            f"nothing was written. Do it again.",
        )
