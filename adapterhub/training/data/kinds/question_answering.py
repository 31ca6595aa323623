"""Rows of a question, a context, and the answers that are spans of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapterhub.kinds import KINDS, USUAL_TARGETS
from adapterhub.rows.reading import SourceRow
from adapterhub.training.data.answers.answer_rows import AnswerSpan, read_answers
from adapterhub.training.data.columns import TEXT, Columns
from adapterhub.training.data.kinds.reader import Example, Reader
from adapterhub.training.data.labels import Target
from adapterhub.training.data.records import Records
from adapterhub.training.data.values import as_flag, is_flag, read_text
from adapterhub.training.options import TrainingOptions

STARTS = "answer_start"
"""The column of starts, where answers are texts."""
_IMPOSSIBLE = "is_impossible"
"""The column in which SQuAD 2.0 says that a question has no answer; other forms list some then."""


class QuestionAnsweringReader(Reader):
    """Reads the answers to a question, in the forms of `answer_rows`."""

    kind = "question_answering"

    def claim(self, records: Records, options: TrainingOptions) -> str | None:
        """Returns the column of answers, where rows have a question, a context and answers."""
        if options.kind not in (None, self.kind):
            return None
        names, usual = records.columns, KINDS[self.kind].targets
        known = (options.target,) if options.target is not None else usual
        found = next((name for name in known if name in usual and name in names), None)
        if found is None or not set(_inputs(options)) <= set(names):
            return None
        if options.kind is None and found != usual[0]:
            # A single answer may also be a label, such as yes.
            is_label = any(name in names for name in USUAL_TARGETS)
            if is_label or not (STARTS in names or _are_spans(records, found, options)):
                return None
        return found

    def columns(self, columns: Columns, records: Records, options: TrainingOptions) -> Columns:
        """Returns which columns to read: question, context, answers, and their starts if any."""
        has_starts = any(STARTS in record.values for record in records.rows)
        starts = STARTS if has_starts and columns.target != STARTS else ""
        return replace(columns, inputs=_inputs(options), starts=starts)

    def parse(self, records: Records, columns: Columns) -> list[Example]:
        """Returns the examples of all rows."""
        return [_parse_row(records, record, columns) for record in records.rows]

    def labels(
        self, inputs: Sequence[tuple[str, ...]], targets: Sequence[Target], records: Records
    ) -> tuple[str, ...]:
        """Returns no labels, and checks that some question has an answer."""
        del inputs
        if not any(targets):
            records.refuse("no training row has an answer; nothing can be learned")
        return ()


def _inputs(options: TrainingOptions) -> tuple[str, str]:
    """Returns the columns of question and context."""
    question, context = KINDS["question_answering"].input_fields
    return question if options.text == TEXT else options.text, options.pair or context


def _are_spans(records: Records, column: str, options: TrainingOptions) -> bool:
    """Returns whether the texts of a column stand in the contexts of most rows."""
    _, context = _inputs(options)
    pairs = [(row.values.get(column), row.values.get(context)) for row in records.rows]
    found = [a in b for a, b in pairs if isinstance(a, str) and isinstance(b, str) and a.strip()]
    return 2 * sum(found) > len(found)


def _parse_row(records: Records, record: SourceRow, columns: Columns) -> Example:
    target = records.value(record, columns.target)
    texts = []
    column = columns.target
    try:
        for column in columns.inputs:
            texts.append(read_text(records.value(record, column)))
        column = columns.target
        answers: tuple[AnswerSpan, ...] = ()
        flag = record.values.get(_IMPOSSIBLE)
        if not (is_flag(flag) and as_flag(flag)):
            starts = record.values.get(columns.starts) if columns.starts else None
            answers = read_answers(target, texts[1], starts=starts)
    except ValueError as error:
        records.refuse(f"column '{column}' {error}", record)
    # Questions about one context tell about each other.
    return Example(tuple(texts), answers, group=texts[1])
