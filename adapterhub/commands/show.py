"""`adapterhub show`: one task, as its head file describes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import TASK_HELP, Registries
from adapterhub.commands.printing import counted, note_plot, print_fields, print_json, size_text
from adapterhub.errors import UsageError

if TYPE_CHECKING:
    from adapterhub.commands.verb_options import OutputOptions
    from adapterhub.remote.find import FoundTask
    from adapterhub.specs import TaskSpec

_MOST_LABELS = 30


@uses("adapterhub.commands.verb_options:OutputOptions")
def show(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help=TASK_HELP),
    ],
    registry: Registries = None,
    *,
    output: OutputOptions,
) -> None:
    """Show one task: what it predicts, reads and costs, and where it is from."""
    from adapterhub.commands.measured import print_risks
    from adapterhub.remote.find import find
    from adapterhub.store.registries import open_registries

    output.check_plot()
    task = find(name, open_registries(registry))
    if output.plot is not None:
        _draw(task, output.plot)
    if output.as_json:
        print_json(_values(task))
    else:
        print_fields({**_about(task), **_reading(task.spec), **_origin(task)})
        print_risks(task.spec)


def _draw(task: FoundTask, path: Path) -> None:
    from adapterhub.plots.combine import save_panels
    from adapterhub.plots.panels import panels_of

    panels = panels_of(task.spec.diagnostics, task.spec.labels, task.spec.abstention)
    if not panels:
        raise UsageError(
            f"The head file of '{task.name}' has no confusion matrix and no reliability to draw; "
            f"`adapterhub eval {task.reference} FILE --plot {path}` draws labelled rows."
        )
    save_panels({task.name: panels}, path)
    note_plot(path, {task.name: task.spec.labels})


def _values(task: FoundTask) -> dict[str, object]:
    from adapterhub.commands.measured import split_values
    from adapterhub.store.retired import deprecation_text

    values: dict[str, object] = {"reference": task.reference}
    if (found := task.found) is not None:
        values |= {
            "version": found.version,
            "newest": found.entry.newest,
            "aliases": dict(found.entry.aliases),
            "file": str(found.path),
            "size": found.record.size,
            "sha256": found.record.sha256,
            "deprecated": deprecation_text(found.entry.deprecated),
        }
    values["passes"] = task.spec.deepest
    values["separate_passes"] = task.spec.backbone.num_hidden_layers
    values["measured"] = split_values(task.spec)
    values["spec"] = task.spec.model_dump(mode="json")
    return values


def _about(task: FoundTask) -> dict[str, str]:
    from adapterhub.label_trees import outline
    from adapterhub.store.retired import deprecation_text

    spec, found = task.spec, task.found
    version = "" if task.version is None else str(task.version)
    if found is not None:
        versions = sorted(found.entry.versions)
        version = f"{found.version} of {', '.join(map(str, versions))}"
    aliases = found.entry.aliases if found is not None else {}
    labels = ", ".join(spec.labels[:_MOST_LABELS])
    more = len(spec.labels) - _MOST_LABELS
    if more > 0:
        labels += f", … ({more} more; --json shows all)"
    ranges = (spec.value_ranges or ())[:_MOST_LABELS]
    return {
        "task": task.name,
        "about": spec.description,
        "deprecated": (found and deprecation_text(found.entry.deprecated)) or "",
        "version": version,
        "from": task.origin or _pinned_from(task),
        "aliases": ", ".join(f"@{alias} -> {number}" for alias, number in aliases.items()),
        "kind": spec.kind,
        "languages": ", ".join(spec.languages),
        "labels": labels,
        "tree": outline(spec.labels, spec.parents) if spec.parents else "",
        "range": "{:g} to {:g}".format(*spec.value_range) if spec.value_range else "",
        "ranges": ", ".join("{:g} to {:g}".format(*one) for one in ranges),
    }


def _pinned_from(task: FoundTask) -> str:
    """Returns where on the Hub a task of a registry came from; empty for any other."""
    origin = None if task.found is None else task.found.record.origin
    if origin is None:
        return ""
    return f"{origin.repo}:{origin.task} version {origin.version}, commit {origin.commit[:12]}"


def _reading(spec: TaskSpec) -> dict[str, str]:
    from adapterhub.plan import reading_of

    head = spec.head
    mix = f", a learned mix of depths {'+'.join(map(str, head.depths))}"
    width = head.hidden_width
    hidden = f", a hidden layer of {width} ({head.activation})" if width else ""
    if head.arc_width is not None and width is not None:
        hidden += f", biaffine {head.arc_width}+{width // 2 - head.arc_width}"
    ngrams = f", and {head.ngrams:,} n-grams of pieces" if head.ngrams else ""
    return {
        "reads": f"{reading_of(spec).name}, windows of {spec.max_length} tokens, pooling "
        f"{head.pooling}{mix if len(head.depths) > 1 else ''}{hidden}{ngrams}",
        "adapter": _adapter(spec),
        "cost": _cost(spec),
        "backbone": f"{spec.backbone.name} {(spec.backbone.revision or '')[:12]}".rstrip()
        + f", {spec.backbone.family}",
        "fingerprint": spec.backbone.fingerprint,
    }


def _adapter(spec: TaskSpec) -> str:
    found = spec.adapter
    if found is None:
        return ""
    rank = f" of rank {found.config['r']}" if "r" in found.config else ""
    depths = ", ".join(map(str, found.depths))
    tied = ", one for all of them" if found.tie_depths else ""
    earlier = spec.training.continued_from if spec.training else None
    begun = f", begun with that of {earlier.task}" if earlier else ""
    return (
        f"{found.method}{rank}, in the passes from depth {depths}{tied}, on "
        f"{', '.join(found.sites)}: {found.parameters:,} numbers{begun}"
    )


def _cost(spec: TaskSpec) -> str:
    depth = spec.backbone.num_hidden_layers
    part = f"{spec.deepest / depth:.2f} of a separate model's passes"
    read = f"reads depth {spec.deepest} of {depth}: {part}"
    if spec.adapter is None:
        return f"{read}, and none of its own beside a task that reads as deep"
    fork = spec.adapter.from_depth
    shared = "which only tasks with the same adapter share"
    return f"{read}, {spec.deepest - fork} of them from its fork at depth {fork} on, {shared}"


def _origin(task: FoundTask) -> dict[str, str]:
    spec, found = task.spec, task.found
    fields = {"measured": _measured(spec), "abstains": _abstains(spec)}
    fields["licence"] = spec.license or ""
    if (record := spec.training) is not None:
        licence = f" ({record.dataset_license})" if record.dataset_license else ""
        fields["data"] = f"{record.dataset}{licence}, {record.rows} rows, seed {record.seed}"
        if record.columns is not None:
            named = (f"{role} '{name}'" for role, name in record.columns.items())
            fields["columns"] = ", ".join(named)
    answers = len(spec.known_answers)
    fields["known answers"] = (
        f"{counted(answers, 'probe')}, replayed on load" if answers else "none"
    )
    if found is not None:
        fields["file"] = f"{found.path} ({size_text(found.record.size)})"
        fields["sha256"] = found.record.sha256
    return fields


def _abstains(spec: TaskSpec) -> str:
    from adapterhub.specs import abstention_lines

    found = spec.abstention
    return "" if found is None else " ".join(abstention_lines(found, spec.row.withheld))


def _measured(spec: TaskSpec) -> str:
    from adapterhub.commands.measured import by_rows

    return "; ".join(f"{metrics} on {where}" for where, metrics in by_rows(spec).items())
