"""The schema of the record of how a task was trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adapterhub.kinds import Role
from adapterhub.schema import Spec
from adapterhub.specs.names import Label, Sha256


class EarlierTask(Spec):
    """The task whose adapter initialized the training of another one.

    Its name, the digest of its adapter, and its training data as in `TrainingRecord`, if known.
    """

    task: str = Field(min_length=1)
    adapter: Sha256
    dataset: str | None = None
    dataset_license: str | None = None


class LabelEdit(Spec):
    """A change of the labels of a task after its training.

    Attributes:
        action: What was done: labels were added, examples were added to labels that were there,
            labels were dropped, or one was renamed.
        labels: The labels; of a renamed one the name before and the one after.
        rows: Number of examples and descriptions that were added.
        data_digest: sha256 over these, as of training rows; None where there are none.
    """

    action: Literal["added", "extended", "dropped", "renamed"]
    labels: tuple[Label, ...] = Field(min_length=1)
    rows: int = Field(default=0, ge=0)
    data_digest: Sha256 | None = None


class TrainingRecord(Spec):
    """The training data and the training of a head.

    Attributes:
        dataset: Name of the data set.
        dataset_license: Its licence, as stated by its source.
        data_digest: sha256 over the training rows in order.
        rows: Number of training rows, including copies augmented with other mentions.
        seed: Seed of splits, initialisation and order.
        candidates: Number of heads that were trained to choose from.
        epochs: Epochs over the training set.
        learning_rate: Learning rate of the chosen head.
        weight_decay: Weight decay of the chosen head.
        continued_from: The task whose adapter initialized the training, if any.
        validation_digest: As `data_digest`, of validation rows that were held out, if known.
        columns: Columns of the training data, where they have other names than the usual ones.
        join_tokens: How words became texts, where an option said it.
        edits: Changes of the labels since, in order; digest and rows are those of the training.
    """

    later = ("validation_digest", "columns", "join_tokens", "edits")
    dataset: str = Field(min_length=1)
    dataset_license: str | None = None
    data_digest: Sha256
    rows: int = Field(ge=1)
    seed: int
    candidates: int = Field(ge=1)
    epochs: int = Field(ge=0)
    learning_rate: float = Field(ge=0)
    weight_decay: float = Field(ge=0)
    continued_from: EarlierTask | None = None
    validation_digest: Sha256 | None = None
    columns: dict[Role, str] | None = None
    join_tokens: Literal["space", "none"] | None = None
    edits: tuple[LabelEdit, ...] = ()
