"""Tracking on the development sequences, beside OpenCV's trackers in the same run.

    python -m benchmarks.video [init|online|none|absent|several|speed|memory ...]

OpenCV's CSRT, KCF and MIL (opencv-contrib-python) are GIVEN the first box, too.

    init      success AUC when the first box is given: nine starts within 2 pixels of the true box, the same for all; ours takes the
              seeds 0, 1 and 2 in turn
    online    the true first box, three seeds: success AUC with the smoothing at the end, and without (`--online`)
    none      success AUC when nothing is given
    absent    sequences in which the camera turns away, three seeds: false alarms, and frames until the object is found again
    several   multi-swans: HOTA, IDF1, MOTA, from one box and from nothing
    speed     frames/s of the whole command and of CSRT on the same videos, in turn, three times: 600 frames of 1280x720 of a camera
              that pans and zooms over a photograph, and the 196 frames of vot-bag, enlarged to 960x720, each once
    memory    resident memory of a 20,000 frame video beside that of a 2,000 frame one
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, chosen, need, timed
from benchmarks.moving import PAN, VIDEO, make_video, over_photograph, real_clip, turned_away
from benchmarks.provenance import TRACKING, begin, earlier, save
from benchmarks.trackers import RIVALS, as_tracks, contrib, contrib_version, mean_and_range, rival, starts
from stn_cli.evaluate.tracks import read_any_tracks, read_track_truth, score_one, score_several
from stn_cli.formats.mot import read_mot
from stn_cli.records import TrackedFrame

SEQUENCES = ("otb-Crossing", "davis-blackswan", "davis-car-shadow", "davis-dog", "uav-wakeboard7", "vot-bag", "tld-pedestrian1")
AWAY = ("otb-Crossing", "davis-car-shadow", "uav-wakeboard7", "vot-bag", "tld-pedestrian1")
"""Those whose object can be kept out of half of the frame."""
SEEDS = (0, 1, 2)
"""What is tried at random decides which way a hard sequence goes: of a first box and of absence the mean and the worst are told."""


def ours(source: Path, folder: Path, *options: str) -> tuple[list[TrackedFrame], float, float]:
    """Tracks, seconds and gigabytes of the whole command."""
    seconds, memory = timed([*PROGRAM, "track", str(source), "-q", "-o", str(folder / "tracks"), "--overwrite", *options])
    return read_any_tracks(folder / "tracks" / "tracks.json"), seconds, memory


def as_init(box: list[float]) -> str:
    return f"{box[0]:.2f},{box[1]:.2f},{box[2] - box[0]:.2f},{box[3] - box[1]:.2f}"


def success(tracks: list[TrackedFrame], truth: Any) -> float:
    """Success AUC."""
    return float(score_one(tracks, truth).success)


def given(library: Path, folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in SEQUENCES:
        truth = json.loads((VIDEO / name / "boxes.json").read_text())
        first = starts(truth[0])
        mine = []
        for i, box in enumerate(first):
            options = "--init", as_init(box), "--seed", str(SEEDS[i % len(SEEDS)])
            mine.append(success(ours(VIDEO / name / "frames", folder, *options)[0], truth))
        rows[name] = {"ours": mean_and_range(mine)}
        files = sorted(str(p) for p in (VIDEO / name / "frames").iterdir())
        for other in RIVALS:
            found = rival(library, other, files, first, folder)
            rows[name][other] = mean_and_range([success(as_tracks(boxes), truth) for boxes in found])
        print(f"{name:18}", rows[name], flush=True)
    mean = {
        who: {key: round(float(np.mean([row[who][key] for row in rows.values()])), 3) for key in ("mean", "least", "most")}
        for who in ("ours", *RIVALS)
    }
    print(f"{'mean':18}", mean, flush=True)
    return {**rows, "mean": mean}


def online(folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in SEQUENCES:
        truth = json.loads((VIDEO / name / "boxes.json").read_text())
        for how, flags in (("smoothed", ()), ("online", ("--online",))):
            each = [ours(VIDEO / name / "frames", folder, "--init", as_init(truth[0]), "--seed", str(s), *flags) for s in SEEDS]
            rows.setdefault(name, {})[how] = round(float(np.mean([success(tracks, truth) for tracks, _, _ in each])), 3)
        print(f"{name:18}", rows[name], flush=True)
    return with_mean(rows)


def nothing(folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in SEQUENCES:
        truth = read_track_truth(VIDEO / name / "boxes.json")
        tracks, seconds, memory = ours(VIDEO / name / "frames", folder)
        score = score_one(tracks, truth)  # type: ignore[arg-type]
        seen = sum(bool(f.objects) for f in tracks)
        rows[name] = {
            "ours": round(score.success, 3),
            "seen": seen,
            "seconds": round(seconds, 1),
            "gigabytes": round(memory, 2),
        }
        print(f"{name:18}", rows[name], flush=True)
    return with_mean(rows)


def with_mean(rows: dict[str, Any]) -> dict[str, Any]:
    names = [n for n in next(iter(rows.values())) if n not in ("seconds", "seen", "gigabytes")]
    mean = {n: round(float(np.mean([row[n] for row in rows.values()])), 3) for n in names}
    print(f"{'mean':18}", mean, flush=True)
    return {**rows, "mean": mean}


def absences(library: Path, folder: Path) -> dict[str, Any]:
    rows = {}
    for name in AWAY:
        frames, truth = turned_away(name)
        source = folder / name
        source.mkdir()
        for i, frame in enumerate(frames):
            cv2.imwrite(str(source / f"{i:05d}.png"), frame)
        first = truth[0]
        assert isinstance(first, list)
        start = "--init", as_init(first)
        each = [absence(ours(source, folder, *start, "--seed", str(seed))[0], truth) for seed in SEEDS]
        row: dict[str, Any] = {
            "ours": {
                "false_alarms": round(float(np.mean([e["false_alarms"] for e in each])), 3),
                "most": max(e["false_alarms"] for e in each),
                "found_again": [e["found_again"] for e in each],
                "right": round(float(np.mean([e["right"] for e in each])), 3),
            }
        }
        for other in RIVALS[:1]:
            (found,) = rival(library, other, sorted(str(p) for p in source.iterdir()), [first], folder)
            row[other] = absence(as_tracks(found), truth)
        rows[name] = row
        print(f"{name:18}", row, flush=True)
    return rows


def absence(tracks: list[TrackedFrame], truth: list[list[float] | str | None]) -> dict[str, Any]:
    """False alarms in frames without the object, and frames after each return until it is found again (None: never)."""
    plain = [None if isinstance(t, str) else None if t is None else (t[0], t[1], t[2], t[3]) for t in truth]
    rows = score_one(tracks, plain).frames
    gone = [i for i, t in enumerate(truth) if t is None]
    returns = [
        i for i in range(1, len(truth)) if plain[i] and not plain[i - 1] and any(t is None for t in truth[max(0, i - PAN) : i])
    ]
    waits = [next((j - i for j in range(i, len(truth)) if (rows[j].iou or 0) > 0.3), None) for i in returns]
    right = [(rows[i].iou or 0) > 0.3 for i, t in enumerate(plain) if t]
    return {
        "false_alarms": round(float(np.mean([rows[i].found for i in gone])), 3),
        "found_again": waits,
        "right": round(float(np.mean(right)), 3),
    }


def several(folder: Path) -> dict[str, Any]:
    truth = read_mot(VIDEO / "multi-swans" / "gt.txt")
    first = [(f.frame, o.box) for f in truth if f.frame == 20 for o in f.objects]
    rows: dict[str, Any] = {}
    starts: dict[str, list[str]] = {"nothing": []}
    for number, (frame, box) in enumerate(first, 1):
        starts[f"box {number} of frame {frame}"] = ["--init", f"{as_init(list(box))}@{frame}"]
    for name, options in starts.items():
        tracks, seconds, _ = ours(VIDEO / "multi-swans" / "frames", folder, "--objects", "3", "--fps", "24", *options)
        s = score_several(tracks, truth)
        rows[name] = {
            "hota": round(s.hota, 3),
            "idf1": round(s.idf1, 3),
            "mota": round(s.mota, 3),
            "seconds": round(seconds, 1),
        }
        print(f"{name:18}", rows[name], flush=True)
    return rows


def speed(library: Path, folder: Path) -> dict[str, Any]:
    """Ours and CSRT in turn, each with its start and the video's decoding."""
    rows: dict[str, Any] = {}
    for name, make in (("a camera over a photograph", over_photograph), ("vot-bag", real_clip)):
        path = folder / "speed.mp4"
        truth = make(path)
        mine, theirs = [], []
        for _ in range(3):
            tracks, seconds, _ = ours(path, folder, "--init", as_init(truth[0]))
            mine.append(len(truth) / seconds)
            begun = time.perf_counter()
            (boxes,) = rival(library, "CSRT", str(path), [truth[0]], folder)
            theirs.append(len(truth) / (time.perf_counter() - begun))
        rows[name] = {
            "frames": len(truth),
            "ours": round(median(mine), 1),
            "CSRT": round(median(theirs), 1),
            "ratio": round(median(mine) / median(theirs), 2),
            "success": round(success(tracks, truth), 3),
            "CSRT_success": round(success(as_tracks(boxes), truth), 3),
        }
        print(f"{name:18}", rows[name], flush=True)
    return rows


