"""What every benchmark needs: the machine's name, a command's time and memory, a place for results."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
RESULTS = ROOT / "benchmarks" / "results"
PROGRAM = [sys.executable, "-m", "stn_cli"]


def machine() -> str:
    """Processor, cores, system."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command: (seconds of the whole process, its largest resident set in GB)."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1e6


def corloc(boxes: Path, truth: Path) -> float:
    """CorLoc in percent, by the scorer that is independent of the project where it is at hand."""
    scorer = SHARED / "score" / "corloc.py"
    if scorer.is_file():
        out = subprocess.run([sys.executable, str(scorer), str(boxes), str(truth)], capture_output=True, text=True, check=True)
        return float(json.loads(out.stdout)["corloc"])
    from stn_cli.evaluate import score_boxes

    return score_boxes(boxes, truth).corloc


def need(path: Path) -> None:
    """End with a clear line where a data set is absent."""
    if not path.exists():
        raise SystemExit(f"this benchmark needs {path.name}, which is not part of the project")


def earlier(name: str) -> dict[str, Any]:
    """The sets that an earlier run of a benchmark measured."""
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text())["sets"]) if path.is_file() else {}


def save(name: str, result: dict[str, Any], module: str | None = None) -> None:
    """Write results/NAME.json with the machine and the command; `module` is the benchmark's, where it is not NAME."""
    RESULTS.mkdir(exist_ok=True)
    command = f"python -m benchmarks.{module or name}"
    text = json.dumps({"machine": machine(), "command": command, **result}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
