"""What every benchmark needs: its arguments, a command's time and memory, a scorer."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.provenance import ROOT

SHARED = ROOT.parent / "shared"
PROGRAM = [sys.executable, "-m", "stn_cli"]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Of a script's options; --help shows its docstring as it is."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def chosen(doc: str | None, what: str, names: Iterable[str]) -> list[str]:
    """The names given on the command line, all of them where none is."""
    known = list(names)
    options = parser(doc)
    options.add_argument("names", nargs="*", metavar=what, help=f"{', '.join(known)}; all when left out")
    given: list[str] = options.parse_args().names
    if unknown := [name for name in given if name not in known]:
        options.error(f"no such {what}: {', '.join(unknown)}; known: {', '.join(known)}")
    return given or known


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
