"""What a part of the soak found, the file its rows accumulate in, and the table of docs/reliability.md."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import provenance

PACKAGES = ("pillow", "safetensors")
"""Whose versions matter too."""


@dataclass(frozen=True, slots=True)
class Soak:
    """How a soak is run.

    Attributes:
        quick: a few of everything, for CI.
        seed: of all random numbers; a case is told by it and its number.
        work: a folder for what is made, removed at the end.
        kept: a folder where the files of cases that failed stay.
        only: the one case to run, None for all.
    """

    quick: bool
    seed: int
    work: Path
    kept: Path
    only: int | None = None

    def count(self, whole: int, quick: int) -> range:
        """The numbers of the cases to run."""
        if self.only is not None:
            return range(self.only, self.only + 1)
        return range(quick if self.quick else whole)

    def again(self, part: str, case: int) -> str:
        """The command that runs one case again."""
        quick = " --quick" if self.quick else ""
        return f"python -m benchmarks.soak {part}{quick} --seed {self.seed} --case {case}"


@dataclass(slots=True)
class Fault:
    """Something that is not as it must be, the command that shows it again, and in how many cases it was seen."""

    what: str
    again: str
    times: int = 1


@dataclass(slots=True)
class Outcome:
    """One row of the table.

    Attributes:
        part: its name.
        done: what was done, in words, with the figures that were measured.
        count: how many cases.
        faults: what was found.
        figures: what was measured, for the file.
        seconds: it took.
    """

    part: str
    done: str = ""
    count: int = 0
    faults: list[Fault] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    _kinds: dict[str, Fault] = field(default_factory=dict)

    def fault(self, what: str, again: str) -> None:
        """Note a fault; a kind of fault is said once, at once."""
        kind = re.sub(r"\d+|'[^']*'|\([^)]*\)", "", what)
        if kind in self._kinds:
            self._kinds[kind].times += 1
            return
        self._kinds[kind] = found = Fault(what, again)
        self.faults.append(found)
        print(f"  FAULT {what}\n    again: {again}", flush=True)

    @property
    def bad(self) -> int:
        """How many cases were not as they must be."""
        return sum(f.times for f in self.faults)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure how long the part takes."""
        begun = time.monotonic()
        yield
        self.seconds = time.monotonic() - begun


def save(path: Path, outcome: Outcome, soak: Soak) -> None:
    """Put a part's row into the file, in the place of an earlier one of that part."""
    rows = read(path)
    rows[outcome.part] = {
        "done": outcome.done,
        "count": outcome.count,
        "faults": outcome.bad,
        "kinds_of_faults": [{"what": f.what, "again": f.again, "times": f.times} for f in outcome.faults],
        "seconds": round(outcome.seconds, 1),
        "figures": outcome.figures,
    }
    versions = {name: provenance.version(name) for name in PACKAGES}
    whole = provenance.WHOLE
    provenance.save("soak", {"parts": rows}, whole, rows=(outcome.part,), seeds=(soak.seed,), versions=versions, out=path)


def read(path: Path) -> dict[str, Any]:
    """The rows of a result file by part; none if there is no file."""
    return dict(json.loads(path.read_text())["parts"]) if path.is_file() else {}


def table(file: dict[str, Any]) -> str:
    """A result file's rows as the Markdown of docs/reliability.md."""
    lines = ["| part | what was done | cases | faults | minutes | commit, date |", "|---|---|---|---|---|---|"]
    runs = {row: run for run in file["runs"] for row in run["rows"]}
    for part, row in file["parts"].items():
        run = runs[part]
        when = f"{run['commit']}{' and changes' if run['dirty'] else ''}, {run['date'][:10]}"
        minutes = f"{row['seconds'] / 60:.1f}"
        lines.append(f"| `{part}` | {row['done']} | {row['count']:,} | {row['faults']} | {minutes} | {when} |")
    machines = dict.fromkeys(provenance.told(runs[part]) for part in file["parts"])
    return "\n".join([*lines, "", f"Measured on {'; '.join(machines)}."])
