"""Tasks -> Plan: what one call will compute and what it costs. Pure: no torch.

The unit of cost is the pass: one application of the block to one text. Tasks that read the
same fields through the same window share tokens and trunk, and the trunk stops at the
deepest depth that anyone reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from adapterhub.specs import Pooling, TaskSpec


@dataclass(frozen=True, slots=True, order=True)
class Reading:
    """Which fields are read, and through which window.

    Attributes:
        fields: One field, or two for a pair.
        max_length: Window in tokens, special tokens included.
        overlap: Tokens that two neighbouring windows share.
    """

    fields: tuple[str, ...]
    max_length: int
    overlap: int

    @property
    def name(self) -> str:
        """Returns the fields joined for people: `text` or `text + text_pair`."""
        return " + ".join(self.fields)


@dataclass(frozen=True, slots=True)
class Tap:
    """A place where heads read: all of them share one pooled feature.

    Attributes:
        depth: The depth that is read.
        pooling: How it is pooled.
        tasks: Who reads it, in the order of the call.
    """

    depth: int
    pooling: Pooling
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trunk:
    """The passes that all tasks with one reading share.

    Attributes:
        reading: What is tokenised.
        stop: The deepest depth that is read; the loop ends there.
        taps: What is read on the way, by ascending depth.
        tasks: The tasks served, in the order of the call.
    """

    reading: Reading
    stop: int
    taps: tuple[Tap, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What one call computes.

    Attributes:
        num_hidden_layers: Depth D of the backbone: the passes that a separate model takes.
        trunks: One per distinct reading.
    """

    num_hidden_layers: int
    trunks: tuple[Trunk, ...]

    @property
    def tasks(self) -> int:
        """Returns the number of tasks."""
        return sum(len(trunk.tasks) for trunk in self.trunks)

    @property
    def passes(self) -> int:
        """Returns the passes per text of this plan."""
        return sum(trunk.stop for trunk in self.trunks)

    @property
    def separate_passes(self) -> int:
        """Returns the passes per text that one separate model per task would take."""
        return self.tasks * self.num_hidden_layers

    @property
    def ratio(self) -> float:
        """Returns how many times cheaper this plan is than separate models."""
        return self.separate_passes / self.passes if self.passes else float(self.separate_passes)

    def __str__(self) -> str:
        """Returns the plan as a table for people."""
        rows = [_HEADINGS, *(row for trunk in self.trunks for row in _trunk_rows(trunk))]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*lines, self.summary])

    __repr__ = __str__

    @property
    def summary(self) -> str:
        """Returns the cost in one line."""
        terms = " + ".join(str(trunk.stop) for trunk in self.trunks)
        total = f"{terms} = {self.passes}" if len(self.trunks) > 1 else f"{self.passes}"
        return (
            f"{self.tasks} tasks: {total} passes per text; "
            f"separate models: {self.tasks} x {self.num_hidden_layers} = {self.separate_passes} "
            f"({self.ratio:.1f} x as many)"
        )


def make_plan(tasks: Mapping[str, TaskSpec]) -> Plan:
    """Returns the plan that serves all `tasks`, given by the names that the caller uses.

    Raises:
        ValueError: `tasks` is empty, or of backbones with different depths.
    """
    depths = {spec.backbone.num_hidden_layers for spec in tasks.values()}
    if len(depths) != 1:
        raise ValueError(f"a plan needs tasks of one backbone, found depths {sorted(depths)}")
    by_reading: dict[Reading, dict[str, TaskSpec]] = defaultdict(dict)
    for name, spec in tasks.items():
        by_reading[reading_of(spec)][name] = spec
    trunks = tuple(_make_trunk(reading, group) for reading, group in by_reading.items())
    return Plan(num_hidden_layers=depths.pop(), trunks=trunks)


def reading_of(spec: TaskSpec) -> Reading:
    """Returns what a task reads and through which window."""
    return Reading(fields=spec.fields, max_length=spec.max_length, overlap=spec.overlap)


def _make_trunk(reading: Reading, tasks: Mapping[str, TaskSpec]) -> Trunk:
    readers: dict[tuple[int, Pooling], list[str]] = defaultdict(list)
    for name, spec in tasks.items():
        for depth in spec.head.depths:
            readers[depth, spec.head.pooling].append(name)
    taps = tuple(
        Tap(depth=depth, pooling=pooling, tasks=tuple(names))
        for (depth, pooling), names in sorted(readers.items())
    )
    return Trunk(reading=reading, stop=taps[-1].depth, taps=taps, tasks=tuple(tasks))


_HEADINGS = ("input", "trunk", "tap", "tasks")


def _trunk_rows(trunk: Trunk) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for index, tap in enumerate(trunk.taps):
        first = index == 0
        rows.append(
            (
                trunk.reading.name if first else "",
                f"0 -> {trunk.stop}" if first else "",
                f"depth {tap.depth} {tap.pooling}",
                ", ".join(tap.tasks),
            )
        )
    return rows
