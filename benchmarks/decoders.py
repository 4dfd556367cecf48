"""JPEG decoders beside each other: files a second of the processor's own time, as ratios to OpenCV, which is what we read JPEGs with.

    python -m benchmarks.decoders    # pip install simplejpeg

Photographs of some hundred pixels (raccoon, where the development sets are at hand; else sample_data/pelicans), in full; and one made picture of
12 megapixels, reduced by the decoder to an eighth, which torchvision's cannot. One thread, bytes in memory, upright RGB out, in turn; the
best of all rounds counts. Beside the speed: by how much a channel differs from OpenCV's at most.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_jpeg

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PHOTOS, parser
from benchmarks.provenance import ROOT, begin, save, version

ROUNDS = 7
SMALL = (375, 500)
"""Rows and columns of the large picture at an eighth."""
Decoder = Callable[[bytes], Any]


def opencv(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def opencv_eighth(data: bytes) -> Any:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8), cv2.COLOR_BGR2RGB)


def torchvision(data: bytes) -> Any:
    return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB).permute(1, 2, 0).numpy()


def simple(data: bytes) -> Any:
    return importlib.import_module("simplejpeg").decode_jpeg(data)


def simple_eighth(data: bytes) -> Any:
    return importlib.import_module("simplejpeg").decode_jpeg(data, min_height=SMALL[0], min_width=SMALL[1])


SETS: dict[str, dict[str, Decoder]] = {
    "photographs": {"OpenCV": opencv, "simplejpeg": simple, "torchvision": torchvision},
    "12 megapixels at an eighth": {"OpenCV": opencv_eighth, "simplejpeg": simple_eighth},
}


def photographs() -> list[bytes]:
    folder = PHOTOS / "raccoon" / "images"
    files = sorted((folder if folder.is_dir() else ROOT / "sample_data/pelicans/images").glob("*.jpg"))[:100]
    return [path.read_bytes() for path in files]


def large() -> list[bytes]:
    picture = cv2.resize(cv2.imread(str(ROOT / "sample_data/cups/images/000.jpg")), (4000, 3000), interpolation=cv2.INTER_CUBIC)
    grain = cv2.resize(np.random.default_rng(0).normal(0, 9, (1500, 2000, 3)).astype(np.float32), (4000, 3000))
    done, data = cv2.imencode(".jpg", (picture + grain).clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert done
    return [data.tobytes()] * 6


def speeds(files: Sequence[bytes], decoders: dict[str, Decoder]) -> dict[str, float]:
    """Files a second of the processor's time."""
    best = dict.fromkeys(decoders, 0.0)
    for _ in range(ROUNDS):
        for name, decode in decoders.items():
            begun = time.process_time()
            for data in files:
                decode(data)
            best[name] = max(best[name], len(files) / (time.process_time() - begun))
    return best


def main() -> None:
    parser(__doc__).parse_args()
    if importlib.util.find_spec("simplejpeg") is None:
        raise SystemExit("this benchmark needs simplejpeg: pip install simplejpeg")
    begin()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    for (name, decoders), files in zip(SETS.items(), (photographs(), large()), strict=True):
        best = speeds(files, decoders)
        for decoder, decode in decoders.items():
            apart = max(int(np.abs(decode(f).astype(int) - decoders["OpenCV"](f)).max()) for f in files)
            ratio = round(best[decoder] / best["OpenCV"], 3)
            rows[f"{name}, {decoder}"] = {"per_second": round(best[decoder], 1), "ratio": ratio, "apart": apart}
            print(f"{name}, {decoder}: {best[decoder]:.0f} a second, {ratio:.2f} of OpenCV's, at most {apart} levels apart")
    save("decoders", {"rows": rows}, ("stn_cli/media/raster.py",), seeds=(), versions={"simplejpeg": version("simplejpeg")})


if __name__ == "__main__":
    main()
