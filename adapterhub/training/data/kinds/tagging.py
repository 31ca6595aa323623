"""Rows of words with tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from adapterhub.inputs import is_invisible
from adapterhub.rows.reading import SourceRow
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.kinds.reader import Example, Reader
from adapterhub.training.data.labels import Target, find_labels
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.data.tagging import Marks, TaggedWords, find_scheme, tag_labels
from adapterhub.training.data.values import normalized, read_tag, read_word


class TaggingReader(Reader):
    """Reads the tags of words, in whatever scheme."""

    kind = "tagging"

    def parse(self, records: Records, columns: Columns) -> list[Example]:
        """Returns the examples of all rows."""
        try:
            marks = find_scheme(Counter(_tags(records, columns)))
        except ValueError as error:
            records.refuse(f"column '{columns.target}': {error}")
        return [_parse_words(records, record, columns, marks) for record in records.rows]

    def labels(
        self, inputs: Sequence[tuple[str, ...]], targets: Sequence[Target], records: Records
    ) -> tuple[str, ...]:
        """Returns the tags of all entity types."""
        del inputs
        return find_labels(self.kind, targets, records, ordered=_tags_of_types)


def _tags_of_types(types: Iterable[str]) -> tuple[str, ...]:
    return tag_labels(f"B-{name}" for name in types)


def _tags(records: Records, columns: Columns) -> Iterator[str]:
    for record in records.rows:
        tags = records.value(record, columns.target)
        texts = (tag for tag in (tags if is_list(tags) else ()) if isinstance(tag, str))
        yield from map(normalized, texts)


def _parse_words(records: Records, record: SourceRow, columns: Columns, marks: Marks) -> Example:
    tags = records.value(record, columns.target)
    words = records.value(record, columns.inputs[0])
    if not is_list(words) or not is_list(tags):
        records.refuse(
            'tokens and tags must be lists, such as ["Oslo", "is"] and ["B-place", "O"], in a '
            "CSV file also words with spaces between",
            record,
        )
    if len(words) != len(tags):
        records.refuse(f"there are {len(words)} tokens, but {len(tags)} tags", record)
    if not len(words):
        records.refuse("there are no tokens", record)
    texts = []
    for index, word in enumerate(words):
        try:
            texts.append(read_word(word))
        except ValueError as error:
            records.refuse(f"token {index} {error}", record)
    if is_invisible("".join(texts)):
        records.refuse("all tokens are spaces or other invisible signs", record)
    try:
        return Example((), TaggedWords(tuple(texts), marks([read_tag(tag) for tag in tags])))
    except ValueError as error:
        records.refuse(str(error), record)
