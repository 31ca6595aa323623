"""A plan as a drawing."""

from __future__ import annotations

from itertools import pairwise

from adapterhub.plan import Branch, Plan, Tap, Trunk, counted


def plan_dot(plan: Plan) -> str:
    """Returns a plan as a directed graph in Graphviz's language; `dot -Tsvg` draws it."""
    lines = ["digraph plan {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for index, trunk in enumerate(plan.trunks):
        lines += (f"  {line}" for line in _trunk_dot(f"t{index}", trunk))
    lines += [f"  label={_quoted(plan.summary)};", "}"]
    return "\n".join(lines)


def _trunk_dot(key: str, trunk: Trunk) -> list[str]:
    depths = sorted({0, trunk.stop, *_depths(trunk.taps), *(b.fork for b in trunk.branches)})
    lines = [f"{key}_0 [label={_quoted(f'{trunk.reading.name}: depth 0')}];"]
    lines += _chain(key, depths)
    lines += _taps_dot(key, trunk.taps)
    for index, branch in enumerate(trunk.branches):
        lines += _branch_dot(f"{key}b{index}", key, branch)
    return lines


def _branch_dot(key: str, trunk: str, branch: Branch) -> list[str]:
    depths = sorted({branch.stop, *_depths(branch.taps)})
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


def _depths(taps: tuple[Tap, ...]) -> set[int]:
    return {tap.depth for tap in taps}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
