"""The packages of the extra `[train]`: scikit-learn, SciPy and seqeval, imported when needed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from adapterhub.errors import MissingExtraError

# Import name of each package by its name on PyPI.
_NEEDED = {"scikit-learn": "sklearn.metrics", "scipy": "scipy.stats", "seqeval": "seqeval.metrics"}


def require_extra() -> None:
    """Checks that the packages of the extra are installed, before hours of training.

    Raises:
        MissingExtraError: One is not installed.
    """
    for package, module in _NEEDED.items():
        if not _is_there(module):
            raise MissingExtraError(package, "train")


def _is_there(module: str) -> bool:
    """Returns whether a module can be imported, without the seconds that importing it takes."""
    is_barred = module in sys.modules and sys.modules[module] is None
    return not is_barred and find_spec(module.partition(".")[0]) is not None


def load_package(package: str) -> Any:
    """Returns the module of a package that has the metrics.

    Args:
        package: Its name on PyPI.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return import_module(_NEEDED[package])
    except ImportError as error:
        raise MissingExtraError(package, "train") from error
