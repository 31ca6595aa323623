"""Hub, the object that users hold: a registry, one encoder, the resident tasks."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from adapterhub.errors import UsageError
from adapterhub.inputs import Record, parse_bytes, read_records
from adapterhub.model.backbone.open_backbone import choose_backbone
from adapterhub.model.encoder.changes import Adapter
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.call import Asking, answer, check_options, read_rows
from adapterhub.model.execution.checks import check_backbone, check_fits, check_tasks
from adapterhub.model.execution.resident import ResidentTask, ResidentTasks
from adapterhub.model.execution.run_trunk import Answering
from adapterhub.model.execution.text_features import features_of
from adapterhub.model.heads.heads import Array
from adapterhub.plan import Plan, Reading, Tap, make_plan
from adapterhub.publishing.publication import Published, Wishes, to_publish
from adapterhub.remote.find import FoundTask, find, find_all
from adapterhub.results import Provenance, Scores, TaskInfo
from adapterhub.specs import BackboneSpec, Pooling, TaskSpec
from adapterhub.store.headfile import HeadFile
from adapterhub.store.references import parse_reference
from adapterhub.store.registry import locate_registry, read_registry, task_info

OnError = Literal["raise", "skip"]


class Hub:
    """One frozen ALBERT on a device, and the tasks of a registry on it.

    May be used from any number of threads: which tasks run is an argument of each call, and a
    call works to its end with the tasks that it found at its start.

    Attributes:
        registry_path: The registry.yaml in use.
        backbone: Identity and sizes of the backbone.
    """

    def __init__(
        self,
        registry: str | Path | None = None,
        *,
        backbone: str | Path | None = None,
        device: str = "auto",
        dtype: str = "float32",
        max_bytes: int | str | None = None,
        max_windows: int = 16,
    ) -> None:
        """Opens the registry and puts its backbone on the device.

        Args:
            registry: A registry.yaml; None finds one upwards from the working folder, else
                takes the tasks that ship with adapterhub.
            backbone: A key of the registry's backbones, a folder, or a Hub name with a
                revision; None takes the registry's only one.
            device: `cpu`, `cuda`, `cuda:<n>`, `mps` or `auto`.
            dtype: `float32`, `float16` or `bfloat16`, of the encoder; heads are always fp32.
            max_bytes: Budget of the resident heads, for instance `"2GB"`; None for no limit.
            max_windows: Windows per text at most; what is beyond them is truncated.

        Raises:
            RegistryError: The registry is not valid.
            BackboneError: The backbone cannot be opened, or is not the registry's.
            UsageError: An argument makes no sense, or the device is not available.
        """
        if type(max_windows) is not int or max_windows < 1:
            raise UsageError(f"max_windows is {max_windows!r}; expected 1 or more.")
        self.registry_path = locate_registry(registry)
        opened = choose_backbone(read_registry(self.registry_path), backbone)
        self.backbone: BackboneSpec = opened.spec
        self._encoder = Encoder(opened, device=device, dtype=dtype)
        self._tokenizer = TextTokenizer(opened.tokenizer)
        self._answering = Answering(self._encoder, self._tokenizer, max_windows)
        self._resident = ResidentTasks(
            hidden_size=self._encoder.hidden_size,
            device=self._encoder.device,
            max_bytes=parse_bytes(max_bytes),
        )
        self._load_lock = threading.Lock()

    @property
    def encoder(self) -> Encoder:
        """Returns the encoder, for those who bring their own heads."""
        return self._encoder

    @property
    def tokenizer(self) -> TextTokenizer:
        """Returns the tokenizer that belongs to the encoder."""
        return self._tokenizer

    @property
    def resident_bytes(self) -> int:
        """Returns the size of the resident heads, in bytes; the encoder is not counted."""
        return self._resident.bytes

    def tasks(self) -> list[TaskInfo]:
        """Returns the tasks of the registry, as they are in the file now."""
        registry = read_registry(self.registry_path)
        named = map(parse_reference, self._resident.names())
        live = {reference.task for reference in named if reference.kind == "task"}
        return [task_info(registry, name, resident=name in live) for name in registry.names()]

    def load(self, *references: str) -> None:
        """Makes tasks resident; a resident one is looked up again and replaced if it moved.

        Args:
            references: `name` (its newest version), `name@alias`, `name:version`,
                `./file.safetensors`, or on the Hub `owner/repo:name`, with `@alias`, `:version`,
                `@tag` or `@commit` behind it.

        Raises:
            UnknownTaskError: No such task, version or alias.
            HeadFileError: A file is damaged or computes something else than it says; what
                was resident before goes on serving.
            BackboneMismatchError: A task was made for another backbone.
            ResidentError: The tasks do not fit in `max_bytes`.
        """
        with self._load_lock:
            self._make_resident(find_all(references, self.registry_path))

    def unload(self, *references: str) -> None:
        """Drops resident tasks; calls that use them finish with them.

        Raises:
            UsageError: One is not resident; the others stay.
        """
        with self._load_lock:
            names = self._resident.names()
            absent = [reference for reference in references if reference not in names]
            if absent:
                resident = ", ".join(names) or "none"
                raise UsageError(f"Task '{absent[0]}' is not resident. Resident: {resident}.")
            for reference in references:
                self._resident.unload(reference)

    def spec(self, reference: str) -> TaskSpec:
        """Returns the whole task as its head file says it; it need not be resident.

        Raises:
            UsageError: It follows none of the forms of a name.
            UnknownTaskError: No such task, version or alias.
            HeadFileError: The file is damaged.
        """
        parse_reference(reference)
        task = self._resident.get(reference)
        return task.spec if task is not None else find(reference, self.registry_path).spec

    def publish(
        self,
        tasks: str | Sequence[str],
        repo: str,
        *,
        private: bool = False,
        tag: str | None = None,
        create_pr: bool = False,
        dry_run: bool = False,
    ) -> Published:
        """Puts tasks into a repository on the Hugging Face Hub, in one commit.

        Args:
            tasks: Names as in `load`; a name with an alias moves that alias there too.
            repo: `owner/name`; made where it is missing.
            private: Whether a repository that has to be made is private.
            tag: Tag for the commit.
            create_pr: Whether to open a pull request instead of changing the main branch.
            dry_run: Whether only to say what would be written.

        Raises:
            RemoteError: The Hub refuses it or is out of reach; nothing was published then.
            AdapterHubError: As `load`, because every task is checked first.
        """
        # It brings PEFT and the Hub's client along, which scoring does without.
        from adapterhub.publishing.publish import publish

        found = find_all(_names(tasks), self.registry_path)
        self._check([task.load() for task in found])
        wishes = Wishes(private, tag, create_pr, dry_run)
        return publish(repo, [to_publish(task) for task in found], wishes)

    def explain(self, tasks: str | Sequence[str]) -> Plan:
        """Returns what `score` would compute for `tasks` and what it costs; print it.

        Raises:
            BackboneMismatchError: A task was made for another backbone.
            AdapterHubError: As `spec`.
        """
        names = _names(tasks)
        specs = self._specs(names, self._look_up(names))
        for spec in specs.values():
            check_backbone(spec, self.backbone)
        return make_plan(specs)

    def score(
        self,
        texts: Record | Iterable[Record],
        tasks: str | Sequence[str],
        *,
        top_k: int | None = 1,
        logits: bool = False,
        on_error: OnError = "raise",
    ) -> Scores:
        """Returns the answers of many tasks in one pass over `texts`.

        Args:
            texts: Strings, or records with the fields that the tasks read.
            tasks: Names as in `load`; those that are not resident are loaded.
            top_k: 1 for the plain answer, n for the n best labels, None for all labels.
            logits: Whether to keep the raw head outputs.
            on_error: `raise` refuses the call at the first bad row, before anything is
                computed; `skip` answers None for it and lists it in `Scores.errors`.

        Raises:
            InputError: There are no rows, or a bad row and `on_error="raise"`.
            AdapterHubError: As `load`.
        """
        check_options(top_k, on_error)
        asking = Asking(read_records(texts), None, skip=on_error == "skip")
        return self._answer(asking, _names(tasks), top_k=top_k, logits=logits)

    def score_rows(
        self,
        rows: Iterable[tuple[Record, str | Sequence[str]]],
        *,
        top_k: int | None = 1,
        logits: bool = False,
        on_error: OnError = "raise",
    ) -> Scores:
        """Returns the answers of rows that want different tasks; only those are computed.

        Args:
            rows: Pairs of a text or record and the task or tasks that are asked of it.
            top_k: As in `score`.
            logits: As in `score`.
            on_error: As in `score`.

        Returns:
            As `score`, with None where a task was not asked of a row.

        Raises:
            InputError: There are no rows, or a bad row and `on_error="raise"`.
            UsageError: A row is no such pair.
            AdapterHubError: As `load`.
        """
        check_options(top_k, on_error)
        pairs = [_pair(row) for row in read_records(rows)]  # type: ignore[arg-type]
        wanted = tuple(frozenset(names) for _, names in pairs)
        asking = Asking(tuple(record for record, _ in pairs), wanted, skip=on_error == "skip")
        names = list(dict.fromkeys(name for _, tasks in pairs for name in tasks))
        return self._answer(asking, names, top_k=top_k, logits=logits)

    def _answer(
        self, asking: Asking, names: Sequence[str], *, top_k: int | None, logits: bool
    ) -> Scores:
        found = self._look_up(names)
        if found:
            # A bad row must not cost a loading, which may evict other tasks.
            specs = self._specs(names, found)
            for spec in specs.values():
                check_fits(spec, self._encoder)
            read_rows(asking, specs)
        resident = self._acquire(names, found)
        return answer(asking, resident, self._answering, top_k=top_k, logits=logits)

    def encode(
        self,
        texts: Record | Iterable[Record],
        *,
        depth: int | None = None,
        pooling: Pooling = "mean",
        fields: Sequence[str] = ("text",),
        max_length: int | None = None,
    ) -> Array | tuple[Array, ...]:
        """Returns features in fp32: (N, H), or for pooling `tokens` one (tokens, H) per row.

        Args:
            texts: Strings or records.
            depth: Depth to read; None for the deepest.
            pooling: `cls`, `mean`, `max` or `tokens`.
            fields: The fields to read; two make a pair, which has no pooling `tokens`.
            max_length: Window in tokens; None for the backbone's greatest.

        Raises:
            UsageError: No such depth, pooling, fields or window.
            InputError: A row cannot be read.
        """
        depth = self._encoder.depth if depth is None else depth
        max_length = self._encoder.max_positions if max_length is None else max_length
        fields = (fields,) if isinstance(fields, str) else tuple(fields)
        return features_of(
            read_records(texts),
            tap=Tap(depth, pooling, ()),
            reading=Reading(fields, max_length, 0),
            answering=self._answering,
        )

    def _look_up(self, names: Sequence[str]) -> dict[str, FoundTask]:
        """Returns the tasks that are not resident, each read once."""
        missing = [name for name in names if self._resident.get(name) is None]
        return dict(zip(missing, find_all(missing, self.registry_path), strict=True))

    def _specs(self, names: Sequence[str], found: Mapping[str, FoundTask]) -> dict[str, TaskSpec]:
        """Returns the specs of tasks, those that were looked up or else of the resident ones."""
        return {name: found[name].spec if name in found else self.spec(name) for name in names}

    def _acquire(
        self, names: Sequence[str], found: Mapping[str, FoundTask]
    ) -> dict[str, ResidentTask]:
        """Returns the tasks of one call from one snapshot; loads those that are missing.

        Args:
            names: The tasks.
            found: Those that were looked up for this call, so that each is read once.
        """
        while (acquired := self._resident.acquire(names)) is None:
            with self._load_lock:
                missing = [name for name in names if self._resident.get(name) is None]
                # One that was resident a moment ago may have been evicted.
                fresh = self._look_up([name for name in missing if name not in found])
                self._make_resident(
                    [fresh.get(name) or found[name] for name in missing], beside=names
                )
        return acquired

    def _make_resident(self, tasks: Sequence[FoundTask], *, beside: Sequence[str] = ()) -> None:
        """Checks and places tasks: all of them, or none."""
        loaded = {task.reference: task.load() for task in tasks}
        adapters = self._check(list(loaded.values()))
        heads = {task.reference: (loaded[task.reference], _made_by(task)) for task in tasks}
        self._resident.load(heads, adapters=adapters, beside=beside)

    def _check(self, heads: Sequence[HeadFile]) -> dict[str, Adapter]:
        """Returns the adapters of tasks that do here what they say, compiled."""
        return check_tasks(
            heads, encoder=self._encoder, tokenizer=self._tokenizer, known=self._resident.adapter
        )


def _made_by(task: FoundTask) -> Provenance:
    spec = task.spec
    return Provenance(spec.task, task.version, task.sha256, spec.backbone.fingerprint, task.origin)


def _names(tasks: str | Sequence[str]) -> list[str]:
    is_one = isinstance(tasks, str) or not isinstance(tasks, Iterable)
    given: list[object] = [tasks] if is_one else list(tasks)
    names = list(dict.fromkeys(name for name in given if isinstance(name, str)))
    if not all(isinstance(name, str) for name in given):
        raise UsageError(f"Tasks are {repr(tasks)[:80]}; expected a name or a list of names.")
    if not names:
        raise UsageError("No task was asked for; give one at least. `hub.tasks()` lists them.")
    return names


def _pair(row: object) -> tuple[Record, list[str]]:
    """Returns a record and the names of the tasks asked of it."""
    if not isinstance(row, tuple | list) or len(row) != 2:
        raise UsageError(
            f"A row of score_rows is {repr(row)[:80]}; expected (text or record, task or tasks)."
        )
    return row[0], _names(row[1])
