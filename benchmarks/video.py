"""Tracking on the development sequences, beside OpenCV's trackers in the same run.

    python -m benchmarks.video [init|none|absent|several|speed|memory ...]

OpenCV's CSRT, KCF and MIL come with opencv-contrib-python, which cannot stand beside opencv-python: it is installed into a folder of its
own for the time of the run, and they are run from there in processes of their own. They are GIVEN the first true box.

    init      success AUC when the first box is given, mean and least of three seeds
    none      success AUC when nothing is given: no other tool can do this
    absent    sequences in which the camera turns away, three seeds: false alarms, and frames until the object is found again
    several   multi-swans: HOTA, IDF1, MOTA, from one box and from nothing
    speed     frames/s at 1280x720, of the whole command and of CSRT on the same video
    memory    resident memory of a 20,000 frame video beside that of a 2,000 frame one
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common import PROGRAM, SHARED, earlier, machine, need, save, timed
from stn_cli.evaluate.tracks import read_any_tracks, read_track_truth, score_one, score_several
from stn_cli.formats.mot import read_mot
from stn_cli.records import TrackedFrame, TrackedObject, corners

VIDEO = SHARED / "data" / "video"
SEQUENCES = ("otb-Crossing", "davis-blackswan", "davis-car-shadow", "davis-dog", "uav-wakeboard7", "vot-bag", "tld-pedestrian1")
AWAY = ("otb-Crossing", "davis-car-shadow", "uav-wakeboard7", "vot-bag", "tld-pedestrian1")
"""Those whose object can be kept out of half of the frame."""
RIVALS = ("CSRT", "KCF", "MIL")
SEEDS = (0, 1, 2)
"""What is tried at random decides which way a hard sequence goes: of a first box and of absence the mean and the worst are told."""
LENGTH, PAN = 20, 4
"""Frames that the camera looks away, and in which it turns."""
WORKER = """
import json, sys, time, cv2
name, frames, box, out = sys.argv[1], json.load(open(sys.argv[2])), json.loads(sys.argv[3]), sys.argv[4]
cv2.setNumThreads(int(sys.argv[5]))
if isinstance(frames, str):
    capture = cv2.VideoCapture(frames)
    def read():
        done, image = capture.read()
        return image if done else None
else:
    them = iter(frames)
    def read():
        path = next(them, None)
        return None if path is None else cv2.imread(path)
tracker = getattr(cv2, f"Tracker{name}_create")()
image = read()
tracker.init(image, [int(round(box[0])), int(round(box[1])), max(1, int(round(box[2] - box[0]))), max(1, int(round(box[3] - box[1])))])
found, begun = [box], time.perf_counter()
while (image := read()) is not None:
    done, (x, y, w, h) = tracker.update(image)
    found.append([x, y, x + w, y + h] if done else None)
json.dump({"boxes": found, "seconds": time.perf_counter() - begun}, open(out, "w"))
"""


def contrib(folder: Path) -> Path | None:
    """opencv-contrib-python in a folder of its own; None where it cannot be had."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(folder / "contrib"),
        "opencv-contrib-python",
    ]
    return folder / "contrib" if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


def rival(
    library: Path, name: str, frames: list[str] | str, box: list[float], folder: Path, threads: int = 2
) -> dict[str, Any]:
    """Boxes and seconds of one of OpenCV's trackers."""
    (folder / "frames.json").write_text(json.dumps(frames))
    command = [
        sys.executable,
        "-c",
        WORKER,
        name,
        str(folder / "frames.json"),
        json.dumps(box),
        str(folder / "r.json"),
        str(threads),
    ]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(library)})
    return json.loads((folder / "r.json").read_text())  # type: ignore[no-any-return]


def as_tracks(boxes: list[list[float] | None]) -> list[TrackedFrame]:
    frames = []
    for i, b in enumerate(boxes):
        box = None if b is None else (b[0], b[1], b[2], b[3])
        frames.append(TrackedFrame(i, 0.0, () if box is None else (TrackedObject(1, box, 1.0, corners(box)),)))
    return frames


def ours(source: Path, folder: Path, *options: str) -> tuple[list[TrackedFrame], float, float]:
    """Tracks, seconds and gigabytes of the whole command."""
    seconds, memory = timed([*PROGRAM, "track", str(source), "-q", "-o", str(folder / "tracks"), "--overwrite", *options])
    return read_any_tracks(folder / "tracks" / "tracks.json"), seconds, memory


def as_init(box: list[float]) -> str:
    return f"{box[0]:.2f},{box[1]:.2f},{box[2] - box[0]:.2f},{box[3] - box[1]:.2f}"


