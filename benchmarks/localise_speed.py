"""`stn-coloc localise` on large JPEGs beside a plain loop of `cv2.imdecode` and the best one: images/s, and memory.

    python -m benchmarks.localise_speed [--images 2000]

The images are made: 12 megapixels, four contents in turn, so that the files are as hard to decode as photographs. The
localiser is trained on sample_data/cups with default settings. The plain loop decodes every tenth file in full; the best one lets the
decoder reduce them to the size that we need, in as many threads as we take. All three are run in turn, three times.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, parser, timed
from benchmarks.decoding import beside
from benchmarks.provenance import LOCALISING, ROOT, begin, save
from stn_cli.runs.config import TrainConfig


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


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=2000)
    count = options.parse_args().images
    begin()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = folder / "run"
        timed([*PROGRAM, "train", str(ROOT / "sample_data/cups/images"), "-q", "--no-report", "-o", str(run)])
        few, many = folder / "few", folder / "many"
        few.mkdir()
        many.mkdir()
        size = make(many, count)
        make(few, max(1, count // 10))
        localise = [*PROGRAM, "localise", "-q", "-m", str(run), "--overwrite"]
        used = []

        def ours() -> float:
            seconds, memory = timed([*localise, str(many), "-o", str(folder / "out")])
            used.append(memory)
            return count / seconds

        row = beside(sorted(many.iterdir()), TrainConfig().imgsz, ours, share=10)
        _, memory_few = timed([*localise, str(few), "-o", str(folder / "out_few")])
    print(f"{count} JPEGs of 12 megapixels, {size / count / 1e6:.1f} MB each; median of three rounds, images/s")
    print(f"plain loop, each file in full                   {row['full_loop']:6.1f}")
    print(f"best loop, reduced by the decoder, all threads  {row['best_loop']:6.1f}")
    print(
        f"stn-coloc localise, the whole process           {row['ours']:6.1f}: {row['ratio_full']:.2f} and {row['ratio_best']:.2f} times"
    )
    print(f"memory {max(used):.2f} GB; with a tenth of the images {memory_few:.2f} GB")
    gigabytes = {"gigabytes": round(max(used), 2), "gigabytes_tenth": round(memory_few, 2)}
    save("localise_speed", {"images": count, **row, **gigabytes}, LOCALISING)


if __name__ == "__main__":
    main()
