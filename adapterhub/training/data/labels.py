"""The labels of a data set: which there are, and which of a task's labels is meant by each."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from unicodedata import category, combining, normalize

from adapterhub.errors import DataError, nearest
from adapterhub.kinds import KINDS, Kind
from adapterhub.specs import MAX_LABELS
from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.records import Records
from adapterhub.training.data.tagging import Span
from adapterhub.training.data.values import MAX_LABEL, NamedNumber, normalized
from adapterhub.training.data.words.trees import Arc

Target = (
    str
    | tuple[str, ...]
    | float
    | tuple[Span, ...]
    | tuple[Arc, ...]
    | tuple[AnswerSpan, ...]
    | tuple[NamedNumber, ...]
)

_WHOLE = re.compile(r"([+-]?[0-9]+)(?:\.0+)?")
_NUMBER_IN = re.compile(r"(?:(?<![\w)])[+-])?[0-9]+(?:\.[0-9]+)?")
_PLURAL = re.compile(r"(?<=\w)s$")
_MOST_SHOWN = 8
_MOST_BYTES = 2**20
"""Size of all labels together: the header of a head file holds them, and answers with them."""


def names_of(target: Target) -> tuple[str, ...]:
    """Returns the labels of one target; for tagging its entity types, for parsing its relations."""
    if isinstance(target, str):
        return (target,)
    parts = target if isinstance(target, tuple) else ()
    return tuple(_name_of(part) for part in parts if not isinstance(part, AnswerSpan))


def _name_of(part: str | Span | Arc | NamedNumber) -> str:
    if isinstance(part, NamedNumber):
        return part.name
    if isinstance(part, Arc):
        return part.relation
    return part.entity if isinstance(part, Span) else part


def digest_of_rows(inputs: Iterable[Sequence[str]], targets: Iterable[Target]) -> str:
    """Returns the sha256 of inputs and targets in order, as lines of canonical JSON."""
    digest = hashlib.sha256()
    for texts, target in zip(inputs, targets, strict=True):
        row = [tuple(texts), _plain(target)]
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _plain(target: Target) -> object:
    """Returns a target in the form of JSON."""
    if not isinstance(target, tuple):
        return target
    return [part if isinstance(part, str) else astuple(part) for part in target]


def in_natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Returns names sorted, "2" before "10"."""
    return tuple(sorted(names, key=_naturally))


def order_of(labels: Iterable[str]) -> tuple[str, ...]:
    """Returns labels by the number in each, as in `1 star`, `2 stars`; none where that is no order.

    That is where a label has no number, or several, or two have the same one, or the words beside
    the numbers differ.
    """
    numbers: dict[float, str] = {}
    words = set()
    labels = tuple(labels)
    for label in labels:
        found = _NUMBER_IN.findall(label)
        if len(found) != 1:
            return ()
        numbers[float(found[0])] = label
        words.add(_PLURAL.sub("", " ".join(_NUMBER_IN.sub(" ", label).casefold().split())))
    if len(words) != 1 or len(numbers) != len(labels):
        return ()
    return tuple(numbers[number] for number in sorted(numbers))


def find_labels(
    kind: Kind,
    targets: Sequence[Target],
    records: Records,
    *,
    ordered: Callable[[Iterable[str]], tuple[str, ...]] = in_natural_order,
) -> tuple[str, ...]:
    """Returns the labels of a task, in the order of its outputs.

    Args:
        kind: Kind of the task.
        targets: Of all training rows.
        records: Where they come from, for messages.
        ordered: Makes the labels of their names in the targets.

    Raises:
        DataError: All targets are equal, or there are too many different ones.
    """
    found = _names(targets)
    if len(found) < KINDS[kind].fewest_labels:
        names = f"only the label '{next(iter(found))}'" if found else "no labels at all"
        records.refuse(f"the training rows hold {names}; nothing can be learned")
    labels = ordered(found)
    if len(labels) > MAX_LABELS:
        records.refuse(
            f"the training rows hold {len(labels)} labels, at most {MAX_LABELS} are allowed; if "
            f"they are numbers to be predicted, the kind is 'regression'"
        )
    longest = max(labels, key=len)
    if len(longest) > MAX_LABEL:
        records.refuse(f"a label is {len(longest)} characters long; {MAX_LABEL} are allowed")
    size = sum(len(label.encode()) for label in labels)
    if size > _MOST_BYTES:
        records.refuse(
            f"the {len(labels)} labels are {size} bytes long together; {_MOST_BYTES} are allowed"
        )
    return labels


def _naturally(label: str) -> list[tuple[bool, int, str]]:
    # Natural order, "2" before "10": digits compare as numbers, and come before letters.
    parts = re.findall(r"([0-9]+)|([^0-9]+)", label)
    return [(not digits, int(digits or 0), digits or other) for digits, other in parts]


