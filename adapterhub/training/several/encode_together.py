"""The texts of several tasks, checked and encoded before any of them is trained."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from adapterhub.kinds import KINDS
from adapterhub.training.features.check_tokens import check_tokens
from adapterhub.training.features.encode_ahead import Inputs, encode_ahead
from adapterhub.training.features.encoding import FeatureSource, Layout
from adapterhub.training.heads.candidates import depths_of
from adapterhub.training.heads.fit_inputs import reading_for, token_layout
from adapterhub.training.train import OpenedJob

_HALF_BYTES = 2

_log = logging.getLogger("adapterhub")


def encode_together(jobs: Sequence[OpenedJob]) -> None:
    """Encodes the texts of all tasks in one run, as far as they are read alike, into the cache.

    Raises:
        DataError: A text leaves no token.
        UsageError: The cache cannot be written.
    """
    sources: dict[Path, FeatureSource] = {}
    wanted: dict[Path, dict[Layout, dict[Inputs, None]]] = {}
    for job in jobs:
        for layout, inputs in features_of(job):
            folder = job.source.folder
            known = sources.setdefault(folder, job.source)
            most = max(known.max_bytes, job.source.max_bytes)
            sources[folder] = replace(known, max_bytes=most)
            wanted.setdefault(folder, {}).setdefault(layout, {}).update(dict.fromkeys(inputs))
    _log.info("Encoding the texts of %d tasks, as far as they are not cached.", len(jobs))
    for folder, source in sources.items():
        encode_ahead(wanted[folder], source)


def check_fit(job: OpenedJob) -> None:
    """Checks what would be found only where a task is encoded or trained.

    Raises:
        DataError: A text leaves no token.
        UsageError: The backbone has fewer positions or depths than the options want, or the adapter
            cannot be made.
    """
    for _ in features_of(job):
        pass
    for dataset in (job.job.splits.train, job.job.splits.validation):
        check_tokens(dataset, job.source)
    if job.options.adapter is not None:
        # PEFT takes seconds to import, and heads alone do not need it.
        from adapterhub.training.adapters.search_adapters import check_adapters

        check_adapters(
            job.options, backbone=job.backbone, source=job.source, warm_start=job.warm_start
        )


def features_of(job: OpenedJob) -> Iterator[tuple[Layout, Iterable[Inputs]]]:
    """Yields what the fitting of a task reads from the cache, and the texts.

    The words of a set, or the tokens of its contexts, that may not fit in memory are left out:
    which of its rows are used is decided when it is fitted.

    Raises:
        UsageError: The backbone has fewer positions or depths than the options want.
    """
    splits, options, source = job.job.splits, job.options, job.source
    reading, depth = reading_for(options, splits.train, source), source.encoder.depth
    depths = depths_of(options, depth)
    inputs = (*splits.train.items, *splits.validation.items)
    if KINDS[splits.train.kind].per_token:
        layout = token_layout(reading, depths, options)
        # A word has a character at least; windows that overlap by a quarter have some twice.
        most_words = sum(len(texts[-1]) for texts in inputs) * (1 + reading.slides_second)
        if most_words * len(depths) * source.encoder.hidden_size * _HALF_BYTES <= (
            options.memory_bytes
        ):
            yield layout, inputs
        return
    whole = Layout("pooled", reading, options.max_windows, tuple(range(depth + 1)))
    for apart in job.readings:
        if apart:
            yield replace(whole, reading=reading.alone), [(text,) for row in inputs for text in row]
        else:
            yield whole, inputs
