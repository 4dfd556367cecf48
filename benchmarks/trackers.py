"""OpenCV's trackers, as rivals: CSRT, KCF and MIL, each in a process of its own, from the same first boxes as ours.

They come with opencv-contrib-python, which cannot stand beside opencv-python: it is installed into a folder of its own for the
time of the run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.provenance import cores
from stn_cli.records import TrackedFrame, TrackedObject, corners

RIVALS = ("CSRT", "KCF", "MIL")
JITTER = tuple((dx, dy) for dx in (0.0, -2.0, 2.0) for dy in (0.0, -2.0, 2.0))
"""Nine starts, the true one first: what a hand or a detector gives is as far off, and it decides much."""
WORKER = """
import json, sys, time, cv2
name, frames, boxes, out = sys.argv[1], json.load(open(sys.argv[2])), json.loads(sys.argv[3]), sys.argv[4]
cv2.setNumThreads(int(sys.argv[5]))

def images():
    if isinstance(frames, str):
        capture = cv2.VideoCapture(frames)
        while (read := capture.read())[0]:
            yield read[1]
    else:
        yield from map(cv2.imread, frames)

runs = []
for box in boxes:
    tracker = getattr(cv2, f"Tracker{name}_create")()
    stream = images()
    x, y, right, bottom = (int(round(v)) for v in box)
    tracker.init(next(stream), [x, y, max(1, right - x), max(1, bottom - y)])
    found = [box]
    for image in stream:
        done, (x, y, w, h) = tracker.update(image)
        found.append([x, y, x + w, y + h] if done else None)
    runs.append(found)
json.dump({"version": cv2.__version__, "runs": runs}, open(out, "w"))
"""


def contrib(folder: Path) -> Path:
    """opencv-contrib-python in a folder of its own."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder / "contrib")]
    if subprocess.run([*command, "opencv-contrib-python"], check=False).returncode:
        raise SystemExit("this benchmark needs opencv-contrib-python, which could not be installed")
    return folder / "contrib"


def contrib_version(library: Path) -> str:
    """Of the installed one."""
    return next(library.glob("opencv_contrib_python-*.dist-info")).name.split("-")[1].removesuffix(".dist")


def rival(
    library: Path, name: str, frames: list[str] | str, boxes: Sequence[list[float]], folder: Path
) -> list[list[list[float] | None]]:
    """The boxes that one of OpenCV's trackers gives, for each first box; as many threads as cores."""
    listed, out = folder / "frames.json", folder / "rival.json"
    listed.write_text(json.dumps(frames))
    words = [name, str(listed), json.dumps(list(boxes)), str(out), str(cores())]
    subprocess.run([sys.executable, "-c", WORKER, *words], check=True, env={**os.environ, "PYTHONPATH": str(library)})
    runs: list[list[list[float] | None]] = json.loads(out.read_text())["runs"]
    return runs


def starts(box: list[float]) -> list[list[float]]:
    """The nine first boxes: the true one moved by up to 2 pixels each way, kept on the frame's left and upper side."""
    moved = []
    for dx, dy in JITTER:
        dx, dy = max(dx, -box[0]), max(dy, -box[1])
        moved.append([box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy])
    return moved


def as_tracks(boxes: list[list[float] | None]) -> list[TrackedFrame]:
    """Boxes of one object, as the scorer reads them."""
    frames = []
    for i, b in enumerate(boxes):
        box = None if b is None else (b[0], b[1], b[2], b[3])
        frames.append(TrackedFrame(i, 0.0, () if box is None else (TrackedObject(1, box, 1.0, corners(box)),)))
    return frames


def mean_and_range(values: Sequence[float]) -> dict[str, Any]:
    """For a table."""
    return {"mean": round(sum(values) / len(values), 3), "least": round(min(values), 3), "most": round(max(values), 3)}
