"""Hub: a registry, one encoder, and the tasks that are resident on its device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from adapterhub.errors import BackboneMismatchError, UsageError
from adapterhub.inputs import Record, parse_bytes, read_records
from adapterhub.model.backbone.open_backbone import choose_backbone
from adapterhub.model.backbone.sources import absolute_source
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.call import Request, check_options, compute_scores, read_rows
from adapterhub.model.execution.checks import check_backbone, check_fits
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.execution.task_loader import TaskLoader
from adapterhub.model.execution.text_features import FeatureOptions, features_of
from adapterhub.model.heads.heads import Array
from adapterhub.option_models import parse_options, read_options
from adapterhub.plan import Plan, make_plan
from adapterhub.publishing.publication import Published, PublishOptions, on_branch
from adapterhub.remote.find import find_all
from adapterhub.remote.operation import operation
from adapterhub.results import Scores, TaskInfo
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.score_file import ScoredFile, score_file
from adapterhub.specs import BackboneSpec, Pooling, TaskSpec, identity
from adapterhub.store.references import absolute, parse_repository
from adapterhub.store.registries import Registries, locate_registries

OnError = Literal["raise", "skip"]


class Hub:
    """One frozen encoder on a device; scores texts with any of its tasks in one pass.

    Thread-safe: the tasks are an argument of each call, and a call uses the versions that were
    resident at its start until it ends.

    Attributes:
        registry_path: The registry.yaml in use; of several the first one.
        registry_paths: All of them.
        backbone: Identity and sizes of the backbone.
    """

    def __init__(
        self,
        registry: str | Path | Sequence[str | Path] | None = None,
        *,
        backbone: str | Path | None = None,
        device: str = "auto",
        dtype: str = "float32",
        max_bytes: int | str | None = None,
        max_windows: int = 16,
    ) -> None:
        """Opens the registry and loads its backbone on the device.

        Args:
            registry: Path of a registry.yaml, or several; `shipped:` for the tasks that ship with
                adapterhub. None searches upwards from the working folder, and falls back to those.
                With several, a name that more than one has is refused, and the error says how to
                name the task of each.
            backbone: A key of the registry's backbones, or a source as in `open_backbone`; None
                takes the only one that is listed.
            device: `cpu`, `cuda`, `cuda:<n>`, `mps` or `auto`.
            dtype: `float32`, `float16` or `bfloat16` for the encoder; heads are always fp32.
            max_bytes: Maximum size of resident heads and adapters, for instance `"2GB"`; None for
                no limit.
            max_windows: Maximum windows per text; the rest of the text is truncated.

        Raises:
            RegistryError: A registry is not valid.
            BackboneError: The backbone cannot be opened, or is not the registry's.
            UsageError: An argument is not valid, or the device is not available.
        """
        if type(max_windows) is not int or max_windows < 1:
            raise UsageError(f"max_windows is {max_windows!r}; expected 1 or more.")
        size = parse_bytes(max_bytes)
        self.registry_paths = locate_registries(registry)
        self.registry_path = self.registry_paths[0]
        opened = choose_backbone(Registries(self.registry_paths), backbone)
        self.backbone: BackboneSpec = opened.spec
        self._sentence = opened.sentence
        self._encoder = Encoder(opened, device=device, dtype=dtype)
        self._tokenizer = TextTokenizer(opened.tokenizer)
        self._context = ExecutionContext(self._encoder, self._tokenizer, max_windows)
        self._opened_with: dict[str, Any] = {
            "backbone": absolute_source(backbone),
            "device": str(device),
            "dtype": dtype,
            "max_bytes": size,
            "max_windows": max_windows,
        }
        self._tasks = TaskLoader(self.registry_paths, self._context, max_bytes=size)

    def __reduce__(self) -> tuple[object, ...]:
        """Returns how to open it again elsewhere, with the same versions resident."""
        paths = [str(path) for path in self.registry_paths]
        registry = paths[0] if len(paths) == 1 else paths
        given = (registry, self._opened_with, self.backbone, self._tasks.pins())
        return _reopen, (type(self), *given)

    @property
    def encoder(self) -> Encoder:
        """Returns the encoder, for use with other heads."""
        return self._encoder

    @property
    def tokenizer(self) -> TextTokenizer:
        """Returns the tokenizer of the encoder."""
        return self._tokenizer

    @property
    def resident_bytes(self) -> int:
        """Returns the size of the resident heads and adapters in bytes, without the encoder."""
        return self._tasks.bytes

    def tasks(self) -> list[TaskInfo]:
        """Returns the tasks that are in the registry files now.

        Those that ship with adapterhub are among them only if no other registry is in use.
        """
        return Registries(self.registry_paths).infos(resident=self._tasks.names())

    def load(self, *references: str) -> None:
        """Loads tasks on the device, all or none; replaces resident ones that have changed.

        Args:
            references: `name` (its newest version), `name@alias`, `name:version`; before it
                `shipped:` for a task that ships with adapterhub, or `./other/registry.yaml:` for
                one of a registry that is not in use; `./file.safetensors`; or on the Hub
                `owner/repo:name`, optionally followed by `@alias`, `:version`, `@tag` or `@commit`.

        Raises:
            UnknownTaskError: There is no such task, version or alias.
            HeadFileError: A file is damaged or does not reproduce its known answers.
            BackboneMismatchError: A task was made for another backbone.
            ResidentError: The tasks do not fit in `max_bytes`.
        """
        self._tasks.load([absolute(reference) for reference in references])

    def unload(self, *references: str) -> None:
        """Removes tasks from the device; running calls that use them are not affected.

        Raises:
            UsageError: One is not resident; none is removed then.
        """
        self._tasks.unload({reference: absolute(reference) for reference in references})

    def spec(self, reference: str) -> TaskSpec:
        """Returns the spec of a task from its head file; the task need not be resident.

        Args:
            reference: A name as in `load`.

        Raises:
            UsageError: The name has none of the valid forms.
            UnknownTaskError: There is no such task, version or alias.
            HeadFileError: The file is damaged.
        """
        return self._tasks.spec(absolute(reference))

    @operation()
    def publish(
        self,
        tasks: str | Sequence[str],
        repo: str,
        **options: Any,
    ) -> Published:
        """Publishes tasks to a repository on the Hugging Face Hub in one commit.

        Args:
            tasks: Names as in `load`; a name with an alias sets that alias in the repository.
            repo: `owner/name`, or its address; created if missing.
            options: Of `PublishOptions`: `private`, for a new repository; `revision`, a branch;
                `commit_message`, `commit_description`, `tag`; `create_pr`, a pull request instead;
                `token`; `dry_run`, to return what would be written without writing it.

        Raises:
            UsageError: An option is unknown or not valid.
            RemoteError: The Hub refuses it or cannot be reached; nothing is published then.
            AdapterHubError: As `load`, because every task is checked first.
        """
        # Imported here: it imports PEFT, which scoring does not need.
        from adapterhub.publishing.publish import publish

        place = parse_repository(repo)
        given = on_branch(parse_options(PublishOptions, options), place.revision)
        found = find_all(_names(tasks), self.registry_paths)
        self._tasks.check([task.load() for task in found])
        return publish(place.name, found, given)

    @operation()
    def explain(self, tasks: str | Sequence[str]) -> Plan:
        """Returns the plan of `score` for `tasks` and its cost, without computing it; printable.

        Args:
            tasks: Names as in `load`.

        Raises:
            BackboneMismatchError: A task was made for another backbone.
            AdapterHubError: As `spec`.
        """
        names = {name: absolute(name) for name in _names(tasks)}
        found = self._tasks.specs(list(names.values()), self._tasks.look_up(list(names.values())))
        specs = {name: found[own] for name, own in names.items()}
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
        """Returns the predictions of many tasks for `texts`, computed in one pass.

        Args:
            texts: Strings, or records with the input fields of the tasks.
            tasks: Names as in `load`; those that are not resident are loaded.
            top_k: 1 for the prediction, n for the n most probable labels, None for all labels.
            logits: Whether to return the raw head outputs as well.
            on_error: `raise` raises InputError for the first bad row, before anything is
                computed; `skip` predicts None for bad rows and lists them in `Scores.errors`.

        Raises:
            InputError: `texts` is no list of rows, or a row is bad and `on_error="raise"`.
            AdapterHubError: As `load`.
        """
        check_options(top_k, on_error, logits)
        request = Request(read_records(texts), None, on_error == "skip", top_k, logits)
        return self._score(request, _names(tasks))

    def score_rows(
        self,
        rows: Iterable[tuple[Record, str | Sequence[str]]],
        *,
        top_k: int | None = 1,
        logits: bool = False,
        on_error: OnError = "raise",
    ) -> Scores:
        """Returns predictions for rows that request different tasks; only those are computed.

        Args:
            rows: Pairs of a text or record and the task or tasks to score it with.
            top_k: As in `score`.
            logits: As in `score`.
            on_error: As in `score`.

        Returns:
            As `score`, with None where a row does not request a task.

        Raises:
            InputError: `rows` is no list of rows, or a row is bad and `on_error="raise"`.
            UsageError: A row is not such a pair.
            AdapterHubError: As `load`.
        """
        check_options(top_k, on_error, logits)
        pairs = [_pair(row) for row in read_records(rows)]  # type: ignore[arg-type]
        if not pairs:
            return Scores({})
        requested = tuple(frozenset(names) for _, names in pairs)
        records = tuple(record for record, _ in pairs)
        request = Request(records, requested, on_error == "skip", top_k, logits)
        return self._score(request, list(dict.fromkeys(name for _, own in pairs for name in own)))

    @operation()
    def score_file(
        self,
        source: object,
        out: str | Path,
        *,
        tasks: str | Sequence[str] | None = None,
        options: ScoringOptions | Mapping[str, object] | None = None,
    ) -> ScoredFile:
        """Scores a file of any size and writes its rows, with their predictions, to another.

        Rows pass in chunks, so memory does not grow with the file. Whatever stops the call, `out`
        is whole, or as it was before.

        Args:
            source: A .jsonl, .csv, .tsv or .txt file (each also with .gz) or a .parquet file; an
                open stream; a data frame, an Arrow table, a dataset or a mapping of columns; or
                an iterable of strings or records.
            out: A .jsonl, .csv or .tsv file (each also with .gz) or a .parquet file to be made.
            tasks: Names as in `load`, each loaded first; None for all tasks of the registry for
                this backbone that can read the source.
            options: Columns, bad rows, number of labels, also as a dictionary; None takes the
                defaults.

        Raises:
            DataError: The source or a row of it cannot be used, or a file cannot be written.
            UsageError: Tasks, columns and options do not fit each other.
            InputError: `source` has none of these types.
            AdapterHubError: As `load`.
        """
        names = [] if tasks is None else _names(tasks)
        given = read_options(ScoringOptions, options)
        return score_file(self, source, out, tasks=names, options=given)

    @operation()
    def _score(self, request: Request, names: Sequence[str]) -> Scores:
        own = {name: absolute(name) for name in names}
        found = self._tasks.look_up(list(own.values()))
        if found.tasks:
            # Bad rows are refused before tasks are loaded, which may evict other tasks.
            specs = self._tasks.specs(list(own.values()), found)
            for spec in specs.values():
                check_fits(spec, self._encoder)
            plan = make_plan({name: specs[one] for name, one in own.items()})
            read_rows(request, plan, self._tokenizer)
        acquired = self._tasks.acquire(list(own.values()), found)
        del found  # the bytes of head files, which may be large
        resident = {name: acquired[one] for name, one in own.items()}
        return compute_scores(request, resident, context=self._context)

    def encode(
        self,
        texts: Record | Iterable[Record],
        *,
        depth: int | None = None,
        pooling: Pooling | None = None,
        fields: Sequence[str] = ("text",),
        max_length: int | None = None,
        prompt: str | None = None,
    ) -> Array | tuple[Array, ...]:
        """Returns features in fp32: (N, H), or for pooling `tokens` one (tokens, H) per row.

        By default these are the vectors that sentence-transformers computes, if the backbone comes
        from one of its repositories: its pooling, its normalisation, its default prompt, and long
        texts truncated to its window. A pooling makes them plain features, as heads read them, of
        long texts the mean over windows.

        Args:
            texts: Strings or records.
            depth: Depth of the hidden states; None for the deepest.
            pooling: `cls`, `mean`, `max` or `tokens`; None for the backbone's own, else `mean`.
            fields: The input fields; two make a pair, for which there is no pooling `tokens`.
            max_length: Window in tokens, special tokens included; None for the backbone's own.
            prompt: Name of one of the backbone's prompts, or a text that ends with a space or
                punctuation (`"query: "`), to put before the first field; `""` for none.

        Raises:
            UsageError: The depth, pooling, fields, window or prompt are not valid.
            BackboneError: The backbone's own vectors need a module that cannot be honoured.
            InputError: A row cannot be read.
        """
        options = FeatureOptions(depth, pooling, fields, max_length, prompt)
        rows = read_records(texts)
        return features_of(rows, options, context=self._context, sentence=self._sentence)


def _reopen(
    kind: type[Hub],
    registry: str | list[str],
    opened_with: dict[str, Any],
    backbone: BackboneSpec,
    pins: dict[str, tuple[str, str]],
) -> Hub:
    hub = kind(registry, **opened_with)
    if hub.backbone.fingerprint != backbone.fingerprint:
        raise BackboneMismatchError(
            "of the pickled Hub", identity(backbone), identity(hub.backbone)
        )
    hub._tasks.load_pinned(pins)
    return hub


def _names(tasks: str | Sequence[str]) -> list[str]:
    is_one = isinstance(tasks, str) or not isinstance(tasks, Iterable)
    given: list[object] = [tasks] if is_one else list(tasks)
    names = list(dict.fromkeys(name for name in given if isinstance(name, str)))
    if not all(isinstance(name, str) for name in given):
        raise UsageError(f"Tasks are {repr(tasks)[:80]}; expected a name or a list of names.")
    if not names:
        raise UsageError("No task was given; pass at least one. `hub.tasks()` lists them.")
    return names


def _pair(row: object) -> tuple[Record, list[str]]:
    """Returns a record and the names of the tasks to score it with."""
    if not isinstance(row, tuple | list) or len(row) != 2:
        raise UsageError(
            f"A row of score_rows is {repr(row)[:80]}; expected (text or record, task or tasks)."
        )
    return row[0], _names(row[1])
