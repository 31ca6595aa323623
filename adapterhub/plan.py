"""Tasks -> Plan: the passes of one call and their cost, as a table or a graph; without torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

from adapterhub.errors import UsageError, check_type
from adapterhub.shapes import NGRAM_KEYS, head_bytes, tensor_shapes
from adapterhub.specs import AdapterSpec, Pooling, TaskSpec


@dataclass(frozen=True, slots=True, order=True)
class Reading:
    """The input fields of tasks and their window.

    Attributes:
        fields: One field, or two for a pair.
        max_length: Window in tokens, special tokens included.
        overlap: Tokens that two neighbouring windows share.
        apart: Whether two fields are encoded separately. Both together have about as many tokens,
            so a pass counts the same.
        choices: Whether the second field is a list of texts, each of which makes a pair with the
            first field.
        slides_second: Whether the second of two fields slides over the windows and the first, such
            as a question, is whole in each, however long they are; else the longer one slides.
    """

    fields: tuple[str, ...]
    max_length: int
    overlap: int
    apart: bool = False
    choices: bool = False
    slides_second: bool = False

    @property
    def name(self) -> str:
        """Returns the fields for display: `text`, `text + text_pair`, `text | text_pair`."""
        first, *others = self.fields
        names = [first, *(f"each of {name}" if self.choices else name for name in others)]
        return f"{' | '.join(names)}, each alone" if self.apart else " + ".join(names)

    @property
    def alone(self) -> Reading:
        """Returns the reading of one text of a pair that is encoded separately."""
        return replace(self, fields=self.fields[:1], apart=False, choices=False)


TapName = tuple[int, Pooling]
"""Depth and pooling of a tap."""

KEPT_POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "max")
"""Poolings whose features can be kept: one per window, and the same for all heads on a tap."""


@dataclass(frozen=True, slots=True)
class Tap:
    """A depth of the trunk or a branch with a pooling; its tasks share the pooled feature.

    Attributes:
        depth: The depth.
        pooling: The pooling.
        tasks: The tasks that read it, in the order of the call.
    """

    depth: int
    pooling: Pooling
    tasks: tuple[str, ...]

    @property
    def name(self) -> TapName:
        """Returns its depth and pooling."""
        return self.depth, self.pooling


@dataclass(frozen=True, slots=True)
class Branch:
    """The passes with an adapter, shared by all tasks that have it.

    Attributes:
        adapter: Digest of the adapter.
        method: The adapter's method for display, for instance `lora r8`.
        fork: The depth where it leaves the trunk.
        stop: The deepest depth that is read on it.
        taps: Its taps by ascending depth, all deeper than the fork.
        tasks: Its tasks in the order of the call.
    """

    adapter: str
    method: str
    fork: int
    stop: int
    taps: tuple[Tap, ...]
    tasks: tuple[str, ...]

    @property
    def passes(self) -> int:
        """Returns the passes per text in addition to those of the trunk."""
        return self.stop - self.fork


@dataclass(frozen=True, slots=True)
class Trunk:
    """The passes without adapters, shared by all tasks with one reading, and their branches.

    Attributes:
        reading: The fields and the window.
        stop: The deepest depth that is read or forked from.
        taps: Its taps by ascending depth.
        branches: One per adapter, by ascending fork.
        tasks: Its tasks in the order of the call, with those of the branches.
    """

    reading: Reading
    stop: int
    taps: tuple[Tap, ...]
    branches: tuple[Branch, ...]
    tasks: tuple[str, ...]

    @property
    def passes(self) -> int:
        """Returns the passes per text, branches included."""
        return self.stop + sum(branch.passes for branch in self.branches)

    def replayable(self, kept: Collection[TapName] | None = None) -> tuple[str, ...]:
        """Returns the tasks that need no passes where the features of the taps `kept` are known.

        Tasks with an adapter always do, also those that read tokens or have attentive pooling.
        None asks for those that need none where all features that can be kept are known.
        """
        others = {name for branch in self.branches for name in branch.tasks}
        for tap in self.taps:
            if tap.pooling not in KEPT_POOLINGS or (kept is not None and tap.name not in kept):
                others.update(tap.tasks)
        return tuple(name for name in self.tasks if name not in others)

    def only(self, names: Collection[str]) -> Trunk:
        """Returns what remains of it for some of its tasks."""
        branches = tuple(
            replace(branch, stop=taps[-1].depth, taps=taps, tasks=_named(branch.tasks, names))
            for branch in self.branches
            if (taps := _taps_of(branch.taps, names))
        )
        taps = _taps_of(self.taps, names)
        stop = max([tap.depth for tap in taps] + [branch.fork for branch in branches])
        return Trunk(self.reading, stop, taps, branches, _named(self.tasks, names))


def _taps_of(taps: tuple[Tap, ...], names: Collection[str]) -> tuple[Tap, ...]:
    kept = (replace(tap, tasks=_named(tap.tasks, names)) for tap in taps)
    return tuple(tap for tap in kept if tap.tasks)


def _named(tasks: tuple[str, ...], names: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in tasks if name in names)


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """The passes of one call, their cost, and its tasks; `print` shows it as a table.

    Attributes:
        num_hidden_layers: Depth D of the backbone, the passes of a separate model.
        trunks: One per distinct reading.
        parameters: Number of parameters of heads and adapters; a shared adapter counts once.
        bytes: Size of these parameters on the device.
    """

    num_hidden_layers: int
    trunks: tuple[Trunk, ...]
    parameters: int
    bytes: int

    @property
    def tasks(self) -> int:
        """Returns the number of tasks."""
        return sum(len(trunk.tasks) for trunk in self.trunks)

    @property
    def passes(self) -> int:
        """Returns the passes per text."""
        return sum(trunk.passes for trunk in self.trunks)

    def passes_without(self, names: Collection[str]) -> int:
        """Returns the passes per text where some tasks need none."""
        others = [[name for name in trunk.tasks if name not in names] for trunk in self.trunks]
        pairs = zip(self.trunks, others, strict=True)
        return sum(trunk.only(rest).passes for trunk, rest in pairs if rest)

    @property
    def separate_passes(self) -> int:
        """Returns the passes per text of one separate model per task."""
        return self.tasks * self.num_hidden_layers

    @property
    def ratio(self) -> float:
        """Returns the passes of separate models divided by those of this plan."""
        return self.separate_passes / self.passes if self.passes else float(self.separate_passes)

    def __str__(self) -> str:
        """Returns the plan as a table."""
        rows = [_HEADINGS, *(row for trunk in self.trunks for row in _trunk_rows(trunk))]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*lines, self.summary])

    __repr__ = __str__

    @property
    def summary(self) -> str:
        """Returns the cost in one line."""
        terms = [str(trunk.stop) for trunk in self.trunks]
        terms += [str(branch.passes) for trunk in self.trunks for branch in trunk.branches]
        total = f"{' + '.join(terms)} = {self.passes}" if len(terms) > 1 else f"{self.passes}"
        return (
            f"{counted(self.tasks, 'task')}: {total} {_noun(self.passes, 'pass')} per text, "
            f"{self.bytes / 1e6:.2f} MB resident; separate models: "
            f"{self.tasks} x {self.num_hidden_layers} = {self.separate_passes} "
            f"({self.ratio:.1f} x as many)"
        )


class PlanError(UsageError, ValueError):
    """Tasks that no plan can hold together; a ValueError too, as it was called before."""


def make_plan(tasks: Mapping[str, TaskSpec]) -> Plan:
    """Returns the plan of one call for `tasks`, the specs by the names that the caller uses.

    Raises:
        UsageError: `tasks` has no specs by name, is empty, or has backbones of different depths.
    """
    check_type(tasks, Mapping, "What is to be planned", "specs of tasks by name")
    for name, spec in tasks.items():
        check_type(name, str, "A name of a plan", "a string")
        check_type(spec, TaskSpec, f"'{name}' in a plan", "a TaskSpec")
    depths = {spec.backbone.num_hidden_layers for spec in tasks.values()}
    if len(depths) != 1:
        raise PlanError(f"a plan needs tasks of one backbone, found depths {sorted(depths)}")
    by_reading: dict[Reading, dict[str, TaskSpec]] = defaultdict(dict)
    for name, spec in tasks.items():
        by_reading[reading_of(spec)][name] = spec
    trunks = tuple(_make_trunk(reading, group) for reading, group in by_reading.items())
    adapters = {spec.adapter.digest: spec.adapter for spec in tasks.values() if spec.adapter}
    shared = sum(adapter.parameters for adapter in adapters.values())
    size = sum(map(head_bytes, tasks.values())) + 4 * shared  # adapters are resident in fp32
    return Plan(depths.pop(), trunks, sum(map(_parameter_count, tasks.values())) + shared, size)


def reading_of(spec: TaskSpec) -> Reading:
    """Returns the input fields and the window of a task."""
    window, row = (spec.max_length, spec.overlap), spec.row
    return Reading(spec.fields, *window, spec.apart, row.of_choices, row.slides_second)


def _make_trunk(reading: Reading, tasks: Mapping[str, TaskSpec]) -> Trunk:
    trunk: dict[str, TaskSpec] = {}
    by_adapter: dict[str, dict[str, TaskSpec]] = defaultdict(dict)
    for name, spec in tasks.items():
        if spec.adapter is None:
            trunk[name] = spec
        else:
            by_adapter[spec.adapter.digest][name] = spec
    branches = [_make_branch(digest, group) for digest, group in by_adapter.items()]
    # A mix of depths may include depths up to the fork, which are read on the trunk.
    below = {name: spec for group in by_adapter.values() for name, spec in group.items()}
    taps = _make_taps({**trunk, **below}, lambda spec, depth: depth <= _fork(spec))
    stop = max([tap.depth for tap in taps] + [branch.fork for branch in branches])
    ordered = tuple(sorted(branches, key=lambda branch: branch.fork))
    return Trunk(reading, stop, taps, ordered, tuple(tasks))


def _make_branch(digest: str, tasks: Mapping[str, TaskSpec]) -> Branch:
    first = next(spec.adapter for spec in tasks.values() if spec.adapter is not None)
    taps = _make_taps(tasks, lambda spec, depth: depth > _fork(spec))
    return Branch(
        adapter=digest,
        method=_describe(first),
        fork=first.from_depth,
        stop=taps[-1].depth,
        taps=taps,
        tasks=tuple(tasks),
    )


def _fork(spec: TaskSpec) -> int:
    """Returns the deepest depth at which the task's hidden states are those of the trunk."""
    return spec.backbone.num_hidden_layers if spec.adapter is None else spec.adapter.from_depth


