"""`stn-coloc localise` on large JPEGs beside a plain loop of `cv2.imdecode` over the same bytes: images/s, and memory.

    python -m benchmarks.localise_speed [--images 2000]

The images are made: 12 megapixels, four contents in turn, so that the files are as hard to decode as photographs. The
localiser is trained on sample_data/cups.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import PROGRAM, ROOT, machine, save, timed


def make(folder: Path, count: int) -> int:
    """Write the images; returns their bytes."""
    rng = np.random.default_rng(0)
    sources = sorted((ROOT / "sample_data/cups/images").iterdir())[:4]
    contents = []
    for path in sources:
        large = cv2.resize(cv2.imread(str(path)), (4000, 3000), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        grain = cv2.resize(rng.normal(0, 9, (1500, 2000, 3)).astype(np.float32), (4000, 3000))
        done, data = cv2.imencode(".jpg", (large + grain).clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 88])
        assert done
        contents.append(data.tobytes())
    for i in range(count):
        # a comment segment makes each file its own; the picture's data stay the same
        data = contents[i % len(contents)]
        (folder / f"{i:05d}.jpg").write_bytes(data[:2] + b"\xff\xfe\x00\x07" + f"{i:05d}".encode() + data[2:])
    return sum(len(contents[i % len(contents)]) for i in range(count))


def plain_loop(folder: Path) -> float:
    """Seconds of reading and fully decoding every file, one after the other."""
    begun = time.perf_counter()
    for path in sorted(folder.iterdir()):
        assert cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR) is not None
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    count = parser.parse_args().images
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = folder / "run"
        timed(
            [
                *PROGRAM,
                "train",
                str(ROOT / "sample_data/cups/images"),
                "-q",
                "--no-report",
                "--encoder",
                "gradient",
                "-o",
                str(run),
            ]
        )
        few, many = folder / "few", folder / "many"
        few.mkdir()
        many.mkdir()
        size = make(many, count)
        make(few, max(1, count // 10))
        rival = plain_loop(many)
        seconds, memory = timed([*PROGRAM, "localise", str(many), "-q", "-m", str(run), "-o", str(folder / "out")])
        _, memory_few = timed([*PROGRAM, "localise", str(few), "-q", "-m", str(run), "-o", str(folder / "out_few")])
    ratio = rival / seconds
    print(f"{count} JPEGs of 12 megapixels, {size / count / 1e6:.1f} MB each, {os.cpu_count()} cores")
    print(f"plain cv2.imdecode loop   {count / rival:6.1f} images/s")
    print(f"stn-coloc localise        {count / seconds:6.1f} images/s, whole process: {ratio:.2f} times the loop")
    print(f"memory {memory:.2f} GB; with a tenth of the images {memory_few:.2f} GB")
    save(
        "localise_speed",
        {
            "images": count,
            "loop_images_per_second": count / rival,
            "localise_images_per_second": count / seconds,
            "ratio": ratio,
            "gigabytes": memory,
            "gigabytes_tenth": memory_few,
        },
    )


if __name__ == "__main__":
    main()
