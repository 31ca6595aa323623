"""The folder of the feature cache, or a temporary one where that cannot be written."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import tempfile
from pathlib import Path

from adapterhub.errors import UsageError
from adapterhub.store.atomic import held_temp, removed_at_end
from adapterhub.training.options import TrainingOptions, cache_folder

_LOG = logging.getLogger(__name__)


def usable_cache(options: TrainingOptions) -> Path:
    """Returns the folder of the feature cache.

    A folder that the caller names is taken as it is. Where the home cannot be written, features
    are kept until the process ends.
    """
    if options.cache_dir is not None or os.environ.get("ADAPTERHUB_CACHE"):
        return cache_folder(options)
    try:
        folder = cache_folder(options)
        folder.mkdir(parents=True, exist_ok=True)
        with held_temp(folder / "probe"):
            return folder
    except (OSError, UsageError) as error:  # UsageError where there is no home at all
        _LOG.warning(
            "Features are kept for this run only: the cache in the home cannot be written (%s). "
            "$ADAPTERHUB_CACHE names another folder.",
            error,
        )
        return _temporary_folder()


@functools.cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="adapterhub-cache-"))
    stack = contextlib.ExitStack()
    stack.enter_context(removed_at_end(folder))
    atexit.register(stack.close)
    return folder
