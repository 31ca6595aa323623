"""Files and tables -> the rows of a run of probes, in three splits; needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from adapterhub.errors import DataError
from adapterhub.probing.items import SPLITS, Split
from adapterhub.probing.options import ProbeOptions, What
from adapterhub.probing.sentence_pairs import sentence_pairs
from adapterhub.probing.source import Source, open_source
from adapterhub.tags import OUTSIDE
from adapterhub.training.data.kinds.reader import Example
from adapterhub.training.data.kinds.table import parse_records
from adapterhub.training.data.labels import find_labels, with_own_names, with_whole_numbers
from adapterhub.training.data.splits import Parts, draw_rows, draw_test, shared_rows, split_records
from adapterhub.training.data.tagging import TaggedWords, are_characters, join_words
from adapterhub.training.data.words.trees import ParsedWords, join_tree
from adapterhub.training.options import Joining

FEWEST: Mapping[Split, int] = {"training": 8, "choosing": 2, "measuring": 2}
"""Rows of each split at least."""

# Above this share of equal rows figures are noticeably too good.
_SHARED = 0.01


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One text or pair, with what is predicted of it.

    Attributes:
        inputs: One string, or two for a pair.
        labels: One label, or one of each word: its tag, or its relation, which is empty for a root
            where relations are predicted.
        words: Start and end of each word in the text; none where whole texts are read.
        heads: Place of the head of each word, counted from 1, and 0 for the root; none where there
            are no trees.
    """

    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    words: tuple[tuple[int, int], ...] = ()
    heads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ProbeRows:
    """The rows of a run of probes.

    Attributes:
        name: Of the data set.
        what: What is predicted.
        target: The column of it.
        fields: Names of the inputs: one text, or two.
        labels: Those of the training rows, in order; none where heads are predicted.
        splits: The rows that train, choose and measure.
        notes: What was left out, and what makes figures too good.
    """

    name: str
    what: What
    target: str
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    splits: Mapping[Split, tuple[ProbeRow, ...]]
    notes: tuple[str, ...]


def read_rows(data: object, options: ProbeOptions) -> ProbeRows:
    """Returns the rows of a data set in three splits.

    Args:
        data: As `train` takes it; for the order of sentences also a text file, a paragraph a line.
        options: Columns, target, split and seed.

    Raises:
        DataError: The data cannot be read or used; names file and line.
        UsageError: What is predicted is not clear, or cannot be probed.
    """
    source = open_source(data, options)
    parts = _parts(source, options)
    found = dict(zip(SPLITS, (parts.train, parts.validation, parts.test), strict=True))
    joining = _joining([one for part in found.values() for one in part], options.join_tokens)
    rows = {split: _drawn(part, source, joining) for split, part in found.items()}
    notes = [*parts.notes, *_shared(rows)]
    labels: tuple[str, ...] = ()
    if source.what != "head":
        rows, labels = _with_labels(rows, source)
        rows, left_out = _without_unseen(rows, set(labels))
        notes += left_out
    _check_fewest(rows, source.records.source, notes)
    splits = {split: tuple(part) for split, part in rows.items()}
    fields = ("text", "text_pair") if source.what == "order" else source.columns.fields
    return ProbeRows(
        source.records.name, source.what, source.target, fields, labels, splits, tuple(notes)
    )


def _parts(source: Source, options: ProbeOptions) -> Parts:
    """Returns the examples that train, choose and measure."""
    reading = source.reading
    if options.validation is None:
        parts = split_records(source.records, source.columns, reading)
    else:
        train = parse_records(source.records, source.columns)
        parts = Parts(train, source.parse_other(options.validation))
    if options.test is not None:
        return replace(parts, test=source.parse_other(options.test))
    if parts.test:
        return parts
    choosing, measuring = draw_test(parts.validation, reading)
    return replace(
        parts,
        validation=[parts.validation[row] for row in choosing],
        test=[parts.validation[row] for row in measuring],
    )


def _joining(examples: Sequence[Example], joining: Joining) -> Joining:
    words = (one.truth for one in examples)
    tagged = [truth for truth in words if isinstance(truth, TaggedWords)]
    return "none" if joining == "auto" and are_characters(tagged) else joining


