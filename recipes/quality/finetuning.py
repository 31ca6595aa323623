"""Full fine-tuning by transformers' Trainer, with the rows and metrics of heads."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import numpy as np
import torch
from transformers import (
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    EarlyStoppingCallback,
    PrinterCallback,
    TrainingArguments,
)

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.heads.heads import RowLogits
from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.plan import Reading
from adapterhub.specs import HeadSpec, TaskSpec
from adapterhub.training.data.dataset import Dataset, Splits
from adapterhub.training.data.tagging import unit_tags
from adapterhub.training.kinds.table import calibrated, compute_metrics
from adapterhub.training.options import MetricName
from recipes.quality.finetuning_batches import IGNORED, LikeLengthTrainer, collate, lengths_of
from recipes.quality.systems import Budget, Given, Outcome

_PROBLEMS = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def fine_tune(splits: Splits, given: Given) -> Outcome:
    """Returns the validation metric of an ALBERT with all weights trained.

    Every step size of the budget is tried, and the one that is best on these rows counts.

    Rows are cut to one window, as users of the Trainer cut them; its length is that of heads.

    Args:
        splits: The training set, and the validation set, on which the epoch is chosen too.
        given: The settings of all systems.
    """
    budget, backbone, device = given.budget, given.backbone, given.encoder.device
    rows = _Rows(splits, backbone, min(512, given.encoder.max_positions))
    started = time.perf_counter()
    is_half, on_cpu = given.precision == "bfloat16", device.type == "cpu"
    epochs = budget.full_epochs(splits.train.kind, len(splits.train.labels))
    values = []
    for rate in budget.full_rates:
        arguments = _arguments(budget, rate) | {
            "num_train_epochs": epochs,
            "use_cpu": on_cpu,
            "bf16": is_half,
        }
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(budget.seed)
            model = _model(splits.train, backbone, is_half=is_half and on_cpu)
            values.append(_run(model, arguments, rows, given.metric, patience=budget.patience))
    depth = backbone.spec.num_hidden_layers
    return Outcome(
        value=max(values),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        passes=depth,
        own_passes=depth,
        seconds=time.perf_counter() - started,
        precision=given.precision,
    )


def _run(
    model: Any, arguments: dict[str, Any], rows: _Rows, metric: MetricName, *, patience: int
) -> float:
    """Returns the metric of the best epoch."""
    validation = rows.splits.validation
    train, held_out = rows.items(rows.splits.train), rows.items(validation)
    # Rows of like length share a batch, as they do where adapters are trained.
    order = np.argsort(lengths_of(held_out), kind="stable")
    places = np.argsort(order)
    by_length: Any = [held_out[row] for row in order]
    with tempfile.TemporaryDirectory() as folder:
        trainer = LikeLengthTrainer(
            model=model,
            args=TrainingArguments(output_dir=folder, **arguments),
            train_dataset=train,
            eval_dataset=by_length,
            data_collator=collate,
            compute_metrics=lambda found: {
                "chosen": rows.value(found.predictions[places], validation, metric)
            },
            callbacks=[EarlyStoppingCallback(patience)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        found = trainer.predict(by_length)
        return rows.value(found.predictions[places], validation, metric)


def _arguments(budget: Budget, rate: float) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": budget.batch_size,
        "per_device_eval_batch_size": 2 * budget.batch_size,
        "learning_rate": rate,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "warmup_steps": 0.1,
        "lr_scheduler_type": "linear",
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "save_only_model": True,
        "load_best_model_at_end": True,
        "metric_for_best_model": "chosen",
        "report_to": [],
        "disable_tqdm": True,
        "logging_strategy": "no",
        "seed": budget.seed,
        "dataloader_pin_memory": False,
    }


def _model(train: Dataset, backbone: Backbone, *, is_half: bool) -> Any:
    options: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True}
    if is_half:
        # Measured on a CPU: the gradient of fused attention in bf16 takes twice as long.
        options["attn_implementation"] = "eager"
    labels = max(1, len(train.labels))
    if train.kind == "tagging":
        return AlbertForTokenClassification.from_pretrained(
            backbone.folder, num_labels=labels, **options
        )
    return AlbertForSequenceClassification.from_pretrained(
        backbone.folder, num_labels=labels, problem_type=_PROBLEMS[train.kind], **options
    )


class _Rows:
    """The rows of a data set for transformers, and metrics of its outputs."""

    def __init__(self, splits: Splits, backbone: Backbone, length: int) -> None:
        self.splits = splits
        train = splits.train
        is_tagging = train.kind == "tagging"
        depth = backbone.spec.num_hidden_layers
        self._tokenizer = TextTokenizer(backbone.tokenizer)
        self._reading = Reading(train.fields, length, 0)
        self._spec = TaskSpec(
            task="fine-tuned",
            kind=train.kind,
            labels=train.labels,
            fields=train.fields,
            max_length=length,
            backbone=backbone.spec,
            head=HeadSpec(depths=(depth,), pooling="tokens" if is_tagging else "cls"),
        )
        # Numbers are standardised, as they are for adapters; raw ones cost epochs.
        self._mean, self._deviation = 0.0, 1.0
        if train.kind == "regression":
            truth = train.truth()
            self._mean, self._deviation = float(truth.mean()), float(truth.std()) or 1.0

    def items(self, dataset: Dataset) -> Any:
        """Returns a list with one item per row: its first window and its target."""
        rows = self._tokenizer.rows(dataset.inputs, reading=self._reading, max_windows=1)
        windows = self._tokenizer.windows(rows, reading=self._reading)
        items: list[dict[str, Any]] = [
            {"input_ids": one.ids, "token_type_ids": one.type_ids} for one in windows
        ]
        if dataset.kind != "tagging":
            for item, target in zip(items, self._standard(dataset), strict=True):
                item["labels"] = target
            return items
        index = {label: place for place, label in enumerate(dataset.labels)}
        for number, item in enumerate(items):
            item["labels"] = labels = [IGNORED] * len(item["input_ids"])
            words = words_of(TaggedText(dataset.inputs[number][0], rows[number].offsets))
            tags = unit_tags(words, dataset.spans()[number], dataset.labels)
            for word, tag in zip(words, tags, strict=True):
                labels[1 + word.token] = index[tag]  # after [CLS]
        return items

    def value(self, predictions: Any, dataset: Dataset, metric: MetricName) -> float:
        """Returns the metric of outputs (N, K), for tagging (N, S, K)."""
        values = np.asarray(predictions, np.float32)
        if dataset.kind == "tagging":
            rows = self._tokenizer.rows(dataset.inputs, reading=self._reading, max_windows=1)
            texts = tuple(
                TaggedText(texts[0], row.offsets)
                for texts, row in zip(dataset.inputs, rows, strict=True)
            )
            own = tuple(
                row[1 : 1 + len(text.offsets)] for row, text in zip(values, texts, strict=True)
            )
            logits = RowLogits(own, texts)
        else:
            outputs = values.reshape(len(dataset), -1)
            logits = RowLogits(outputs * np.float32(self._deviation) + np.float32(self._mean))
        found = compute_metrics(calibrated(self._spec, logits, dataset), logits, dataset)
        return next(one.value for one in found if one.name == metric)

    def _standard(self, dataset: Dataset) -> Any:
        truth = dataset.truth()
        if dataset.kind != "regression":
            return truth
        return ((truth - self._mean) / self._deviation).astype(np.float32)
