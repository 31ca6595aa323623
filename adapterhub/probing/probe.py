"""`probe`: labelled rows in, what each depth of a frozen encoder knows of the labels out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from adapterhub.errors import UsageError, check_type
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.plan import Reading
from adapterhub.probing.fitting import fit_probes
from adapterhub.probing.items import SPLITS
from adapterhub.probing.make_items import MadeItems, make_items
from adapterhub.probing.options import ProbeOptions, What
from adapterhub.probing.prepare import ProbeJob, prepare
from adapterhub.probing.result import ProbeFit, ProbeResult, Reads, SplitSizes
from adapterhub.probing.states import checked_depths, encode_states
from adapterhub.saving import open_for
from adapterhub.specs import MAX_WINDOW
from adapterhub.store.registry import NEAREST
from adapterhub.training.features.usable_cache import usable_cache

_READS: Mapping[What, Reads] = {
    "label": "text",
    "order": "text",
    "tag": "word",
    "relation": "relation",
    "head": "head",
}


def probe(
    data: object,
    *,
    options: ProbeOptions | Mapping[str, object] | None = None,
    backbone: str | Path | Backbone | None = None,
    registry: str | Path | None = NEAREST,
    encoder: Encoder | None = None,
) -> ProbeResult:
    """Measures what each depth of a frozen encoder knows of the labels of some rows.

    Args:
        data: A .jsonl, .csv, .tsv (each also with .gz or .zst), .parquet or .arrow file; a data
            frame, an Arrow table, a `datasets.Dataset` or `DatasetDict`, or a mapping of columns;
            or a list of mappings or of tuples (text, label). For the order of sentences also a
            .txt file with a paragraph in each line.
        options: Target, columns, depths, probes and controls, also as a dictionary; None takes
            the defaults.
        backbone: A key of the registry's backbones, a source as `open_backbone` takes it, or an
            open one; None takes the registry's only one, or the one that ships.
        registry: The registry.yaml whose backbones have keys; "nearest" takes the nearest one
            from the working folder upwards, None none.
        encoder: An encoder of `backbone`, on whose device everything runs; None takes the best
            device.

    Raises:
        DataError: The data cannot be read or used.
        UsageError: The options are not valid, or do not fit the data or the backbone.
        BackboneError: The backbone cannot be opened.
        RegistryError: The registry cannot be read.
    """
    return run(
        prepare(data, options=options, backbone=backbone, registry=registry), encoder=encoder
    )


@own_state
def run(job: ProbeJob, *, encoder: Encoder | None = None) -> ProbeResult:
    """Fits and measures the probes of a run that was checked.

    Args:
        job: What to do.
        encoder: As in `probe`.

    Raises:
        AdapterHubError: As `probe`.
    """
    start = time.perf_counter()
    options, rows = job.options, job.rows
    backbone = open_for(job.registry, job.backbone)
    _check_encoder(encoder, backbone)
    settings = options.fit_settings()
    checked_depths(settings, backbone.spec.num_hidden_layers)
    reading = _reading(job, backbone)
    tokenizer = TextTokenizer(backbone.tokenizer)
    made = make_items(rows, tokenizer=tokenizer, reading=reading, seed=options.seed)
    states = encode_states(
        made.windows,
        backbone,
        settings=settings,
        device="auto" if encoder is None else str(encoder.device),
        cache=usable_cache(options.for_rows()),
    )
    labels = None if rows.what == "head" else len(rows.labels)
    fits = fit_probes(made.items, states, labels=labels, settings=settings)
    return _result(job, made, fits, backbone, time.perf_counter() - start)


def _reading(job: ProbeJob, backbone: Backbone) -> Reading:
    """Returns the window: that of the options, or all positions of the backbone.

    Raises:
        UsageError: The backbone has fewer positions than the options want.
    """
    positions = int(backbone.config.max_position_embeddings)
    wanted = job.options.max_length
    if wanted is not None and wanted > positions:
        raise UsageError(
            f"max_length is {wanted}; the backbone {backbone.spec.name} reads {positions} tokens "
            f"at most."
        )
    return Reading(job.rows.fields, wanted or min(positions, MAX_WINDOW), 0)


def _check_encoder(encoder: Encoder | None, backbone: Backbone) -> None:
    if encoder is None:
        return
    check_type(encoder, Encoder, "The encoder", "an Encoder of the backbone")
    if encoder.spec.fingerprint != backbone.spec.fingerprint:
        raise UsageError("The encoder given belongs to another backbone than the one given.")


def _result(
    job: ProbeJob,
    made: MadeItems,
    fits: tuple[ProbeFit, ...],
    backbone: Backbone,
    seconds: float,
) -> ProbeResult:
    rows = job.rows
    data = ("validation", "test")
    return ProbeResult(
        data=rows.name,
        target=rows.target,
        reads=_READS[rows.what],
        labels=rows.labels,
        label_counts=made.label_counts,
        entropy=next(fit.entropy for fit in fits if fit.target == "labels"),
        splits={
            split: SplitSizes(
                texts=len(made.items[split].lengths),
                items=made.items[split].predicted,
                tokens=made.items[split].tokens,
            )
            for split in SPLITS
        },
        backbone=backbone.spec.fingerprint,
        depths=backbone.spec.num_hidden_layers,
        settings=job.options.model_dump(mode="json", exclude=set(data)),
        fits=fits,
        notes=(*rows.notes, *made.notes),
        seconds=seconds,
    )