def _make_taps(
    tasks: Mapping[str, TaskSpec], reads: Callable[[TaskSpec, int], bool]
) -> tuple[Tap, ...]:
    """Returns the taps of `tasks` at the depths where `reads` is true."""
    readers: dict[tuple[int, Pooling], list[str]] = defaultdict(list)
    for name, spec in tasks.items():
        for depth in filter(lambda depth: reads(spec, depth), spec.head.depths):
            readers[depth, spec.head.pooling].append(name)
    return tuple(
        Tap(depth=depth, pooling=pooling, tasks=tuple(names))
        for (depth, pooling), names in sorted(readers.items())
    )


def _parameter_count(spec: TaskSpec) -> int:
    shapes = tensor_shapes(spec)
    return sum(prod(shape) for name, shape in shapes.items() if name != NGRAM_KEYS)


def _describe(adapter: AdapterSpec) -> str:
    rank = adapter.config.get("r")
    tied = " tied" if adapter.tie_depths else ""
    return f"{adapter.method}{f' r{rank}' if type(rank) is int else ''}{tied}"


_HEADINGS = ("input", "passes", "what", "tap", "tasks")


def _trunk_rows(trunk: Trunk) -> list[tuple[str, ...]]:
    rows = _tap_rows(f"0 -> {trunk.stop}", "trunk", trunk.taps)
    for branch in trunk.branches:
        rows += _tap_rows(f"{branch.fork} -> {branch.stop}", branch.method, branch.taps)
    first = (trunk.reading.name, *rows[0])
    return [first, *(("", *row) for row in rows[1:])]


