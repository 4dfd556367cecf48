"""metrics.jsonl: a line per logged step."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stn_cli.files import atomic
from stn_cli.reading import check_plain
from stn_cli.runs.folder import read_row

NAME = "metrics.jsonl"
MOST_BYTES = 4 << 30
"""Of a log: of more steps than anybody waits for."""
MOST_LINE = 1 << 16
"""Bytes of a line; the rest of a longer one is no line either."""
MOST_VALUE = 1e15
"""Larger ones are of no training, and charts could not tell them from their neighbours."""
STAGES = ("search", "corrections", "regression", "finetune", "calibrate", "done")
"""Of a training, in their order; nothing is saved of one that is done."""


class Metrics:
    """The log of a run, appended to as it goes.

    Args:
        folder: the run.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def clear(self) -> None:
        """Begin anew."""
        self.path.unlink(missing_ok=True)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line; numbers are rounded, what is not finite becomes null."""
        clean = {k: _plain(v) for k, v in record.items()}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(clean) + "\n")

    def trim(self, stage: str, number: int, level: int, step: int) -> None:
        """Drop what was logged after a checkpoint: those steps are done again."""
        now = _order(stage, number, level, step)
        with atomic(self.path, "w") as file:
            for row in read_metrics(self.path):
                if _order(row["stage"], row.get("object", 0), row.get("level", 0), row.get("step")) < now:
                    file.write(json.dumps(row) + "\n")


def _order(stage: str, number: int, level: int, step: int | None) -> tuple[float, ...]:
    """When a line is written: the search, or what takes its place; then each object's levels and its fine-tuning; then the calibration."""
    last = math.inf if step is None else step
    if stage in ("regression", "finetune"):
        return 1, number, stage == "finetune", level, last
    return (0, 0, 0, 0, 0) if stage in ("search", "corrections") else (2, 0, 0, 0, last)


def _plain(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return round(value, 6) if math.isfinite(value) else None


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log that are whole, and hold what `log` writes; a killed run may end in half a line.

    Args:
        path: of metrics.jsonl.

    Yields:
        A dictionary for each line.
    """
    try:
        check_plain(path, MOST_BYTES)
    except OSError:
        return
    with open(path, "rb") as file:
        while line := file.readline(MOST_LINE):
            row = read_row(line)
            if row is not None and _is_record(row):
                yield row


def _is_record(row: dict[str, Any]) -> bool:
    plain = row.get("stage") in STAGES and all(_is_plain_value(v) for v in row.values())
    return plain and all(type(row.get(name, 0)) is int for name in ("object", "level")) and type(row.get("step")) in _STEPS


_STEPS = (int, type(None))


def _is_plain_value(value: object) -> bool:
    """Whether a value is one that a line may hold: text, or a number that is finite."""
    return value is None or isinstance(value, str | bool) or (isinstance(value, int | float) and abs(value) <= MOST_VALUE)
