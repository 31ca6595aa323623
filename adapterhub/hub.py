"""Hub: a registry, one encoder, and the tasks that are resident on its device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from adapterhub.decoding import AnswerOptions
from adapterhub.inputs import Record, read_records
from adapterhub.model.execution.call import make_request, with_own_tasks
from adapterhub.model.execution.stages import ResidentCall
from adapterhub.model.execution.text_features import FeatureOptions
from adapterhub.opening import HubSettings, open_parts
from adapterhub.option_models import read_options
from adapterhub.plan import Plan
from adapterhub.publishing.publication import Published, read_place
from adapterhub.remote.calls import reading_with, split_access
from adapterhub.remote.named_tasks import is_folder_of_tasks
from adapterhub.remote.operation import operation
from adapterhub.remote.task_names import TaskNames, names_in, names_on_hub
from adapterhub.results import Answer, Scores, TaskInfo
from adapterhub.retrieval.encode import Encoded, encode_texts
from adapterhub.retrieval.nearest import nearest_texts
from adapterhub.retrieval.neighbours import Neighbours
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.score_file import ScoredFile, score_file
from adapterhub.scoring.stream import stream_answers
from adapterhub.specs import BackboneSpec, Pooling, TaskSpec

if TYPE_CHECKING:
    from adapterhub.evaluation.result import Evaluation

OnError = Literal["raise", "skip"]
_Hub = TypeVar("_Hub", bound="Hub")


class Hub:
    """One frozen encoder on a device; scores texts with any of its tasks in one pass.

    Thread-safe: the tasks are an argument of each call, and a call uses the versions that were
    resident at its start until it ends.

    Attributes:
        registry_path, registry_paths: The registry.yaml in use, of several the first; and all.
        backbone: Identity and sizes of the backbone.
        encoder, tokenizer: The encoder, for use with other heads, and its tokenizer.
        dtype: Of the encoder, as it was given, and so `max_windows`.
    """

    def __init__(
        self,
        registry: str | Path | Sequence[str | Path] | TaskNames | None = None,
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
            backbone: A key of the registry's backbones, or a source as in `open_backbone`; None
                takes the only one that is listed.
            device: `cpu`, `cuda`, `cuda:<n>`, `mps` or `auto`.
            dtype: `float32`, `float16` or `bfloat16` for the encoder; heads are always fp32.
            max_bytes: Maximum size of resident heads and adapters, such as `"2GB"`; None for any.
            max_windows: Maximum windows per text; the rest of the text is truncated.

        Raises:
            RegistryError: A registry is not valid.
            BackboneError: The backbone cannot be opened, or is not the registry's.
            UsageError: An argument is not valid, or the device is not available.
        """
        parts = open_parts(registry, HubSettings(backbone, device, dtype, max_bytes, max_windows))
        self.registry_paths, self.registry_path = parts.names.paths, parts.names.paths[0]
        self.backbone: BackboneSpec = parts.backbone.spec
        self.dtype, self.max_windows = str(dtype), max_windows
        self.encoder, self.tokenizer = parts.context.encoder, parts.context.tokenizer
        self._names, self._tasks, self._settings = parts.names, parts.tasks, parts.settings
        self._folder = parts.backbone.root
        self._encode = partial(encode_texts, parts=parts)

    def __reduce__(self) -> tuple[object, ...]:
        """Returns how to open it again elsewhere, with the same versions resident."""
        opened = partial(type(self), self._names.given, **asdict(self._settings))
        return opened, (), (self.backbone, self._tasks.pins())

    def __setstate__(self, pinned: tuple[Any, ...]) -> None:
        self._tasks.load_pinned(*pinned)

    @classmethod
    @operation()
    def from_hub(
        cls: type[_Hub], *names: str | Sequence[str], revision: str | None = None, **options: Any
    ) -> _Hub:
        """Opens tasks of the Hugging Face Hub with their backbone; no registry of yours is used.

        The tasks are resident. `score` takes their plain names too, and without names means all.

        Args:
            names: `owner/repo:task` as in `load`, or `owner/repo` for all its tasks; or a list.
            revision: Commit, branch or tag for names without one.
            options: As in `Hub()`; for this call `token` and `local_files_only` too.
        """
        access, rest = split_access(options)
        with reading_with(**access):
            hub = cls(names_on_hub(names, revision), **rest)
            hub.load(*hub._names.own(None).values())
        return hub

    @classmethod
    def from_pretrained(
        cls: type[_Hub], name: str | Path, *, revision: str | None = None, **options: Any
    ) -> _Hub:
        """Opens tasks with their backbone: of the Hub, as `from_hub`, or of a folder with them.

        The name is `owner/repo`, `owner/repo:task`, or a folder; one that exists comes first.
        """
        if not is_folder_of_tasks(name, revision):
            return cls.from_hub(str(name), revision=revision, **options)
        hub = cls(names_in(name, opens_all=True), **split_access(options)[1])
        hub.load(*hub._names.opened)
        return hub

    @property
    def resident_bytes(self) -> int:
        """Returns the size of the resident heads and adapters in bytes, without the encoder."""
        return self._tasks.bytes

    def tasks(self) -> list[TaskInfo]:
        """Returns the tasks in the registry files now, or in the repositories `from_hub` opened.

        Those that ship with adapterhub are among them only if no other registry is in use.
        """
        return self._names.infos(self._tasks.names())

    def load(self, *references: str) -> None:
        """Loads tasks on the device, all or none; replaces resident ones that have changed.

        Args:
            references: `name` (its newest version), `name@alias`, `name:version`, `shipped:name`,
                `./other/registry.yaml:name`, `./file.safetensors`; or on the Hub
                `owner/repo:name`, optionally followed by `@alias`, `:version`, `@tag` or `@commit`.

        Raises:
            UnknownTaskError: There is no such task, version or alias.
            HeadFileError: A file is damaged or does not reproduce its known answers.
            BackboneMismatchError: A task was made for another backbone.
            ResidentError: The tasks do not fit in `max_bytes`.
        """
        self._tasks.load([self._names.full(reference) for reference in references])

    def unload(self, *references: str) -> None:
        """Removes tasks from the device; running calls that use them are not affected.

        Raises:
            UsageError: One is not resident; none is removed then.
        """
        self._tasks.unload({reference: self._names.full(reference) for reference in references})

    def spec(self, reference: str) -> TaskSpec:
        """Returns the spec of a task, named as in `load`; it need not be resident."""
        return self._tasks.spec(self._names.full(reference))

    @operation()
    def publish(self, tasks: str | Sequence[str], repo: str, **options: Any) -> Published:
        """Publishes tasks to a repository on the Hugging Face Hub in one commit.

        Args:
            tasks: Names as in `load`; a name with an alias sets that alias in the repository.
            repo: `owner/name`, or its address; created if missing.
            options: Of `PublishOptions`, such as `private`, `revision`, `tag`, `dry_run`.

        Raises:
            UsageError: An option is unknown or not valid.
            RemoteError: The Hub refuses it or cannot be reached; nothing is published then.
            AdapterHubError: As `load`, because every task is checked first.
        """
        # Imported here: it imports PEFT, which scoring does not need.
        from adapterhub.publishing.publish import publish

        name, how = read_place(repo, options)
        return publish(name, self._tasks.checked(self._names.own(tasks), how.examples), how)

    def push_to_hub(
        self, repo_id: str, tasks: str | Sequence[str] | None = None, **options: Any
    ) -> Published:
        """Publishes tasks as `publish` does, by the name that transformers has for it.

        Without tasks: those that it was opened with, else all of its registry for this backbone.
        """
        return self.publish(self._names.saved(tasks, self.backbone.fingerprint), repo_id, **options)

    def save_pretrained(self, folder: str | Path, tasks: str | Sequence[str] | None = None) -> None:
        """Writes tasks to a folder that `from_pretrained` opens: what `publish` would, there.

        The folder is whole or not there. A backbone that is a folder itself is copied into it.

        Args:
            folder: Made; may exist if it is empty.
            tasks: As in `push_to_hub`.

        Raises:
            AdapterHubError: The folder is not empty; or as `load`, as every task is checked first.
        """
        from adapterhub.publishing.saved_folder import save_folder

        names = self._names.saved(tasks, self.backbone.fingerprint)
        save_folder(folder, self._tasks.checked(self._names.own(names)), backbone=self._folder)

    def explain(self, tasks: str | Sequence[str] | None = None) -> Plan:
        """Returns the plan of `score` for `tasks` and its cost, without computing it; printable."""
        return self._tasks.plan(self._names.own(tasks), self.backbone)

    def score(
        self,
        texts: Record | Iterable[Record],
        tasks: str | Sequence[str] | None = None,
        *,
        top_k: int | None = 1,
        min_confidence: float | None = None,
        logits: bool = False,
        on_error: OnError = "raise",
    ) -> Scores:
        """Returns the predictions of many tasks for `texts`, computed in one pass.

        Args:
            texts: Strings, or records with the input fields of the tasks.
            tasks: Names as in `load`; those that are not resident are loaded. None for those that
                the hub was opened with by `from_hub` or `from_pretrained`.
            top_k: 1 for the prediction, n for the n most probable labels, None for all labels.
            min_confidence: Probability under which a task does not answer, where `top_k` is 1: no
                label, choice or span. None for what its file says, 0 to answer always.
            logits: Whether to return the raw head outputs as well.
            on_error: `raise` raises InputError for the first bad row, before anything is
                computed; `skip` predicts None for bad rows and lists them in `Scores.errors`.

        Raises:
            InputError: `texts` is no list of rows, or a row is bad and `on_error="raise"`.
            AdapterHubError: As `load`.
        """
        wanted = AnswerOptions(top_k, min_confidence)
        request = make_request(read_records(texts), wanted, on_error=on_error, logits=logits)
        return self._tasks.score(request, self._names.own(tasks))

    def stream(
        self,
        rows: Iterable[Record],
        tasks: str | Sequence[str] | None = None,
        *,
        top_k: int | None = 1,
        min_confidence: float | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[dict[str, Answer]]:
        """Returns an iterator over the predictions of rows that come in their own time.

        It yields `{task: prediction}` for each, in order, as soon as it is there. What arrives in
        the meantime is scored together. `rows` may have no end; a thread reads a little ahead.
        `rows` is any iterable of texts or records; the tasks keep their versions. A bad row raises
        InputError behind the predictions of those before it, or with `skip` gets None for its
        tasks; the others are as in `score`.

        Raises:
            InputError: `rows` is no iterable of rows.
            AdapterHubError: As `load`.
        """
        call = self.open_call(tasks, top_k=top_k, min_confidence=min_confidence)
        return stream_answers(call, rows, on_error=on_error)

    def open_call(
        self,
        tasks: str | Sequence[str] | None = None,
        *,
        fields: Mapping[str, Mapping[str, str]] | None = None,
        top_k: int | None = 1,
        min_confidence: float | None = None,
    ) -> ResidentCall:
        """Returns `score` in stages that a pipeline can overlap, always with the same versions.

        By task, `fields` has the column that a field is read from, by field.
        """
        wanted = AnswerOptions(top_k, min_confidence)
        return self._tasks.open_call(self._names.own(tasks), fields=fields, answers=wanted)

    def score_rows(
        self,
        rows: Iterable[tuple[Record, str | Sequence[str]]],
        *,
        top_k: int | None = 1,
        min_confidence: float | None = None,
        logits: bool = False,
        on_error: OnError = "raise",
    ) -> Scores:
        """Returns predictions for rows that request different tasks; others are not computed.

        `rows` are pairs of a text or record and its task or tasks; the others are as in `score`.

        Raises:
            UsageError: A row is not such a pair.
            AdapterHubError: As `score`.
        """
        pairs = read_records(rows)  # type: ignore[arg-type]
        wanted = AnswerOptions(top_k, min_confidence)
        given = make_request(pairs, wanted, on_error=on_error, logits=logits)
        request, names = with_own_tasks(given)
        return self._tasks.score(request, self._names.own(names)) if names else Scores({})

    @operation()
    def evaluate(
        self, data: object, tasks: str | Sequence[str] | None = None, **options: Any
    ) -> Evaluation:
        """Measures tasks on labelled rows; the result prints and plots itself.

        Args:
            data: As `train` takes it; each task reads its own columns of all rows.
            tasks: As in `score`.
            options: `text`, `pair`, `target`, `tokens`, `heads`, `join_tokens`; `min_confidence`.

        Raises:
            AdapterHubError: As `train` for the rows, as `load` for the tasks.
        """
        # Imported here: it imports what trains, which scoring does not need.
        from adapterhub.evaluation.evaluate import evaluate_tasks

        return evaluate_tasks(self, data, list(self._names.own(tasks)), options)

    @operation()
    def score_file(
        self,
        source: object,
        out: str | Path,
        *,
        tasks: str | Sequence[str] | None = None,
        options: ScoringOptions | Mapping[str, object] | None = None,
    ) -> ScoredFile:
        """Scores rows in constant memory and writes them, with their predictions, to a file.

        Predictions get the columns of `Scores.rows`. The same call goes on where one before it was
        stopped (docs/scoring.md); a file is whole, or as it was before.

        Args:
            source: A file, folder or pattern; an open stream; a table; or strings or records.
            out: A file, or a folder for parts: a name without an ending.
            tasks: Names as in `load`, each loaded first; None as in `score`, else for all tasks of
                the registry for this backbone that can read the source.
            options: Columns, bad rows, number of labels; also as a dictionary.

        Raises:
            DataError: A row, the source or the output cannot be used, or is of another job.
            UsageError: Tasks, columns and options do not fit each other.
            InputError: `source` has none of these types.
            AdapterHubError: As `load`.
        """
        given = read_options(ScoringOptions, options)
        return score_file(self, source, out, tasks=self._names.to_score(tasks), options=given)

    def encode(
        self,
        texts: Record | Iterable[Record],
        *,
        depth: int | None = None,
        pooling: Pooling | None = None,
        fields: Sequence[str] = ("text",),
        max_length: int | None = None,
        prompt: str | None = None,
        **options: Any,
    ) -> Encoded:
        """Returns fp32 vectors: (N, H), of a task (N, K), for pooling `tokens` (tokens, H) per row.

        By default those of sentence-transformers, if the backbone comes from one of its
        repositories. A pooling makes plain features, of long texts the mean over windows.

        Args:
            texts: Strings or records.
            depth: Depth of the hidden states; None for the deepest.
            pooling: `cls`, `mean`, `max` or `tokens`; None for the backbone's own, else `mean`.
            fields: The input fields; two make a pair, for which there is no pooling `tokens`.
            max_length: Window in tokens, special tokens included; None for the backbone's own.
            prompt: A prompt of the backbone by name, or a text such as `"query: "`; `""` for none.
            options: Of `EncodeOptions`: `task`, `normalize`, `truncate_dim`, `role`, `output`, ….

        Raises:
            AdapterHubError: An argument or a row is not valid, or the vectors cannot be computed.
        """
        given = FeatureOptions(depth, pooling, fields, max_length, prompt)
        return self._encode(read_records(texts), given, options)

    def nearest(self, queries: Any, texts: object, **options: Any) -> Neighbours:
        """Returns the texts whose vectors are most similar to that of each query.

        `texts` are an `Index`, the folder of one, or what `Index.build` makes one of; `options` are
        of `QueryOptions`, such as `top_k`, and, where an index is made, of `IndexOptions` too.
        """
        return nearest_texts(self, queries, texts, options)
