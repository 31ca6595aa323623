"""Changes of the labels of a prototype head; the vectors of other labels stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from adapterhub.examples import Example, KnownAnswer
from adapterhub.model.heads.prototypes.cosines import Doubles, directions
from adapterhub.shapes import CENTER, COUNTS, PROTOTYPES
from adapterhub.specs import LabelEdit, TaskSpec


@dataclass(frozen=True, slots=True, eq=False)
class ChangedHead:
    """A head with other labels, before it is saved.

    Attributes:
        spec: The task.
        tensors: All its tensors.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]

    def with_examples(self, features: Mapping[str, torch.Tensor], edit: LabelEdit) -> ChangedHead:
        """Returns it with examples of labels, new ones at the end; known answers are left out.

        Args:
            features: By label those of its examples, (n, H).
            edit: What the record says of it.
        """
        center = self.tensors[CENTER].double().numpy()
        means = dict(zip(self.spec.labels, self.tensors[PROTOTYPES], strict=True))
        counts = dict(zip(self.spec.labels, self.tensors[COUNTS].tolist(), strict=True))
        for label, own in features.items():
            units = directions(own.float().numpy(), center)
            known = counts.get(label, 0.0)
            before: Doubles = (
                means[label].double().numpy() * known if known else np.zeros_like(center)
            )
            counts[label] = known + len(units)
            mean = (before + units.sum(0)) / counts[label]
            means[label] = torch.from_numpy(mean).float()
        changed = {
            PROTOTYPES: torch.stack(list(means.values())),
            COUNTS: torch.tensor(list(counts.values())),
        }
        return self._edited(tuple(means), changed, edit)

    def without(self, labels: Sequence[str]) -> ChangedHead:
        """Returns it without some labels."""
        kept = [place for place, label in enumerate(self.spec.labels) if label not in labels]
        changed = {name: self.tensors[name][kept].clone() for name in (PROTOTYPES, COUNTS)}
        names = tuple(self.spec.labels[place] for place in kept)
        edit = LabelEdit(action="dropped", labels=tuple(labels))
        found = self._edited(names, changed, edit)
        known = tuple(_without_others(one, kept, names) for one in self.spec.known_answers)
        return replace(found, spec=found.spec.model_copy(update={"known_answers": known}))

    def renamed(self, old: str, new: str) -> ChangedHead:
        """Returns it with another name of a label; figures stay, since predictions do."""
        names = {label: label for label in self.spec.labels} | {old: new}
        edit = LabelEdit(action="renamed", labels=(old, new))
        changes = {
            "labels": tuple(names.values()),
            "known_answers": tuple(
                known.model_copy(update={"answers": tuple(names[one] for one in known.answers)})
                for known in self.spec.known_answers
            ),
            "examples": tuple(_renamed(one, names) for one in self.spec.examples),
            **self._record(edit),
        }
        return replace(self, spec=self.spec.model_copy(update=changes))

    def _edited(
        self, labels: tuple[str, ...], tensors: Mapping[str, torch.Tensor], edit: LabelEdit
    ) -> ChangedHead:
        """Returns it with other labels, without what is about those before."""
        changes: dict[str, object] = {"labels": labels, "metrics": (), "diagnostics": None}
        changes["abstention"] = None
        changes |= {"known_answers": (), "examples": (), **self._record(edit)}
        spec = self.spec.model_copy(update=changes)
        return ChangedHead(spec, {**self.tensors, **tensors})

    def _record(self, edit: LabelEdit) -> dict[str, object]:
        record = self.spec.training
        if record is None:
            return {}
        return {"training": record.model_copy(update={"edits": (*record.edits, edit)})}


def _without_others(known: KnownAnswer, kept: Sequence[int], labels: Sequence[str]) -> KnownAnswer:
    """Returns a known answer with the logits of the kept labels, which did not change."""
    logits = tuple(tuple(row[place] for place in kept) for row in known.logits)
    # As they are compared when the file is loaded: in fp32.
    best = np.asarray(logits, np.float32).argmax(1).tolist()
    answers = tuple(labels[place] for place in best)
    return known.model_copy(update={"logits": logits, "answers": answers})


def _renamed(example: Example, names: Mapping[str, str]) -> Example:
    labels = tuple(one.model_copy(update={"label": names[one.label]}) for one in example.labels)
    return example.model_copy(update={"labels": labels})
