"""An hour of 1080p video tracked at constant memory, and the ids of an hour of several objects settled in linear time."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from benchmarks.soak.longvideo import FPS, enlarge, repeat
from benchmarks.soak.process import median_between, watched
from benchmarks.soak.record import Outcome, Soak
from stn_cli.records import TrackedFrame, TrackedObject, corners
from stn_cli.tracking.identity import settle

SIZE = (1080, 1920)
CLIP = Path(__file__).parents[2] / "sample_data" / "clip"
CLIP_SIZE = (240, 320)
TIMES = 1200
"""The clip has 75 frames; the cup leaves the picture and comes back each time."""
GROWTH = 1.10
"""Memory at the end as a multiple of that after warming up, at most."""
LINEAR = 2.8
"""Twice the frames take at most so many times as long to settle."""
SETTLED = 60.0
"""Seconds in which an hour of three objects is settled."""


def run(soak: Soak, outcome: Outcome) -> None:
    """Follow one object for an hour; then settle three."""
    again = f"python -m benchmarks.soak video{' --quick' if soak.quick else ''}"
    times = 4 if soak.quick else TIMES
    short, long, out = soak.work / "loop.mp4", soak.work / "hour.mp4", soak.work / "out"
    frames = outcome.count = times * enlarge(CLIP / "cup.mp4", short, SIZE)
    repeat(short, long, times)
    across, down = SIZE[1] / CLIP_SIZE[1], SIZE[0] / CLIP_SIZE[0]
    x1, y1, x2, y2 = (v * s for v, s in zip(json.loads((CLIP / "boxes.json").read_text())[0], (across, down) * 2, strict=True))
    print(f"  made {frames:,} frames, {long.stat().st_size / 1e6:.0f} MB", flush=True)
    done, samples = watched(
        "track", long, "-o", out, "-q", "--init", f"{x1},{y1},{x2 - x1},{y2 - y1}", every=0.1 if soak.quick else 1.0
    )
    warm, end = median_between(samples, 0.1, 0.2), median_between(samples, 0.85, 0.95)
    most = max(size for _, size in samples)
    found = 0
    if done.code:
        outcome.fault(f"track: {done.words()}", again)
    else:
        tracked = json.loads((out / "tracks.json").read_text())["frames"]
        found = sum(bool(frame["objects"]) for frame in tracked)
        if len(tracked) != frames:
            outcome.fault(f"track: {len(tracked)} of {frames} frames are in tracks.json", again)
        if end > warm * GROWTH and not soak.quick:
            outcome.fault(f"track: {warm:.0f} MB after warming up, {end:.0f} MB at the end", again)
    half, whole = (settled(n, soak.seed) for n in (frames // 2, frames))
    if whole > SETTLED or (whole > LINEAR * half and whole > 1.0):
        outcome.fault(f"settle: {half:.1f} s for {frames // 2:,} frames, {whole:.1f} s for {frames:,}", again)
    outcome.figures = {
        "minutes_of_video": round(frames / FPS / 60, 1), "track_seconds": round(done.seconds, 1), "frames_with_object": found,
        "warm_mb": round(warm), "end_mb": round(end), "most_mb": round(most), "settle_seconds": round(whole, 2),
        "settle_half_seconds": round(half, 2),
    }  # fmt: skip
    outcome.done = (
        f"{frames / FPS / 60:.1f} min of 1080p tracked at {frames / max(1e-9, done.seconds):.0f} frames/s, object in {found:,} of {frames:,} "
        f"frames; memory {warm:.0f} MB after a tenth, {end:.0f} MB at the end, {most:.0f} MB at most; ids of 3 objects over as many "
        f"frames settled in {whole:.1f} s"
    )


def settled(frames: int, seed: int) -> float:
    """Seconds that `settle` takes for made tracks of three objects that meet, are hidden, and come back under other ids."""
    rng = np.random.default_rng(seed)
    made, looks = [], {}
    like = rng.normal(size=(3, 32))
    like /= np.linalg.norm(like, axis=1, keepdims=True)
    number, ids = 4, [1, 2, 3]
    for n in range(frames):
        objects = []
        for k in range(3):
            x = 900 + 700 * np.sin(n / 90 + 2.1 * k)
            if k and abs(x - (900 + 700 * np.sin(n / 90 + 2.1 * (k - 1)))) < 25:  # hidden by the one before
                ids[k] = 0
                continue
            if ids[k] == 0:
                ids[k], number = number, number + 1
            box = (float(x), 300.0 + 5 * k, float(x) + 80, 400.0 + 5 * k)
            objects.append(TrackedObject(ids[k], box, 0.9, corners(box)))
            looks[n, box] = (like[k] + rng.normal(0, 0.02, 32)).astype(np.float16)
        made.append(TrackedFrame(n, n / FPS, tuple(objects)))
    begun = time.perf_counter()
    settle(made, looks)
    return time.perf_counter() - begun