def with_whole_numbers(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Returns targets in which labels that are whole numbers are written as such: `1` for `1.0`.

    Tables with an empty cell, and the CSV files made of them, have whole numbers as 1.0. Where
    other labels are among them, as in `1.0` and `1.1`, all stay as they are.
    """
    matches = [_WHOLE.fullmatch(label) for label in _names(targets)]
    whole = [match for match in matches if match is not None]
    if len(whole) < len(matches):
        return tuple(targets)
    return _renamed(targets, {match[0]: match[1] for match in whole})


def with_own_names(
    targets: Sequence[Target], labels: Sequence[str], kind: Kind
) -> tuple[Target, ...]:
    """Returns targets in which labels are spelled as in a task.

    Args:
        targets: Of some rows.
        labels: Those of the task, which may have been imported in any spelling.
        kind: Of the task.
    """
    own = set(_named(labels, kind))
    by_key: dict[str, list[str]] = defaultdict(list)
    for label in own:
        by_key[_key(label)].append(label)
    others = _names(targets) - own
    meant = {name: by_key[_key(name)] for name in others if _key(name) in by_key}
    return _renamed(targets, {name: same[0] for name, same in meant.items() if len(same) == 1})


def rows_with_known(targets: Sequence[Target], labels: Sequence[str], kind: Kind) -> list[int]:
    """Returns the rows all of whose labels a task has."""
    known = set(_named(labels, kind))
    return [row for row, target in enumerate(targets) if known.issuperset(names_of(target))]


def refuse_unknown(
    targets: Sequence[Target], labels: Sequence[str], kind: Kind, *, source: str, owner: str
) -> None:
    """Checks that a task has all labels of some rows; of relations, whether it has any.

    A relation that no training sentence has cannot be predicted and counts as wrong, as in the
    measures of CoNLL: the parts of treebanks mostly differ in some rare ones.

    Raises:
        DataError: It lacks one.
    """
    named = _named(labels, kind)
    if KINDS[kind].allows_unseen and not _names(targets).isdisjoint(named):
        return
    for row, target in enumerate(targets, start=1):
        for name in names_of(target):
            if name not in named:
                hint = nearest(name, named)
                raise DataError(
                    source,
                    f"row {row} of those read has the label '{name}', unknown to {owner}; "
                    f"labels are {first_of([*named])}"
                    f"{f'. Did you mean {hint!r}?' if hint else ''}",
                )


def first_of(names: Sequence[str]) -> str:
    """Returns names in a row for a message, the first of many."""
    return ", ".join(names[:_MOST_SHOWN]) + (", …" if names[_MOST_SHOWN:] else "")


def _named(labels: Sequence[str], kind: Kind) -> dict[str, None]:
    """Returns the labels of a task as targets have them: for tagging the entity types."""
    return dict.fromkeys(KINDS[kind].label_names(labels))


def _names(targets: Iterable[Target]) -> set[str]:
    return {name for target in targets for name in names_of(target)}


def _renamed(targets: Sequence[Target], names: Mapping[str, str]) -> tuple[Target, ...]:
    return tuple(_rename(target, names) for target in targets) if names else tuple(targets)


def _rename(target: Target, names: Mapping[str, str]) -> Target:
    if isinstance(target, str):
        return names.get(target, target)
    if not isinstance(target, tuple) or any(isinstance(p, AnswerSpan) for p in target):
        return target
    spans = tuple(p for p in target if isinstance(p, Span))
    if spans:
        return tuple(replace(span, entity=names.get(span.entity, span.entity)) for span in spans)
    arcs = tuple(p for p in target if isinstance(p, Arc))
    if arcs:
        return tuple(replace(arc, relation=names.get(arc.relation, arc.relation)) for arc in arcs)
    numbers = tuple(p for p in target if isinstance(p, NamedNumber))
    if numbers:
        return tuple(replace(one, name=names.get(one.name, one.name)) for one in numbers)
    return tuple(dict.fromkeys(names.get(name, name) for name in names_of(target)))


def check_outside(
    label: str | None, targets: Sequence[Target], outside: Sequence[object], *, source: str
) -> None:
    """Checks that there are rows with one of the labels, and rows with none of them to choose by.

    Args:
        label: That of rows with none, where such rows are wanted.
        targets: Of the training rows with a label.
        outside: The rows with none that are for choosing.
        source: Where all of them come from.

    Raises:
        DataError: There are none.
    """
    if label is None:
        return
    if not targets:
        raise DataError(source, f"all training rows have the label '{label}', which is none_label")
    if not outside:
        hint = nearest(label, sorted(_names(targets)))
        meant = f". Did you mean {hint!r}?" if hint else ""
        raise DataError(
            source,
            f"no training or validation row has the label '{label}', which is none_label{meant}",
        )


def is_label(target: object, label: str | None) -> bool:
    """Returns whether the target of a row is this label, as `with_own_names` compares them."""
    return label is not None and isinstance(target, str) and _key(target) == _key(label)


def _key(label: str) -> str:
    label = normalized(label)
    whole = _WHOLE.fullmatch(label)
    if whole is not None:
        return whole[1]
    return label.lower() if label.lower() in ("true", "false") else label


def near_equal(labels: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yields labels that differ in nothing but how they are written.

    That is in case, spaces, dashes, accents, invisible characters, quotes, a full stop at the end,
    and zeros before or behind a number.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        groups[_folded(label)].append(label)
    yield from (tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _folded(label: str) -> str:
    parts = []
    for sign in normalize("NFKD", normalize("NFKC", label).casefold()):
        if category(sign) in ("Pd", "Pc"):
            parts.append(" ")
        elif category(sign) != "Cf" and combining(sign) not in _ACCENTS:
            parts.append(sign)
    folded = " ".join("".join(parts).translate(_QUOTES).split())
    framed = _FRAMED.fullmatch(folded)
    folded = folded if framed is None else framed[1]
    number = _PADDED.fullmatch(folded)
    folded = folded if number is None else number[1]
    # A minus is no dash: -1 is another label than 1.
    return f"-{folded}" if re.match(r"\s*[-\u2212][0-9]", label) else folded


_QUOTES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4`", "'"))
# Quotes around, and the stop of a sentence.
_AROUND = "'\"\u201c\u201d\u00ab\u00bb"
_FRAMED = re.compile(rf"[{_AROUND}]*(.+?)[{_AROUND}.,;]*", re.DOTALL)
_PADDED = re.compile(r"0*([0-9]+?)(?:\.0+)?")
_ACCENTS = (202, 220, 230)
"""Combining classes of the accents of Latin, Greek and Cyrillic; other scripts' are letters."""
