"""What every benchmark needs: its arguments, the sets of photographs, a command's time and memory, scorers."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.provenance import ROOT

T = TypeVar("T")
SHARED = ROOT.parent / "shared"
PHOTOS = SHARED / "data" / "photos"
PROGRAM = [sys.executable, "-m", "stn_cli"]
OLD_SETS = (
    "bccd_wbc",
    "foda_hammer",
    "foda_clamp",
    "fruit_apple",
    "voc07_motorbike",
    "voc07_aeroplane",
    "voc10coseg_cat",
    "raccoon",
)
"""The development sets of photographs that were there from the beginning."""
NEW_SETS = (
    "pennfudan",
    "kangaroo",
    "fruit_orange",
    "voc07_boat",
    "voc07_bicycle",
    "elephant_thermal",
    "cell_living",
    "fedex_cctv",
)
"""Those that came later, most with several objects an image."""
CHOSEN = (
    "elephant_thermal",
    "foda_clamp",
    "foda_hammer",
    "kangaroo",
    "voc07_aeroplane",
    "voc07_bicycle",
    "voc07_boat",
    "voc10coseg_cat",
)
"""The half on which constants may be chosen: sorted(random.Random(17).sample(sorted(all sixteen), 8))."""
SCORER = SHARED / "score" / "ap.py"


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


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most so many of the items, at even distances."""
    count = min(count, len(items))
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


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


def all_objects(boxes: Path, truth: Path) -> dict[str, Any]:
    """Scores over all true objects, by the scorer that is independent of the project.

    Returns:
        `ap` at IoU .5, `recall_at_half` and `precision_at_half` of boxes that score at least .5, in percent; `auroc` of right against
        wrong boxes; None where there is none to be had.
    """
    out = subprocess.run([sys.executable, str(SCORER), str(boxes), str(truth)], capture_output=True, text=True, check=True)
    return dict(json.loads(out.stdout))


def need(path: Path) -> None:
    """End with a clear line where a data set is absent."""
    if not path.exists():
        raise SystemExit(f"this benchmark needs {path.name}, which is not part of the project")
