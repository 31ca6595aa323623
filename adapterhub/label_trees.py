"""Labels in a tree: a mapping of each label to the one above it, roots left out.

The leaves are what a task tells apart. An inner label stands for all leaves below it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

Parents = Mapping[str, str]

MAX_LEVELS = 32
"""Labels from a root to a leaf at most."""


def inner_labels(parents: Parents) -> tuple[str, ...]:
    """Returns the labels that have others below them, in the order of those."""
    return tuple(dict.fromkeys(parents.values()))


def path_of(label: str, parents: Parents) -> tuple[str, ...]:
    """Returns the labels from the root down to a label.

    Args:
        label: Any label.
        parents: A tree without cycles.
    """
    path = [label]
    while (above := parents.get(path[-1])) is not None:
        path.append(above)
    return tuple(reversed(path))


def leaves_below(leaves: Iterable[str], parents: Parents) -> dict[str, tuple[str, ...]]:
    """Returns the leaves below each label of a tree; below a leaf it is itself."""
    below: dict[str, list[str]] = {}
    for leaf in leaves:
        for label in path_of(leaf, parents):
            below.setdefault(label, []).append(leaf)
    return {label: tuple(own) for label, own in below.items()}


def parents_by(separator: str, labels: Iterable[str]) -> dict[str, str]:
    """Returns the tree of labels that begin with the label above: `card.lost` under `card`."""
    parents: dict[str, str] = {}
    for label in labels:
        while separator in label and label not in parents:
            parents[label] = label.rpartition(separator)[0]
            label = parents[label]
    return parents


def parents_above(labels: Iterable[str], parents: Mapping[str, str | None]) -> dict[str, str]:
    """Returns the part of a tree that stands above some labels."""
    found: dict[str, str] = {}
    for label in labels:
        while (above := parents.get(label)) is not None and label not in found:
            found[label] = label = above
    return found


def outline(labels: Iterable[str], parents: Parents, *, most: int = 12) -> str:
    """Returns the roots of a tree with their numbers of leaves: `card (2), transfer (5)`."""
    below = leaves_below(labels, parents)
    roots = [f"{label} ({len(own):,})" for label, own in below.items() if label not in parents]
    more = f", and {len(roots) - most:,} more" if len(roots) > most else ""
    return ", ".join(roots[:most]) + more


def check_parents(parents: Mapping[str, str | None]) -> None:
    """Checks that every label leads to a root; where roots are listed, with None, to one of them.

    Raises:
        ValueError: A label is its own parent, leads back to itself, stands under too many others,
            or has a parent that is not listed.
    """
    are_listed = None in parents.values()
    levels: dict[str, int] = {}
    for label in parents:
        path = [label]
        while (above := parents.get(path[-1])) is not None and above not in levels:
            if above in path:
                _refuse_cycle([*path, above])
            if are_listed and above not in parents:
                raise ValueError(f"'{above}', the parent of '{path[-1]}', is not in the tree")
            path.append(above)
            if len(path) > MAX_LEVELS:
                break
        first = 0 if above is None else levels.get(above, MAX_LEVELS)
        levels |= {one: first + place for place, one in enumerate(reversed(path), 1)}
        if levels[label] > MAX_LEVELS:
            raise ValueError(f"label '{label}' stands below {MAX_LEVELS} others or more")


def _refuse_cycle(path: Sequence[str]) -> None:
    cycle = path[path.index(path[-1]) :]
    if len(cycle) == 2:
        raise ValueError(f"label '{cycle[0]}' is its own parent")
    raise ValueError(f"labels form a cycle: {' → '.join(cycle)}")


def check_tree(leaves: Collection[str], parents: Parents) -> None:
    """Checks that a tree is one, has all leaves at its ends, and nothing else.

    Raises:
        ValueError: It is not so.
    """
    check_parents(parents)
    inner = set(inner_labels(parents))
    if own := next((leaf for leaf in leaves if leaf in inner), None):
        below = next(label for label, above in parents.items() if above == own)
        raise ValueError(f"label '{own}' is a leaf and the parent of '{below}'")
    known = inner.union(leaves)
    if other := next((label for label in parents if label not in known), None):
        raise ValueError(f"'{other}' has a parent, but is no label, and has none below it")