def given(library: Path | None, folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in SEQUENCES:
        truth = json.loads((VIDEO / name / "boxes.json").read_text())

        def success(*options: str, name: str = name, truth: Any = truth) -> list[float]:
            start = "--init", as_init(truth[0])
            return [
                score_one(ours(VIDEO / name / "frames", folder, *start, "--seed", str(seed), *options)[0], truth).success
                for seed in SEEDS
            ]

        offline, online = success(), success("--online")
        row = {"ours": float(np.mean(offline)), "least": min(offline), "online": float(np.mean(online))}
        files = sorted(str(p) for p in (VIDEO / name / "frames").iterdir())
        for other in RIVALS if library else ():
            row[other] = score_one(as_tracks(rival(library, other, files, truth[0], folder)["boxes"]), truth).success  # type: ignore[arg-type]
        rows[name] = {k: round(v, 3) for k, v in row.items()}
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


def turned_away(name: str) -> tuple[list[np.ndarray], list[list[float] | str | None]]:
    """Half of each frame, twice enlarged, that looks away from the object twice; truth, None where it is out of view, "part" where partly."""
    files = sorted((VIDEO / name / "frames").iterdir())
    boxes = json.loads((VIDEO / name / "boxes.json").read_text())
    count = len(files)
    starts = [count // 3, 2 * count // 3] if count >= 60 else [count // 2 - LENGTH // 2]
    frames: list[np.ndarray] = []
    truth: list[list[float] | str | None] = []
    place = None
    for i, file in enumerate(files):
        image = cv2.imread(str(file))
        assert image is not None
        H, W = image.shape[:2]
        w, h = W // 2, H // 2
        b = np.array(boxes[i])
        centre = (b[:2] + b[2:]) / 2
        room = np.array([W - w, H - h])
        home = np.clip(centre - [w / 2, h / 2], 0, room)
        far = max(
            (np.array(c) * room for c in ((0, 0), (1, 0), (0, 1), (1, 1))),
            key=lambda c: np.abs(np.add(c, [w / 2, h / 2]) - centre).sum(),
        )
        away = max([min(1.0, (i - s + 1) / PAN, (s + LENGTH - i) / PAN) for s in starts if 0 <= i - s < LENGTH], default=0.0)
        wanted = (1 - away) * home + away * far
        near = place is not None and np.abs(wanted - place).max() < 20
        place = 0.7 * place + 0.3 * wanted if near and not away else wanted
        x, y = np.round(np.clip(place, 0, room)).astype(int)
        frames.append(cv2.resize(image[y : y + h, x : x + w], (2 * w, 2 * h), interpolation=cv2.INTER_LINEAR))
        whole = 2 * (b - [x, y, x, y])
        seen = np.clip(whole, 0, [2 * w, 2 * h, 2 * w, 2 * h])
        share = np.prod(seen[2:] - seen[:2]) / np.prod(whole[2:] - whole[:2])
        truth.append(seen.tolist() if share >= 0.5 else None if share < 0.1 else "part")
    return frames, truth


def absences(library: Path | None, folder: Path) -> dict[str, Any]:
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
        for other in RIVALS[:1] if library else ():
            found = rival(library, other, sorted(str(p) for p in source.iterdir()), first, folder)  # type: ignore[arg-type]
            row[other] = absence(as_tracks(found["boxes"]), truth)
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


def make_video(path: Path, frames: int, size: tuple[int, int], side: int, background: np.ndarray | None = None) -> list[float]:
    """A disc that circles over a picture, as MP4; its first box."""
    h, w = size
    if background is None:
        background = cv2.GaussianBlur(np.random.default_rng(0).integers(30, 220, (h, w, 3), np.uint8), (0, 0), 3)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (w, h))
    first: list[float] = []
    for i in range(frames):
        image = cv2.resize(background, (w, h)).copy()
        x, y = round(w / 2 + 0.35 * w * np.cos(i / 40)), round(h / 2 + 0.3 * h * np.sin(i / 40))
        cv2.circle(image, (x, y), side // 2, (30, 30, 220), -1, cv2.LINE_AA)
        cv2.line(image, (x - side // 4, y), (x + side // 4, y), (240, 255, 255), max(2, side // 9))
        cv2.line(image, (x, y - side // 4), (x, y + side // 4), (240, 255, 255), max(2, side // 9))
        first = first or [x - side / 2, y - side / 2, x + side / 2, y + side / 2]
        writer.write(image)
    writer.release()
    return first


def speed(library: Path | None, folder: Path) -> dict[str, Any]:
    """A real sequence enlarged to 1280x720, and repeated forwards and backwards so that start-up does not count for much."""
    rows: dict[str, Any] = {}
    for name in ("davis-car-shadow", "davis-blackswan"):
        files = sorted((VIDEO / name / "frames").iterdir())
        boxes = json.loads((VIDEO / name / "boxes.json").read_text())
        images = [cv2.resize(cv2.imread(str(f)), (1280, 720), interpolation=cv2.INTER_CUBIC) for f in files]  # type: ignore[arg-type]
        order = [*range(len(images)), *range(len(images) - 2, 0, -1)]
        order = (order * 20)[:600]
        h, w = cv2.imread(str(files[0])).shape[:2]  # type: ignore[union-attr]
        box = [boxes[0][0] * 1280 / w, boxes[0][1] * 720 / h, boxes[0][2] * 1280 / w, boxes[0][3] * 720 / h]
        path = folder / "speed.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (1280, 720))
        for i in order:
            writer.write(images[i])
        writer.release()
        _, seconds, _ = ours(path, folder, "--init", as_init(box))
        row = {"frames": len(order), "ours": round(len(order) / seconds, 1)}
        if library:
            begun = time.perf_counter()
            rival(library, "CSRT", str(path), box, folder)
            row["CSRT"] = round(len(order) / (time.perf_counter() - begun), 1)
            row["ratio"] = round(row["ours"] / row["CSRT"], 2)
        rows[name] = row
        print(f"{name:18}", row, flush=True)
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


def main() -> None:
    need(VIDEO)
    print(machine())
    wanted = sys.argv[1:] or ["init", "none", "absent", "several", "speed", "memory"]
    results = earlier("video")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        library = contrib(folder) if {"init", "absent", "speed"} & set(wanted) else None
        parts = {
            "init": lambda: given(library, folder),
            "none": lambda: nothing(folder),
            "absent": lambda: absences(library, folder),
            "several": lambda: several(folder),
            "speed": lambda: speed(library, folder),
            "memory": lambda: memory(folder),
        }
        for name in wanted:
            print(name)
            results[name] = parts[name]()
            save("video", {"sets": results})


if __name__ == "__main__":
    main()
