"""Texts as streams of rows."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from adapterhub.rows.formats import Format
from adapterhub.rows.reading import SourceRow, read_stream


def stream(data: str | bytes) -> io.TextIOWrapper:
    raw = data if isinstance(data, bytes) else data.encode()
    return io.TextIOWrapper(
        io.BytesIO(raw), encoding="utf-8-sig", errors="surrogateescape", newline="\n"
    )


def read(data: str | bytes, form: Format) -> list[SourceRow]:
    return list(read_stream(stream(data), form, name="stdin"))


def values(rows: Iterable[SourceRow]) -> list[Any]:
    return [dict(row.values) if row.problem is None else row.problem for row in rows]