def memory(folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for frames in (2000, 20_000):
        box = make_video(folder / "long.mp4", frames, (180, 320), 40)
        _, seconds, gigabytes = ours(folder / "long.mp4", folder, "--init", as_init(box))
        rows[str(frames)] = {"gigabytes": round(gigabytes, 3), "frames_per_second": round(frames / seconds, 1)}
        print(f"{frames:18}", rows[str(frames)], flush=True)
    rows["ratio"] = round(rows["20000"]["gigabytes"] / rows["2000"]["gigabytes"], 3)
    print("ratio", rows["ratio"], flush=True)
    return rows


PARTS = ("init", "online", "none", "absent", "several", "speed", "memory")


def main() -> None:
    wanted = chosen(__doc__, "PART", PARTS)
    need(VIDEO)
    begin()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        library = contrib(folder) if {"init", "absent", "speed"} & set(wanted) else folder
        versions = {"opencv-contrib-python": contrib_version(library)} if library != folder else {}
        parts = {
            "init": lambda: given(library, folder),
            "online": lambda: online(folder),
            "none": lambda: nothing(folder),
            "absent": lambda: absences(library, folder),
            "several": lambda: several(folder),
            "speed": lambda: speed(library, folder),
            "memory": lambda: memory(folder),
        }
        for number, name in enumerate(wanted, 1):
            print(name)
            results[name] = parts[name]()
            known = {**earlier("video"), **results}  # read anew: another process may have measured other parts since
            ordered = {part: known[part] for part in PARTS if part in known}
            save("video", {"sets": ordered}, TRACKING, rows=wanted[:number], seeds=SEEDS, versions=versions)


if __name__ == "__main__":
    main()
