"""Trains the shipped tasks of shipped_tasks.yaml and writes heads/ and registry.yaml.

    scripts/build_heads DATA_DIR [--only sentiment-en,topic-zh] [--registry registry.yaml]

Run it with a Python that has adapterhub and its extra `train`. A task whose newest version was
made with this backbone from these rows, and has an adapter where its recipe has one, is left as
it is, so a stopped run resumes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from adapterhub.errors import AdapterHubError
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.model.backbone.sources import SHIPPED
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.specs import AdapterSpec, TaskSpec
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import Registry, read_registry
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.options import TrainingOptions
from adapterhub.training.train import train
from recipes.tasks.shipped_recipes import SHIPPED_TASKS, Recipes, read_recipes

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Returns 0 if all requested tasks are in the registry."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        recipes = read_recipes(
            arguments.recipes,
            arguments.data_dir,
            Path(folder),
            only=arguments.only.split(",") if arguments.only else None,
            given=given_options(arguments),
        )
        return build(arguments, recipes)


def build(arguments: argparse.Namespace, recipes: Recipes) -> int:
    """Returns 0 if all tasks of the recipes are in the registry afterwards."""
    if arguments.fresh or known_tasks(arguments.registry) is None:
        empty(arguments.registry)
    backbone = open_backbone(arguments.backbone)
    print(f"backbone {backbone.spec.name} {backbone.spec.fingerprint}", flush=True)
    encoder = Encoder(backbone, device=arguments.device)
    failed = []
    seconds: dict[str, float] = {}
    for name, (data, options) in recipes.items():
        made = is_made(name, data, options, arguments.registry, backbone.spec.fingerprint)
        if made and not arguments.again:
            print(f"{name}: made before", flush=True)
            continue
        start = time.monotonic()
        try:
            trained = train(
                data,
                task=name,
                options=options,
                registry=arguments.registry,
                backbone=backbone,
                encoder=encoder,
            )
        except AdapterHubError as error:
            failed.append(name)
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            continue
        seconds[name] = time.monotonic() - start
        metrics = ", ".join(f"{metric.name} {metric.value:.4f}" for metric in trained.metrics)
        print(f"{name}: {metrics}; {seconds[name]:.0f} s", flush=True)
        print(trained.table.summary, *trained.table.notes, sep="\n", flush=True)
    print_summary(list(recipes), arguments.registry, seconds)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir", type=Path, help="folder with one folder per data set")
    parser.add_argument("--only", help="names of tasks, with commas between them")
    parser.add_argument("--registry", type=Path, default=ROOT / "registry.yaml")
    parser.add_argument("--recipes", type=Path, default=SHIPPED_TASKS)
    parser.add_argument("--backbone", default=SHIPPED, help="as adapterhub.open_backbone takes it")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--max-rows", type=int, help="rows per task, instead of the recipe's")
    parser.add_argument("--cache-dir", type=Path, help="where features are kept")
    parser.add_argument("--again", action="store_true", help="train tasks that are there too")
    parser.add_argument("--fresh", action="store_true", help="start from an empty registry")
    return parser.parse_args()


def given_options(arguments: argparse.Namespace) -> dict[str, object]:
    """Returns the options of the command line, which override those of recipes."""
    asked = {"max_rows": arguments.max_rows, "cache_dir": arguments.cache_dir}
    return {name: value for name, value in asked.items() if value is not None}


def known_tasks(registry: Path) -> Registry | None:
    """Returns the registry, or None before its first task: there is no file, or an empty one."""
    written = registry.is_file() and registry.stat().st_size > 0
    return read_registry(registry) if written else None


def empty(registry: Path) -> None:
    """Removes a registry and the head files that it lists."""
    known = known_tasks(registry)
    for entry in known.tasks.values() if known else ():
        for record in entry.versions.values():
            (registry.parent / record.file).unlink(missing_ok=True)
    registry.unlink(missing_ok=True)


def is_made(
    name: str, data: Path, options: TrainingOptions, registry: Path, fingerprint: str
) -> bool:
    """Returns whether the newest version has this backbone, these training rows, this adapter."""
    known = known_tasks(registry)
    if known is None or name not in known.tasks:
        return False
    found = known.resolve(name)
    return (
        found.path.is_file()
        and found.backbone.fingerprint == fingerprint
        and found.record.data_digest == read_splits(data, options).train.digest()
        and is_asked_for(spec_in(name, known), options, known)
    )


def is_asked_for(spec: TaskSpec, options: TrainingOptions, known: Registry) -> bool:
    """Returns whether the adapter of a task, or its absence, matches the options.

    Where it is, what it changes and what it began with are compared. Other options count only when
    a task is trained, as those of heads do; `--again` trains with them.
    """
    asked, found = options.adapter, spec.adapter
    if options.adapter_of is not None:
        return found is not None and found == adapter_in(options.adapter_of, known)
    if asked is None or found is None:
        return asked is None and found is None
    return (
        earlier_of(spec) == digest_in(asked.continue_from, known)
        and asked.from_depth in (None, found.from_depth)
        and (asked.sites is None or set(asked.sites) == set(found.sites))
        and asked.tie_depths == found.tie_depths
    )


def earlier_of(spec: TaskSpec) -> str | None:
    """Returns the digest of the adapter that a task's own started from, if any."""
    earlier = None if spec.training is None else spec.training.continued_from
    return None if earlier is None else earlier.adapter


def digest_in(name: str | None, known: Registry) -> str | None:
    """Returns the digest of the adapter of a task of the registry, if it is named and has one."""
    adapter = None if name is None else adapter_in(name, known)
    return None if adapter is None else adapter.digest


def adapter_in(name: str, known: Registry) -> AdapterSpec | None:
    """Returns the adapter of a task of the registry, where there is such a task."""
    return spec_in(name, known).adapter if name in known.tasks else None


def spec_in(name: str, known: Registry) -> TaskSpec:
    """Returns the newest version of a task of the registry."""
    found = known.resolve(name)
    return read_head(found.path, sha256=found.record.sha256).spec


def print_summary(names: list[str], registry: Path, seconds: dict[str, float]) -> None:
    """Prints one line per task that is in the registry."""
    table = Table("task", "kind", "reads", "metrics on validation rows", "bytes", "s")
    known = known_tasks(registry)
    total = 0
    for name in names:
        if known is None or name not in known.tasks:
            table.add_row(name, "", "", "missing", "", "")
            continue
        found = known.resolve(name)
        record = found.record
        total += record.size
        metrics = ", ".join(f"{key} {value:.3f}" for key, value in record.metrics.items())
        reads = f"{record.pooling} {'+'.join(map(str, record.depths))}"
        took = f"{seconds[name]:.0f}" if name in seconds else ""
        table.add_row(name, found.entry.kind, reads, metrics, f"{record.size:,}", took)
    Console(width=120).print(table, f"{len(names)} tasks, {total:,} bytes, in {registry}")
