"""A run of probes, checked before torch is imported: options, rows, backbone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.model.backbone.sources import absolute_source
from adapterhub.option_models import read_options
from adapterhub.probing.items import SPLITS
from adapterhub.probing.options import ProbeOptions
from adapterhub.probing.rows import ProbeRows, read_rows
from adapterhub.saving import check_backbone_for
from adapterhub.store.references import SHIPPED_PREFIX
from adapterhub.store.registry import NEAREST, read_registry, registry_to_write

if TYPE_CHECKING:
    from adapterhub.model.backbone.open_backbone import Backbone

_log = logging.getLogger("adapterhub")


@dataclass(frozen=True, slots=True, eq=False)
class ProbeJob:
    """A run of probes, checked as far as possible without torch.

    Attributes:
        rows: Its rows.
        options: As given.
        registry: The registry.yaml whose backbones have keys, or None.
        backbone: What was given, a folder as an absolute path.
    """

    rows: ProbeRows
    options: ProbeOptions
    registry: Path | None
    backbone: str | Path | Backbone | None


def prepare(
    data: object,
    *,
    options: ProbeOptions | Mapping[str, object] | None = None,
    backbone: str | Path | Backbone | None = None,
    registry: str | Path | None = NEAREST,
) -> ProbeJob:
    """Returns a run of probes whose options and rows fit; needs no torch.

    Args:
        data: As in `probe`.
        options: As in `probe`.
        backbone: As in `probe`.
        registry: As in `probe`.

    Raises:
        AdapterHubError: As `probe`, but for what only an open backbone tells.
    """
    options = read_options(ProbeOptions, options)
    backbone = absolute_source(backbone)
    path = None
    if registry is not None and str(registry) != SHIPPED_PREFIX:
        path = registry_to_write(registry)
        if registry != NEAREST:
            read_registry(path)
    check_backbone_for(path, backbone)
    rows = read_rows(data, options)
    _log.info(_summary(rows))
    for note in rows.notes:
        _log.warning(note)
    return ProbeJob(rows, options, path, backbone)


def _summary(rows: ProbeRows) -> str:
    sizes = ", ".join(f"{len(rows.splits[split]):,} {split}" for split in SPLITS)
    labels = f" of {len(rows.labels):,} labels" if rows.labels else ""
    return f"Read as {rows.what}{labels} from column '{rows.target}': {sizes} rows."
