"""What the features cache did for a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.plan import Plan
from adapterhub.scoring.pipeline.chunks import Request, ScoredChunk

if TYPE_CHECKING:
    from adapterhub.model.execution.stages import ResidentCall
    from adapterhub.scoring.pipeline.stages import Features


class CacheUse:
    """Counts which tasks were computed from kept features and which by the encoder."""

    def __init__(self) -> None:
        self._replayed: set[str] = set()
        self._encoded: set[str] = set()

    def add(self, chunk: ScoredChunk, request: Request) -> None:
        """Adds the outcome of one chunk."""
        for reference, version in request.versions.items():
            if version in chunk.replayed:
                self._replayed.add(request.names[reference])
            if version in chunk.encoded:
                self._encoded.add(request.names[reference])

    def join(self, other: CacheUse) -> None:
        """Adds what another process has counted."""
        self._replayed |= other._replayed
        self._encoded |= other._encoded

    @property
    def all(self) -> frozenset[str]:
        """Returns the names of the tasks that the encoder did not run for."""
        return frozenset(self._replayed - self._encoded)

    def plan(self, plan: Plan) -> dict[str, object]:
        """Returns a plan as JSON, with the passes that were made."""
        found: dict[str, object] = {"passes": plan.passes_without(self.all), **asdict(plan)}
        return {**found, "from_cache": sorted(self.all)} if self.all else found


def check_cache(folder: Path | None) -> None:
    """Checks, without torch, that features can be kept in a folder, which is made.

    Raises:
        DataError: It holds something else, or cannot be written.
    """
    if folder is not None:
        from adapterhub.scoring.pipeline.features_cache import open_folder

        open_folder(folder)


def kept_features(folder: Path | None, call: ResidentCall) -> Callable[[], Features | None]:
    """Returns what gives each window of rows its place in the features cache, if there is one.

    Raises:
        DataError: The folder holds something else, or cannot be written.
    """
    if folder is None:
        return lambda: None
    # Imported here: few runs keep features.
    from adapterhub.scoring.pipeline.features_cache import FeaturesCache

    return FeaturesCache.open(folder, call).window
