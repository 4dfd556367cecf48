"""100,000 small images in 1,000 folders: listed within seconds, localised at flat memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.soak.inputs import encoded, picture, trained
from benchmarks.soak.process import median_between, watched
from benchmarks.soak.record import Outcome, Soak

DISTINCT = 200
SECONDS = 10.0
"""A scan of 100,000 images takes at most."""
GROWTH = 1.10
"""Memory at the end as a multiple of that after warming up, at most."""
CODE = (
    "import sys, time; from stn_cli.media.scan import scan; begun = time.perf_counter(); "
    "found = scan(sys.argv[1]); print(len(found.images), len(found.skipped), time.perf_counter() - begun)"
)


def make(folder: Path, folders: int, each: int) -> None:
    """The images: some hundred distinct ones under many names, by links where the file system has them."""
    sources = folder.with_name("sources")
    sources.mkdir()
    for n in range(DISTINCT):
        (sources / f"{n}.jpg").write_bytes(encoded(picture(n), ".jpg"))
    for f in range(folders):
        inside = folder / f"part-{f // 100:02d}" / f"folder-{f:04d}"
        inside.mkdir(parents=True)
        for n in range(each):
            source, target = sources / f"{(f * each + n) % DISTINCT}.jpg", inside / f"{n:03d}.jpg"
            try:
                os.link(source, target)
            except OSError:
                target.write_bytes(source.read_bytes())


def run(soak: Soak, outcome: Outcome) -> None:
    """Make, scan, localise."""
    folders, each = (30, 100) if soak.quick else (1000, 100)
    outcome.count = folders * each
    images, out = soak.work / "images", soak.work / "out"
    begun = time.monotonic()
    make(images, folders, each)
    print(f"  made {outcome.count:,} images, {time.monotonic() - begun:.0f} s", flush=True)
    model = trained(soak.work)
    listed = subprocess.run(
        [sys.executable, "-c", CODE, str(images)], capture_output=True, text=True, check=True
    ).stdout.split()
    found, skipped, seconds = int(listed[0]), int(listed[1]), float(listed[2])
    print(f"  scanned in {seconds:.2f} s", flush=True)
    again = f"python -m benchmarks.soak scan{' --quick' if soak.quick else ''}"
    if (found, skipped) != (outcome.count, 0) or seconds > SECONDS:
        outcome.fault(f"scan: {found} images, {skipped} skipped in {seconds:.1f} s", again)
    done, samples = watched("localise", images, "-m", model, "-o", out, "-q")
    warm, end = median_between(samples, 0.3, 0.4), median_between(samples, 0.9, 0.99)
    most = max(size for _, size in samples)
    if done.code:
        outcome.fault(f"localise: {done.words()}", again)
    elif len(json.loads((out / "boxes.json").read_text())["images"]) != outcome.count:
        outcome.fault("localise: boxes.json does not hold every image", again)
    elif end > warm * GROWTH and not soak.quick:
        outcome.fault(f"localise: {warm:.0f} MB after warming up, {end:.0f} MB at the end", again)
    outcome.figures = {
        "scan_seconds": round(seconds, 2), "localise_seconds": round(done.seconds, 1), "warm_mb": round(warm), "end_mb": round(end),
        "most_mb": round(most),
    }  # fmt: skip
    outcome.done = (
        f"{outcome.count:,} images in {folders:,} folders scanned in {seconds:.1f} s, localised in {done.seconds / 60:.1f} min; "
        f"memory {warm:.0f} MB after a third, {end:.0f} MB at the end, {most:.0f} MB at most"
    )
