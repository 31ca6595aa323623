"""The recipes of shipped_tasks.yaml as training files and options."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from adapterhub.errors import UnknownTaskError, UsageError
from adapterhub.training.adapter_options import adapter_options
from adapterhub.training.option_files import read_mentions
from adapterhub.training.options import TrainingOptions, training_options
from recipes.tasks.task_rows import PARTS, rows_of

HERE = Path(__file__).resolve().parent
SHIPPED_TASKS = HERE / "shipped_tasks.yaml"

Recipes = dict[str, tuple[Path, TrainingOptions]]
"""Training file and options by task."""


def read_recipes(
    file: Path,
    data_dir: Path,
    changed: Path,
    *,
    only: Collection[str] | None = None,
    given: Mapping[str, object] | None = None,
    without: Collection[str] = (),
) -> Recipes:
    """Returns training file and options by task.

    Args:
        file: The recipes.
        data_dir: One folder per data set.
        changed: Where data sets are written of which a recipe changes something.
        only: Names of tasks; None for all.
        given: Options instead of the recipes' own.
        without: Keys of recipes to ignore.

    Raises:
        DataError: A data set is missing.
        UnknownTaskError: `only` names a task that has no recipe.
        UsageError: An option of a recipe is unknown or makes no sense.
    """
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    recipes = {}
    for name in content["tasks"] if only is None else only:
        if name not in content["tasks"]:
            raise UnknownTaskError(name, content["tasks"], what="recipe")
        recipe = {**content["defaults"], **content["tasks"][name], **(given or {})}
        recipe = {key: value for key, value in recipe.items() if key not in without}
        folder = rows_of(recipe, data_dir, changed / name, name=name)
        if (mentions := recipe.pop("mentions", None)) is not None:
            recipe["mentions"] = read_mentions(HERE / mentions)
        train_file, validation = (folder / f"{part}.jsonl.gz" for part in PARTS)
        try:
            # All held-out rows choose, as they did for the tasks that ship.
            test = folder / "test.jsonl.gz"
            apart = {"test": test} if test.is_file() else {}
            made = {"test_fraction": 0, **recipe, **apart, "validation": validation}
            options = _read_options(made)
        except UsageError as error:
            raise UsageError(f"The recipe of task '{name}' cannot be used: {error}") from error
        recipes[name] = train_file, options
    return recipes


def _read_options(recipe: dict[str, Any]) -> TrainingOptions:
    """Returns the options of a recipe; its `adapter` is a method, or a mapping of options.

    Raises:
        UsageError: An option is unknown or makes no sense.
    """
    adapter = recipe.pop("adapter", None)
    if adapter is not None:
        named = adapter if isinstance(adapter, dict) else {"method": adapter}
        recipe["adapter"] = adapter_options(**named)
    return training_options(**recipe)
