"""Full fine-tuning by transformers' Trainer, on the rows and by the figures of heads."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    Trainer,
    TrainingArguments,
)

from adapterhub.model.backbone import Backbone
from adapterhub.model.heads import RowLogits
from adapterhub.model.spans import TaggedText, words_of
from adapterhub.model.tokens import TextTokenizer
from adapterhub.plan import Reading
from adapterhub.specs import HeadSpec, Metric, TaskSpec
from adapterhub.training.data import Dataset, Splits
from adapterhub.training.measure import calibrated, measured
from adapterhub.training.tagging import unit_tags
from benchmarks.systems import Budget, Outcome

MAX_LENGTH = 128
IGNORED = -100
RATE = 2e-4
_PROBLEMS = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def fine_tune(splits: Splits, backbone: Backbone, budget: Budget, *, rate: float = RATE) -> Outcome:
    """Returns what an ALBERT with all weights trained reaches on the validation rows."""
    tokenizer = TextTokenizer(backbone.tokenizer)
    spec = _spec(splits.train, backbone)
    train, held_out = (_items(part, tokenizer) for part in (splits.train, splits.validation))
    torch.manual_seed(budget.seed)
    model = _model(splits.train, backbone)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=_arguments(folder, budget, rate),
            train_dataset=train,
            eval_dataset=held_out,
            data_collator=_collate,
            compute_metrics=lambda found: {
                "chosen": _metric(
                    _measure(spec, found.predictions, splits.validation, tokenizer), budget
                )
            },
        )
        trainer.train()
        predictions = trainer.predict(held_out).predictions
    seconds = time.perf_counter() - started
    metrics = _measure(spec, predictions, splits.validation, tokenizer)
    return Outcome(
        value=_metric(metrics, budget),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        passes=backbone.spec.num_hidden_layers,
        own_passes=backbone.spec.num_hidden_layers,
        seconds=seconds,
    )


def _arguments(folder: str, budget: Budget, rate: float) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=budget.batch_size,
        per_device_eval_batch_size=32,
        num_train_epochs=budget.epochs,
        learning_rate=rate,
        weight_decay=0.01,
        max_grad_norm=1.0,
        warmup_steps=0.1,
        lr_scheduler_type="linear",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="chosen",
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        seed=budget.seed,
        dataloader_pin_memory=False,
    )


def _model(train: Dataset, backbone: Backbone) -> Any:
    options: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True}
    labels = max(1, len(train.labels))
    if train.kind == "tagging":
        return AlbertForTokenClassification.from_pretrained(
            backbone.folder, num_labels=labels, **options
        )
    return AlbertForSequenceClassification.from_pretrained(
        backbone.folder, num_labels=labels, problem_type=_PROBLEMS[train.kind], **options
    )


def _reading(dataset: Dataset) -> Reading:
    return Reading(dataset.fields, MAX_LENGTH, 0)


def _items(dataset: Dataset, tokenizer: TextTokenizer) -> list[dict[str, Any]]:
    """Returns one item per row: its first window and its answer."""
    rows = tokenizer.rows(dataset.inputs, reading=_reading(dataset), max_windows=1)
    windows = tokenizer.windows(rows, reading=_reading(dataset))
    first = {window.row: window for window in reversed(windows)}
    items = []
    truth = None if dataset.kind == "tagging" else dataset.truth()
    index = {label: place for place, label in enumerate(dataset.labels)}
    for number, row in enumerate(rows):
        window = first[number]
        item: dict[str, Any] = {"input_ids": window.ids, "token_type_ids": window.type_ids}
        if truth is None:
            labels = [IGNORED] * len(window.ids)
            words = words_of(TaggedText(dataset.inputs[number][0], row.offsets))
            for word, tag in zip(words, unit_tags(words, dataset.spans()[number]), strict=True):
                labels[1 + word.token] = index[tag]  # after [CLS]
            item["labels"] = labels
        else:
            item["labels"] = truth[number]
        items.append(item)
    return items


def _collate(items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    def padded(name: str, value: int) -> torch.Tensor:
        rows = [torch.tensor(item[name]) for item in items]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)

    ids = [torch.ones(len(item["input_ids"]), dtype=torch.int64) for item in items]
    is_tagging = isinstance(items[0]["labels"], list)
    return {
        "input_ids": padded("input_ids", 0),
        "token_type_ids": padded("token_type_ids", 0),
        "attention_mask": torch.nn.utils.rnn.pad_sequence(ids, batch_first=True),
        "labels": padded("labels", IGNORED)
        if is_tagging
        else torch.from_numpy(np.stack([item["labels"] for item in items])),
    }


def _measure(
    spec: TaskSpec, predictions: Any, dataset: Dataset, tokenizer: TextTokenizer
) -> tuple[Metric, ...]:
    values = np.asarray(predictions, np.float32)
    if dataset.kind == "tagging":
        rows = tokenizer.rows(dataset.inputs, reading=_reading(dataset), max_windows=1)
        texts = tuple(
            TaggedText(texts[0], row.offsets)
            for texts, row in zip(dataset.inputs, rows, strict=True)
        )
        own = tuple(row[1 : 1 + len(text.offsets)] for row, text in zip(values, texts, strict=True))
        logits = RowLogits(own, texts)
    else:
        logits = RowLogits(values.reshape(len(dataset), -1))
    return measured(calibrated(spec, logits, dataset), logits, dataset)


def _metric(metrics: Sequence[Metric], budget: Budget) -> float:
    return next(metric.value for metric in metrics if metric.name == budget.metric)


def _spec(train: Dataset, backbone: Backbone) -> TaskSpec:
    pooling = "tokens" if train.kind == "tagging" else "cls"
    return TaskSpec(
        task="fine-tuned",
        kind=train.kind,
        labels=train.labels,
        fields=train.fields,
        max_length=MAX_LENGTH,
        backbone=backbone.spec,
        head=HeadSpec(depths=(backbone.spec.num_hidden_layers,), pooling=pooling),
    )
