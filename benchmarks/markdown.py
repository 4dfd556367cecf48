"""What the tables of README.md and docs are made with: result files, Markdown, and where figures come from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from benchmarks.provenance import RESULTS, told


class Figure(float):
    """A number of a result file, which is rounded as people do: halves away from zero."""

    def __format__(self, spec: str) -> str:
        if (digits := re.fullmatch(r",?\.(\d)f", spec)) is None:
            return super().__format__(spec)
        return format(Decimal(repr(float(self))).quantize(Decimal(1).scaleb(-int(digits[1])), ROUND_HALF_UP), spec)


def result(name: str) -> dict[str, Any]:
    """A result file."""
    return dict(json.loads((RESULTS / f"{name}.json").read_text("utf-8"), parse_float=Figure))


def shown(value: float | None, digits: int = 0, unit: str = "") -> str | None:
    """A figure for a cell; None, which was not measured, stays empty."""
    return None if value is None else f"{Figure(value):,.{digits}f}{unit}"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; None is an empty cell."""
    body = ["| " + " | ".join("" if cell is None else str(cell) for cell in line) + " |" for line in (columns, *rows)]
    return "\n".join([body[0], "|" + "---|" * len(columns), *body[1:]])


def source(*names: str, rows: Sequence[str] = ()) -> str:
    """Where the figures of result files come from: command, commit, date and machine of each run.

    Args:
        names: of the result files.
        rows: of them that are shown; all when left out.
    """
    said: dict[str, list[str]] = {}
    for name in names:
        runs = [run for run in result(name)["runs"] if not rows or not run["rows"] or set(rows) & set(run["rows"])]
        for run in runs:
            of = f" ({_short([r for r in run['rows'] if not rows or r in rows])})" if len(runs) > 1 else ""
            kept = " in the history since" if run["provenance"] == "from the history" else " at"
            changes = " and changes" if run["dirty"] else ""
            said.setdefault(told(run), []).append(f"`{run['command']}`{of},{kept} {run['commit']}{changes}, {run['date'][:10]}")
    return "\n\n" + "\n\n".join(f"*{'; '.join(runs)}. {machine}.*" for machine, runs in said.items())


def _short(rows: Sequence[str]) -> str:
    return ", ".join(rows) if len(rows) < 4 else f"{rows[0]} to {rows[-1]}"
