"""Tasks that were looked up once, for other processes to load exactly these. Without torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterhub.choices.columns import choice_fields, find_choice_columns
from adapterhub.errors import DataError
from adapterhub.model.backbone.sources import absolute_source
from adapterhub.remote.find import FoundTask, choose_backbone_key, choose_tasks, column_names
from adapterhub.remote.operation import operation
from adapterhub.results import Provenance
from adapterhub.scoring.assign_columns import field_columns, trained_columns
from adapterhub.scoring.pipeline.chunks import missing_column
from adapterhub.specs import Kind
from adapterhub.store.registries import Registries


@dataclass(frozen=True, slots=True)
class EncoderPlace:
    """What opens the same encoder, in whatever process and working folder.

    Attributes:
        registries: Absolute paths of the registry.yaml files.
        backbone: A key of these, or a source.
        device: As in `Hub`.
        dtype: As in `Hub`.
        max_windows: As in `Hub`.
    """

    registries: tuple[str, ...]
    backbone: str | None
    device: str
    dtype: str
    max_windows: int


@dataclass(frozen=True, slots=True)
class PinnedTask:
    """One version of a task, and what is known of it without loading it.

    Attributes:
        name: Its name in the columns of the predictions, without a prefix.
        reference: What loads this version.
        kind: Kind of its output.
        fields: Its input fields.
        trained: Field and column of the training data, where the head file names them.
        made_by: Its version and digest.
        has_choices: Whether its second field is a list of choices.
    """

    name: str
    reference: str
    kind: Kind
    fields: tuple[str, ...]
    trained: tuple[tuple[str, str], ...]
    made_by: Provenance
    has_choices: bool = False

    def columns(self, given: Sequence[str | None], columns: Collection[str]) -> dict[str, str]:
        """Returns the column of each field.

        Args:
            given: Columns that the user named for the fields, in their order.
            columns: The columns that are there.

        Raises:
            DataError: One is missing.
        """
        named, trained = dict(zip(self.fields, given, strict=False)), dict(self.trained)
        if self.has_choices:
            found = choice_fields(named, trained, columns)
            parts = find_choice_columns(columns, tuple(found.values()))
            there = dict(zip(found, (parts.prompt, parts.choices), strict=True))
        else:
            found = field_columns(named, trained, columns=columns, common=set(columns))
            there = {f: (c,) if c in columns else () for f, c in found.items()}
        for field, column in found.items():
            if not there[field]:
                option = "text_column" if field == self.fields[0] else "pair_column"
                raise DataError(
                    "batch",
                    f"task '{self.name}' reads {' + '.join(self.fields)}, but "
                    f"{missing_column(column, [str(one) for one in columns])} Name it with "
                    f"{option}=…",
                )
        return found


@dataclass(frozen=True, slots=True)
class PinnedTasks:
    """Tasks that run together.

    Attributes:
        place: Their encoder.
        tasks: Each of them.
    """

    place: EncoderPlace
    tasks: tuple[PinnedTask, ...]


@operation()
def pin_tasks(
    names: Sequence[str],
    registries: Registries,
    *,
    backbone: str | Path | None,
    device: str,
    dtype: str,
    max_windows: int,
) -> PinnedTasks:
    """Returns the versions that names mean now; each head file is read, hashed and parsed once.

    Args:
        names: References, as in `Hub.load`.
        registries: Where they are looked up.
        backbone: As in `Hub`.
        device: As in `Hub`.
        dtype: As in `Hub`.
        max_windows: As in `Hub`.

    Raises:
        AdapterHubError: As `Hub.spec`.
    """
    chosen = choose_tasks(registries, names)
    given = absolute_source(backbone)
    key = choose_backbone_key(registries, chosen, None if given is None else str(given))
    place = EncoderPlace(
        registries=tuple(map(str, registries.paths)),
        backbone=None if key is None else str(key),
        device=device,
        dtype=dtype,
        max_windows=max_windows,
    )
    called = column_names(chosen)
    return PinnedTasks(place, tuple(_pinned(task, called[task.reference]) for task in chosen))


def _pinned(task: FoundTask, name: str) -> PinnedTask:
    spec = task.spec
    return PinnedTask(
        name=name,
        reference=task.pinned,
        kind=spec.kind,
        fields=tuple(spec.fields),
        trained=tuple(trained_columns(spec).items()),
        made_by=Provenance(
            task.name, task.version, task.sha256, spec.backbone.fingerprint, task.origin
        ),
        has_choices=spec.row.of_choices,
    )
