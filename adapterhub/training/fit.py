"""All candidate heads fitted together, as one batched problem on cached features.

A step is a few matrix products over (heads, settings); standardised features, AdamW, a cosine
schedule. After some epochs the worse half of the settings of each head, the worse half of the
poolings of each depth and all heads that are far behind are dropped (successive halving); of
each head the epoch that was best on the validation rows is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm import tqdm

from adapterhub.specs import HeadSpec
from adapterhub.training.candidates import Setting
from adapterhub.training.field import Field
from adapterhub.training.problem import Fitted, Problem
from adapterhub.training.readers import Reader

# Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
# Optimization", 2016. Parts of the schedule after which half is dropped.
_HALVINGS = (0.1, 0.25, 0.5)
# Looking at the validation rows more often than this costs more than it finds.
_MOST_LOOKS = 24


def fit(
    reader: Reader, settings: Sequence[Setting], *, hidden_width: int | None, problem: Problem
) -> list[Fitted]:
    """Returns the best candidate for each head of `reader`.

    Args:
        reader: Gives the features of G heads.
        settings: The C settings that are tried for each of them.
        hidden_width: Width of a hidden layer, or None for linear heads.
        problem: Targets, validation and budget.
    """
    field = Field.start(reader, settings, hidden_width, problem)
    epochs = problem.epochs
    halvings = {max(1, round(part * epochs)) for part in _HALVINGS} - {epochs}
    looks = {round(epochs * look / _MOST_LOOKS) for look in range(_MOST_LOOKS)} | {epochs}
    generator = torch.Generator().manual_seed(problem.seed)
    everything = problem.everything
    ranking = problem.ranking or everything
    done: list[Fitted] = []
    shape = "linear" if hidden_width is None else f"hidden-{hidden_width}"
    name = f"fitting {len(reader.heads) * len(settings)} {shape} heads"
    for epoch in tqdm(range(1, epochs + 1), desc=name, unit="epoch", disable=None):
        stage = ranking if epoch <= max(halvings, default=0) else everything
        field.train(epoch, stage.sample, generator)
        if epoch in looks | halvings:
            field.remember(epoch, stage)
        if epoch in halvings:
            # What is behind late will not catch up.
            field, dropped = field.halve(problem.slack * (1 - epoch / epochs))
            done.extend(dropped)
            if epoch == max(halvings) and ranking is not everything:
                # Values on some rows and values on all do not compare.
                field.forget()
    done.extend(field.finish(range(len(field.reader.heads))))
    order = {head: place for place, head in enumerate(reader.heads)}
    return sorted(done, key=lambda fitted: order[_linear(fitted.head)])


def _linear(head: HeadSpec) -> HeadSpec:
    return head.model_copy(update={"hidden_width": None})
