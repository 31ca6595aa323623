"""Writes rows of 1 kB to stdout: `python -m tests.soak.rows FORMAT ROWS`, in whole blocks."""

from __future__ import annotations

import contextlib
import json
import sys

TEXT = "the film was good and the food was bad, " * 25
SCORED = TEXT[:40]
BLOCK = 1_000
SEPARATORS = {"csv": ",", "tsv": "\t"}


def main(form: str, rows: int) -> None:
    if form in SEPARATORS:
        sys.stdout.write(f"text{SEPARATORS[form]}note\n")
    block = row(form) * BLOCK
    # Whoever reads may go away before the end.
    with contextlib.suppress(BrokenPipeError):
        for _ in range(-(-rows // BLOCK)):
            sys.stdout.write(block)


def row(form: str) -> str:
    """Returns a line of a short text and a long value, which is carried along but not scored."""
    if form == "jsonl":
        return json.dumps({"text": SCORED, "note": TEXT}) + "\n"
    if form == "text":
        return f"{TEXT}\n"
    return f'"{SCORED}","{TEXT}"\n' if form == "csv" else f"{SCORED}\t{TEXT}\n"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