def _tap_rows(passes: str, what: str, taps: tuple[Tap, ...]) -> list[tuple[str, ...]]:
    rows = [("", "", f"depth {tap.depth} {tap.pooling}", ", ".join(tap.tasks)) for tap in taps]
    rows = rows or [("", "", "", "")]
    return [(passes, what, *rows[0][2:]), *rows[1:]]


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: `1 pass`, `2 passes`."""
    return f"{number} {_noun(number, noun)}"


def _noun(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}{'es' if noun.endswith('s') else 's'}"


def plan_dot(plan: Plan) -> str:
    """Returns a plan as a directed graph in the DOT language of Graphviz."""
    lines = ["digraph plan {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for index, trunk in enumerate(plan.trunks):
        lines += (f"  {line}" for line in _trunk_dot(f"t{index}", trunk))
    lines += [f"  label={_quoted(plan.summary)};", "}"]
    return "\n".join(lines)


def _trunk_dot(key: str, trunk: Trunk) -> list[str]:
    forks = {branch.fork for branch in trunk.branches}
    depths = sorted({0, trunk.stop, *(tap.depth for tap in trunk.taps), *forks})
    lines = [f"{key}_0 [label={_quoted(f'{trunk.reading.name}: depth 0')}];"]
    lines += _chain(key, depths)
    lines += _taps_dot(key, trunk.taps)
    for index, branch in enumerate(trunk.branches):
        lines += _branch_dot(f"{key}b{index}", key, branch)
    return lines


def _branch_dot(key: str, trunk: str, branch: Branch) -> list[str]:
    depths = sorted({branch.stop, *(tap.depth for tap in branch.taps)})
    lines = _chain(key, depths)
    label = f"{branch.method}, {counted(depths[0] - branch.fork, 'pass')}"
    lines.append(
        f"{trunk}_{branch.fork} -> {key}_{depths[0]} [label={_quoted(label)}, style=bold];"
    )
    return lines + _taps_dot(key, branch.taps)


def _chain(key: str, depths: list[int]) -> list[str]:
    lines = [f'{key}_{depth} [label="depth {depth}"];' for depth in depths if depth]
    for start, stop in pairwise(depths):
        lines.append(f'{key}_{start} -> {key}_{stop} [label="{counted(stop - start, "pass")}"];')
    return lines


def _taps_dot(key: str, taps: tuple[Tap, ...]) -> list[str]:
    lines = []
    for tap in taps:
        node = f"{key}_{tap.depth}_{tap.pooling}"
        lines.append(f"{node} [shape=plain, label={_quoted(chr(10).join(tap.tasks))}];")
        lines.append(f'{key}_{tap.depth} -> {node} [label="{tap.pooling}", style=dashed];')
    return lines


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
