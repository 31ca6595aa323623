"""The examples of labels to be added: texts as people give them, and rows of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapterhub.errors import UsageError
from adapterhub.training.data.columns import DESCRIPTION, TEXT
from adapterhub.training.data.labels import digest_of_rows
from adapterhub.training.data.records import read_records
from adapterhub.training.data.values import read_label, read_text

Texts = Mapping[str, Sequence[str]]
"""The examples and descriptions of each label."""


def checked_label(label: object) -> str:
    """Returns a label as it is stored.

    Raises:
        UsageError: It is no label, an empty one, or too long.
    """
    try:
        return read_label(label)
    except ValueError as error:
        raise UsageError(f"The label {_sentence(error)}") from error


def checked_texts(examples: object, descriptions: object) -> dict[str, list[str]]:
    """Returns the examples of each label with its description, which counts as one more.

    Args:
        examples: By label its texts.
        descriptions: By label a sentence.

    Raises:
        UsageError: A label or a text is empty, or there is none.
    """
    if not isinstance(examples, Mapping) or not isinstance(descriptions, Mapping):
        raise UsageError('Examples are texts by label, such as {"refund": ["I want it back."]}.')
    found: dict[str, list[str]] = {}
    for name, texts in examples.items():
        if isinstance(texts, str) or not isinstance(texts, Sequence):
            raise UsageError(f"The examples of label '{name}' are no list of texts.")
        found.setdefault(checked_label(name), []).extend(_text(name, text) for text in texts)
    for name, sentence in descriptions.items():
        found.setdefault(checked_label(name), []).append(_text(name, sentence))
    for label, own in found.items():
        if not own:
            raise UsageError(f"Label '{label}' has no example and no description; give one.")
    if not found:
        raise UsageError("There is no label to add; give examples or descriptions by label.")
    return found


def _text(label: object, text: object) -> str:
    try:
        return read_text(text)
    except ValueError as error:
        raise UsageError(
            f"An example or the description of label '{label}' {_sentence(error)}"
        ) from error


def _sentence(problem: ValueError) -> str:
    """Returns a problem that ends a sentence; some do already."""
    return f"{str(problem).rstrip('.')}."


def texts_of_file(data: object, label: str | None = None) -> dict[str, list[str]]:
    """Returns the examples in a file: those of one label, or of the labels that its rows name.

    Args:
        data: A file with a column `text`, or `description`; without `label` also `label`.
        label: The label of all rows; None where each has its own.

    Raises:
        DataError: It cannot be read, or lacks a column.
        UsageError: The rows name other labels than the one given.
    """
    records = read_records(data)
    text = TEXT if TEXT in records.columns or DESCRIPTION not in records.columns else DESCRIPTION
    found: dict[str, list[str]] = {}
    for record in records.rows:
        own = label
        column = text
        try:
            sentence = read_text(records.value(record, text))
            if label is None or "label" in record.values:
                column = "label"
                own = read_label(records.value(record, column))
        except ValueError as error:
            records.refuse(f"column '{column}' {error}", record)
        if label is not None and own != label:
            records.refuse(f"the row is labelled '{own}', not '{label}'", record)
        found.setdefault(str(own), []).append(sentence)
    return found


def digest_of_texts(texts: Texts) -> str:
    """Returns the sha256 of examples, as `Dataset.digest` is of rows."""
    rows = [(text, label) for label, own in texts.items() for text in own]
    return digest_of_rows([(text,) for text, _ in rows], [label for _, label in rows])
