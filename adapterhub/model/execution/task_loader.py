"""Looks up tasks by name, checks them and makes them resident on one encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.decoding import AnswerOptions
from adapterhub.errors import BackboneMismatchError, ResidentError, UsageError
from adapterhub.inputs import Record
from adapterhub.model.backbone.caller_state import ForkedLock
from adapterhub.model.encoder.changes import Adapter
from adapterhub.model.execution.call import Request, read_rows
from adapterhub.model.execution.examples import with_examples
from adapterhub.model.execution.known_answers import check_backbone, check_fits, check_tasks
from adapterhub.model.execution.resident import ResidentTask, ResidentTasks
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.execution.stages import ResidentCall
from adapterhub.plan import Plan, make_plan
from adapterhub.remote.find import FoundTask, find_all
from adapterhub.remote.operation import operation
from adapterhub.results import Provenance, Scores
from adapterhub.specs import BackboneSpec, TaskSpec, check_confidence, identity
from adapterhub.store.headfile import HeadFile
from adapterhub.store.references import parse_reference


@dataclass(frozen=True, slots=True, eq=False)
class LookUp:
    """The tasks of a call that were not resident when it began, each read once.

    Attributes:
        tasks: By name.
        loads: How many loads the loader had completed before.
    """

    tasks: Mapping[str, FoundTask]
    loads: int


class TaskLoader:
    """The tasks of registries, files and the Hub on one encoder; safe to use from any thread.

    Names are absolute, see `store.references.absolute`, so that each of them is one task wherever
    the process works.
    """

    def __init__(
        self,
        registries: Sequence[Path],
        context: ExecutionContext,
        *,
        max_bytes: int | None = None,
    ) -> None:
        """Starts with no tasks.

        Args:
            registries: Absolute paths of the registry.yaml files.
            context: The encoder and its tokenizer.
            max_bytes: Maximum size of resident heads and adapters; None for no limit.
        """
        self._registries = tuple(registries)
        self._context = context
        self._resident = ResidentTasks(
            hidden_size=context.encoder.hidden_size,
            device=context.encoder.device,
            max_bytes=max_bytes,
        )
        self._lock = ForkedLock()
        self._loads = 0

    @property
    def bytes(self) -> int:
        """Returns the size of the resident heads and adapters, in bytes."""
        return self._resident.bytes

    def names(self) -> tuple[str, ...]:
        """Returns the names under which tasks are resident."""
        return self._resident.names()

    def load(self, names: Sequence[str]) -> None:
        """Loads tasks, all or none; see `Hub.load`."""
        with self._lock:
            self._make_resident(find_all(names, self._registries))

    def pins(self) -> dict[str, tuple[str, str]]:
        """Returns the version that each resident name is now: its reference and its sha256."""
        pins = {}
        for name in self.names():
            task = self._resident.get(name)
            if task is not None:
                pins[name] = (_pinned(name, task.made_by), task.made_by.sha256)
        return pins

    def load_pinned(self, backbone: BackboneSpec, pins: Mapping[str, tuple[str, str]]) -> None:
        """Loads the versions of `pins` under their names.

        Raises:
            BackboneMismatchError: They were pinned on another backbone.
            ResidentError: A version has other bytes here.
            AdapterHubError: As `load`.
        """
        own = self._context.encoder.spec
        if own.fingerprint != backbone.fingerprint:
            raise BackboneMismatchError("of the pickled Hub", identity(backbone), identity(own))
        with self._lock:
            found = find_all([reference for reference, _ in pins.values()], self._registries)
            for task, (name, (reference, sha256)) in zip(found, pins.items(), strict=True):
                if task.sha256 != sha256:
                    raise ResidentError(
                        f"Task '{name}' ({reference}) is {task.sha256[:12]}… here and was "
                        f"{sha256[:12]}… where the Hub was pickled. Load it anew there."
                    )
            named = [replace(task, reference=name) for task, name in zip(found, pins, strict=True)]
            self._make_resident(named)

    def unload(self, names: Mapping[str, str]) -> None:
        """Removes tasks; names by what the user calls them.

        Raises:
            UsageError: One is not resident; none is removed then.
        """
        with self._lock:
            resident = self._resident.names()
            absent = [given for given, name in names.items() if name not in resident]
            if absent:
                known = ", ".join(resident) or "none"
                raise UsageError(f"Task '{absent[0]}' is not resident. Resident: {known}.")
            for name in names.values():
                self._resident.unload(name)

    def spec(self, name: str) -> TaskSpec:
        """Returns the spec of a task, resident or not; see `Hub.spec`."""
        task = self._resident.get(name)
        return task.spec if task is not None else find_all([name], self._registries)[0].spec

    def look_up(self, names: Sequence[str]) -> LookUp:
        """Finds the tasks that are not resident and reads each once."""
        loads = self._loads
        missing = [name for name in names if self._resident.get(name) is None]
        return LookUp(dict(zip(missing, find_all(missing, self._registries), strict=True)), loads)

    def specs(self, names: Sequence[str], found: LookUp) -> dict[str, TaskSpec]:
        """Returns the specs of tasks from `found`, or else of the resident ones."""
        tasks = found.tasks
        return {name: tasks[name].spec if name in tasks else self.spec(name) for name in names}

    def acquire(self, names: Sequence[str], found: LookUp) -> dict[str, ResidentTask]:
        """Returns the tasks of one call from one snapshot; `found` are those to be loaded."""
        while (acquired := self._resident.acquire(names)) is None:
            with self._lock:
                missing = [name for name in names if self._resident.get(name) is None]
                if found.loads != self._loads or not found.tasks.keys() >= set(missing):
                    # Another call has loaded since, perhaps newer versions, and evicted tasks;
                    # what was found before could bring back an older version.
                    found = self.look_up(missing)
                self._make_resident([found.tasks[name] for name in missing], keep=names)
        return acquired

    @operation()
    def plan(self, names: Mapping[str, str], backbone: BackboneSpec) -> Plan:
        """Returns the plan of a call; names by what the user calls them.

        Raises:
            BackboneMismatchError: A task was made for another backbone.
        """
        own = list(names.values())
        found = self.specs(own, self.look_up(own))
        specs = {given: found[name] for given, name in names.items()}
        for spec in specs.values():
            check_backbone(spec, backbone)
        return make_plan(specs)

    @operation()
    def score(self, request: Request, names: Mapping[str, str]) -> Scores:
        """Returns the predictions of a call; names by what the user calls them."""
        own = list(names.values())
        found = self.look_up(own)
        if found.tasks:
            # Bad rows are refused before tasks are loaded, which may evict other tasks.
            specs = self.specs(own, found)
            check_confidence(request.answers, {name: spec.row for name, spec in specs.items()})
            for spec in specs.values():
                check_fits(spec, self._context.encoder)
            plan = make_plan({given: specs[name] for given, name in names.items()})
            read_rows(request, plan, self._context.tokenizer)
        acquired = self.acquire(own, found)
        del found  # the bytes of head files, which may be large
        resident = {given: acquired[name] for given, name in names.items()}
        call = ResidentCall.of(resident, context=self._context, answers=request.answers)
        return call.score(request)

    @operation()
    def open_call(
        self,
        names: Mapping[str, str],
        *,
        fields: Mapping[str, Mapping[str, str]] | None,
        answers: AnswerOptions,
    ) -> ResidentCall:
        """Returns a call to be run in stages; names by what the user calls them."""
        own = list(names.values())
        acquired = self.acquire(own, self.look_up(own))
        resident = {given: acquired[name] for given, name in names.items()}
        return ResidentCall.of(resident, context=self._context, fields=fields, answers=answers)

    @operation()
    def checked(self, names: Mapping[str, str], examples: Sequence[Record] = ()) -> list[FoundTask]:
        """Returns tasks to be saved elsewhere, after their known answers were recomputed.

        Args:
            names: Their names, by the names of the call.
            examples: Texts or records to put into their head files, with predictions.
        """
        found = find_all(names.values(), self._registries)
        heads = [task.load() for task in found]
        self.check(heads)
        return with_examples(found, heads, examples, context=self._context)

    def check(self, heads: Sequence[HeadFile]) -> dict[str, Adapter]:
        """Checks tasks on this encoder and returns their compiled adapters by digest."""
        return check_tasks(
            heads,
            encoder=self._context.encoder,
            tokenizer=self._context.tokenizer,
            known=self._resident.adapter,
        )

    def _make_resident(self, tasks: Sequence[FoundTask], *, keep: Sequence[str] = ()) -> None:
        """Checks tasks and makes them resident, all or none; the lock is held."""
        loaded = {task.reference: task.load() for task in tasks}
        adapters = self.check(list(loaded.values()))
        heads = {task.reference: (loaded[task.reference], _made_by(task)) for task in tasks}
        self._resident.load(heads, adapters=adapters, keep=keep)
        self._loads += 1


def _pinned(name: str, made_by: Provenance) -> str:
    reference = parse_reference(name)
    if reference.kind == "file":
        return name
    place = reference.place if made_by.origin is None else f"{made_by.origin}:"
    return f"{place}{reference.task}:{made_by.version}"


def _made_by(task: FoundTask) -> Provenance:
    spec = task.spec
    return Provenance(spec.task, task.version, task.sha256, spec.backbone.fingerprint, task.origin)