def _drawn(examples: Sequence[Example], source: Source, joining: Joining) -> list[ProbeRow]:
    """Returns the rows of a split, or so many of them as the options allow, drawn by the seed."""
    reading = source.reading
    if source.what != "order":  # of which an example may have several
        examples = [examples[row] for row in draw_rows(len(examples), reading)]
    rows = [row for one in examples for row in _rows_of(one, source.what, joining, reading.seed)]
    return [rows[row] for row in draw_rows(len(rows), reading)]


def _rows_of(example: Example, what: What, joining: Joining, seed: int) -> Iterator[ProbeRow]:
    """Yields the rows of one example: one, or of a paragraph its pairs of sentences."""
    truth = example.truth
    if what == "order":
        for pair in sentence_pairs(example.inputs[0], seed=seed):
            yield ProbeRow((pair.text, pair.text_pair), (pair.label,))
    elif isinstance(truth, ParsedWords):
        parsed = join_tree(truth, joining)
        # That of the root is no relation of two words.
        is_read = [what == "head" or arc.head > 0 for arc in parsed.arcs]
        yield ProbeRow(
            (parsed.text,),
            tuple(arc.relation * read for arc, read in zip(parsed.arcs, is_read, strict=True)),
            tuple((arc.start, arc.end) for arc in parsed.arcs),
            truth.heads,
        )
    elif isinstance(truth, TaggedWords):
        # An entity's type, whatever mark it has: which words go together is another question.
        labels = (tag if tag == OUTSIDE else tag.partition("-")[2] for tag in truth.tags)
        joined = join_words(TaggedWords(truth.words, ("B-word",) * len(truth.words)), joining)
        words = tuple((span.start, span.end) for span in joined.spans)
        yield ProbeRow((joined.text,), tuple(labels), words)
    else:
        yield ProbeRow(example.inputs, (str(truth),))


def _with_labels(
    rows: Mapping[Split, list[ProbeRow]], source: Source
) -> tuple[dict[Split, list[ProbeRow]], tuple[str, ...]]:
    """Returns rows whose labels are written alike, and the labels of those that train.

    Raises:
        DataError: There is one label only, or there are too many.
    """
    own = [label for row in rows["training"] for label in row.labels if label]
    own = [str(label) for label in with_whole_numbers(own)]
    labels = find_labels("single_label", own, source.records)
    if source.what != "label":
        return dict(rows), labels
    found: dict[Split, list[ProbeRow]] = {}
    for split, part in rows.items():
        named = with_own_names([row.labels[0] for row in part], labels, "single_label")
        found[split] = [
            replace(row, labels=(str(name),)) for row, name in zip(part, named, strict=True)
        ]
    return found, labels


def _without_unseen(
    rows: Mapping[Split, list[ProbeRow]], labels: set[str]
) -> tuple[dict[Split, list[ProbeRow]], list[str]]:
    """Returns the rows of which something can be predicted, and what was left out.

    A label that no training row has is no probe's to know. Words with one stay in their sentence,
    and are left out where items are made.
    """
    kept = {
        split: [row for row in part if not labels.isdisjoint(row.labels)]
        for split, part in rows.items()
    }
    unseen = Counter(
        label
        for part in rows.values()
        for row in part
        for label in row.labels
        if label and label not in labels
    )
    if not unseen:
        return kept, []
    names = ", ".join(sorted(unseen)[:8]) + (", …" if len(unseen) > 8 else "")
    return kept, [
        f"{unseen.total():,} items are left out, whose labels no training row has: {names}."
    ]


def _shared(rows: Mapping[Split, Sequence[ProbeRow]]) -> Iterator[str]:
    known = [row.inputs for split in SPLITS[:2] for row in rows[split]]
    measured = rows["measuring"]
    shared = shared_rows(known, [row.inputs for row in measured])
    if shared >= max(1, len(measured) * _SHARED):
        yield (
            f"{shared:,} of {len(measured):,} measuring rows are also training or choosing rows "
            f"(ignoring case, spaces and the order of pairs), so the information is overstated."
        )


def _check_fewest(
    rows: Mapping[Split, Sequence[ProbeRow]], source: str, notes: Sequence[str]
) -> None:
    for split, fewest in FEWEST.items():
        if len(rows[split]) < fewest:
            raise DataError(
                source,
                " ".join(
                    (
                        f"there are {len(rows[split])} {split} rows; {fewest} or more are needed, "
                        f"and equal texts are in one split.",
                        *notes,
                    )
                ).rstrip("."),
            )
