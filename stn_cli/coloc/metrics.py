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

    def trim(self, stage: str, step: int) -> None:
        """Drop what was logged after a checkpoint: those steps are done again."""
        now = STAGES.index(stage)
        kept = []
        for record in read_metrics(self.path):
            place = STAGES.index(record["stage"])
            if place < now or (place == now and record.get("step", math.inf) < step):
                kept.append(json.dumps(record) + "\n")
        write_text(self.path, "".join(kept))


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
