"""What `score` says at its end: rows, speed, files, and what was computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterhub.commands.printing import counted, note, print_json

if TYPE_CHECKING:
    from adapterhub.scoring.score_file import ScoredFile


def summarise(done: ScoredFile, *, as_json: bool) -> None:
    """Prints what a run did and what it cost; to stdout only as JSON where that is free."""
    if as_json and done.path is not None:
        print_json(_values(done))
        return
    note(f"adapterhub: {', '.join(_parts(done))}")
    note(f"adapterhub: {done.plan.summary}")
    if done.from_cache:
        names, passes = ", ".join(done.from_cache), counted(done.passes, "pass")
        made = f"{passes} per text for the others" if done.passes else "no pass was made"
        note(f"adapterhub: from the features cache, without the encoder: {names}; {made}")


def _values(done: ScoredFile) -> dict[str, object]:
    from adapterhub.commands.explain import plan_values

    values: dict[str, object] = {
        name: getattr(done, name)
        for name in ("rows", "scored", "bad", "truncated", "parts", "resumed_rows", "tokens")
    }
    values |= {"seconds": round(done.seconds, 3), "out": str(done.path)}
    values |= {
        "rows_per_second": round(done.rows_per_second, 1),
        "tokens_per_second": round(done.tokens_per_second, 1),
        "errors": None if done.bad_path is None else str(done.bad_path),
        "columns": {name: dict(own) for name, own in done.columns.items()},
        "tasks": {name: one.model_dump() for name, one in (done.made_by or {}).items()},
    }
    if done.from_cache:
        values |= {"from_cache": list(done.from_cache), "passes": done.passes}
    return {**values, "plan": plan_values(done.plan)}


def _parts(done: ScoredFile) -> list[str]:
    of_all = f" of {done.rows:,}" if done.bad else ""
    parts = [f"scored {counted(done.scored, 'row')}{of_all}"]
    if not done.new_rows and done.resumed_rows:
        parts = [f"nothing to do: {counted(done.scored, 'row')}{of_all} scored before"]
    elif done.resumed_rows:
        parts.append(f"{done.resumed_rows:,} of them before")
    if done.bad and not done.scored:
        parts.insert(0, "no row could be scored: all are bad")
    if done.new_rows:
        parts.append(f"{done.rows_per_second:,.0f} rows/s")
    if done.tokens:
        parts.append(f"{done.tokens_per_second:,.0f} tokens/s")
    if done.path is not None:
        pieces = f" ({counted(done.parts, 'part')})" if done.path.is_dir() else ""
        parts.append(f"in {done.path}{pieces}")
    if done.bad_path is not None:
        others = "other one" if done.bad == 1 else f"{done.bad:,} others"
        parts.append(f"the {others} in {done.bad_path}")
    if done.truncated:
        was = "was" if done.truncated == 1 else "were"
        cut = f"{counted(done.truncated, 'text')} {was} longer than its windows and cut"
        parts.append(f"{cut} (--max-windows)")
    return parts
