"""The batches of full fine-tuning: rows of like length, as where adapters are trained.

In the Trainer's own batches half of what is computed is padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer

from adapterhub.training.adapters.examples import training_order

Items = Sequence[dict[str, Any]]
"""Rows as transformers takes them: `input_ids`, `token_type_ids` and `labels`."""

IGNORED = -100
"""The label of tokens without a target."""


class LikeLengthTrainer(Trainer):
    """A Trainer on `Items` with such batches."""

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Returns the batches of all epochs."""
        items: Any = self.train_dataset
        size = self.args.per_device_train_batch_size
        steps = _Steps(lengths_of(items), size, self.args.seed)
        return DataLoader(items, batch_sampler=steps, collate_fn=collate)


class _Steps(Sampler[list[int]]):
    """The rows of every step, in another order in every epoch."""

    def __init__(self, lengths: npt.NDArray[np.int64], batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._epoch = 0

    def __len__(self) -> int:
        return -(-len(self._lengths) // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        self._epoch += 1
        yield from training_order(
            self._lengths, batch_size=self._batch_size, seed=self._seed, epoch=self._epoch
        )


def lengths_of(items: Items) -> npt.NDArray[np.int64]:
    """Returns the tokens of every row, (N,)."""
    return np.array([len(item["input_ids"]) for item in items], np.int64)


def collate(items: Items) -> dict[str, torch.Tensor]:
    """Returns the rows of one batch, padded to the longest."""

    def padded(name: str, value: int) -> torch.Tensor:
        rows = [torch.tensor(item[name]) for item in items]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)

    ones = [torch.ones(len(item["input_ids"]), dtype=torch.int64) for item in items]
    is_tagging = isinstance(items[0]["labels"], list)
    return {
        "input_ids": padded("input_ids", 0),
        "token_type_ids": padded("token_type_ids", 0),
        "attention_mask": torch.nn.utils.rnn.pad_sequence(ones, batch_first=True),
        "labels": padded("labels", IGNORED)
        if is_tagging
        else torch.from_numpy(np.stack([item["labels"] for item in items])),
    }
