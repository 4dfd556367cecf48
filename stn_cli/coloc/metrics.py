"""metrics.jsonl: a line per logged step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from stn_cli.files import write_text

NAME = "metrics.jsonl"
STAGES = ("search", "regression", "finetune", "calibrate", "done")


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
        kept = [
            r for r in read_metrics(self.path) if _order(r["stage"], r.get("object", 0), r.get("level", 0), r.get("step")) < now
        ]
        write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))


def _order(stage: str, number: int, level: int, step: int | None) -> tuple[float, ...]:
    """When a line is written: the search; then each object's levels and its fine-tuning; then the calibration."""
    last = math.inf if step is None else step
    if stage in ("regression", "finetune"):
        return 1, number, stage == "finetune", level, last
    return (0, 0, 0, 0, 0) if stage == "search" else (2, 0, 0, 0, last)


def _plain(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return round(value, 6) if math.isfinite(value) else None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that are whole; a killed run may end in half a line."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text("utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
