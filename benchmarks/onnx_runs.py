"""A run as an ONNX file beside the same run in torch: how equal they are, and how fast, on the images of a set.

    python -m benchmarks.onnx_runs [SET ...] [--runs FOLDER]

Each set is trained on with default settings, one of them by visual words (or its run is taken from FOLDER/SET), exported, and asked about up
to 40 of its images, each by itself. Of each set:

- The largest difference of a side of a box, in pixels of the letterbox, and of a score: from the letterbox on, between the file and torch in
  single precision; and from whole images on, where the file also resizes and `localise` has OpenCV for it. Beside the latter, torch as
  `localise` runs it on this machine, which is in bfloat16 where the processor has it, against torch in single precision.
- Images on which they find different numbers of objects.
- How long an image takes in either, decoded already, median over the images, in turn, both with the threads that the machine is told as
  OMP_NUM_THREADS; as a ratio.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PHOTOS, PROGRAM, need, parser, spread, timed
from benchmarks.provenance import LOCALISING, ROOT, begin, earlier, save
from stn_cli.coloc.graph.resizing import OnLetterbox, place_all
from stn_cli.coloc.model.found import scored_at_least
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.geometry import Frame
from stn_cli.media.cache import Letterbox
from stn_cli.media.decode import Pixels, load
from stn_cli.media.scan import ImageFile
from stn_cli.records import ImageRecord

SETS = {
    "cups": ROOT / "sample_data/cups/images",
    "digits": ROOT / "sample_data/digits/images",
    "pelicans_words": ROOT / "sample_data/pelicans/images",
    "voc10coseg_cat": PHOTOS / "voc10coseg_cat/images",
}
OPTIONS = {"pelicans_words": ["--encoder", "gradient", "--search", "deformable"]}
"""What a set is trained with besides the default settings."""
MOST = 40
Found = tuple[np.ndarray, np.ndarray]


@contextmanager
def single_precision() -> Iterator[None]:
    """Torch as it is where the processor has no faster halves."""
    with (
        mock.patch("stn_cli.encoders.small.quick_halves", return_value=False),
        mock.patch("stn_cli.instances.weights.quick_halves", return_value=False),
    ):
        yield


def of_record(record: ImageRecord, least: float) -> Found:
    """Boxes (n, 4) and scores (n,) of what `localise` keeps."""
    objects = scored_at_least(record, least).objects
    return np.array([o.box for o in objects]).reshape(-1, 4), np.array([o.score for o in objects])


def of_file(session: onnxruntime.InferenceSession, image: Pixels) -> Found:
    boxes, scores, *_ = (out[0] for out in session.run(None, {"images": image[None]}))
    return boxes[scores >= 0], scores[scores >= 0]


def placed(image: Pixels, side: int) -> Letterbox:
    """An image on its letterbox, as the file resizes it."""
    height, width = image.shape[:2]
    pixels = place_all(torch.from_numpy(image)[None], OnLetterbox.of(height, width, side))[0]
    return Letterbox(ImageFile("", ""), Frame(width, height, side), pixels.permute(1, 2, 0).byte().numpy())


def apart(a: list[Found], b: list[Found], scales: list[float]) -> dict[str, float]:
    """How far results lie apart, where they are as many."""
    pairs = [(x, y, s) for x, y, s in zip(a, b, scales, strict=True) if len(x[0]) == len(y[0]) > 0]
    return {
        "pixels": max((float(np.abs(x[0] - y[0]).max() / s) for x, y, s in pairs), default=0.0),
        "scores": max((float(np.abs(x[1] - y[1]).max()) for x, y, _ in pairs), default=0.0),
        "counts": sum(len(x[0]) != len(y[0]) for x, y in zip(a, b, strict=True)),
    }


def seconds(ways: list[Callable[[Pixels], Any]], images: list[Pixels]) -> list[float]:
    """Median seconds of an image in each of several ways, which take turns."""
    spent: list[list[float]] = [[] for _ in ways]
    for image in [images[0], *images]:  # the first is to warm up
        for own, way in zip(spent, ways, strict=True):
            begun = time.perf_counter()
            way(image)
            own.append(time.perf_counter() - begun)
    return [median(own[1:]) for own in spent]


def measure(name: str, run: Path, folder: Path) -> dict[str, Any]:
    """Export a run and ask both."""
    file = folder / "finder.onnx"
    export_seconds, _ = timed([*PROGRAM, "export", str(run), "--format", "onnx", "-q", "--overwrite", "-o", str(file)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options)
    images = [np.ascontiguousarray(load(path)) for path in spread(sorted(SETS[name].iterdir()), MOST)]
    asked = [of_file(session, image) for image in images]
    usual = Localiser.load(run, "cpu")
    scales = [max(1.0, max(image.shape) / usual.letterbox) for image in images]
    usually = [of_record(usual.localise_batch([image])[0], usual.least) for image in images]
    with single_precision():
        torch_run = Localiser.load(run, "cpu")
        on_letterbox = [of_record(torch_run.record(placed(image, torch_run.letterbox)), torch_run.least) for image in images]
        whole = [of_record(torch_run.localise_batch([image])[0], torch_run.least) for image in images]
        single = seconds([lambda i: torch_run.localise_batch([i]), lambda i: of_file(session, i)], images)
    (default,) = seconds([lambda i: usual.localise_batch([i])], images)
    part = torch_run.parts[0]
    return {
        "scorer": part.scorer.kind + (", proposals" if part.proposer else ""),
        "images": len(images),
        "letterbox": torch_run.letterbox,
        "from_letterbox": apart(asked, on_letterbox, scales),
        "from_image": apart(asked, whole, scales),
        "halves": apart(usually, whole, scales),
        "ratio_single": single[0] / single[1],
        "ratio_default": default / single[1],
        "megabytes": file.stat().st_size / 1e6,
        "export_seconds": export_seconds,
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("names", nargs="*", metavar="SET", help=f"{', '.join(SETS)}; all when left out")
    options.add_argument("--runs", type=Path, help="folder of runs by the names of their sets, trained as this would")
    given = options.parse_args()
    begin()
    rows = earlier("onnx_runs")
    for name in given.names or SETS:
        need(SETS[name])
        with tempfile.TemporaryDirectory() as temporary:
            run = Path(temporary) / "run" if given.runs is None else given.runs / name
            if given.runs is None:
                timed([*PROGRAM, "train", str(SETS[name]), "-q", "--no-report", "-o", str(run), *OPTIONS.get(name, [])])
            rows[name] = row = measure(name, run, Path(temporary))
        print(f"{name:16} {row}", flush=True)
        versions = {"onnxruntime": onnxruntime.__version__}
        save("onnx_runs", {"sets": rows}, (*LOCALISING, "stn_cli/instances"), rows=[name], versions=versions)


if __name__ == "__main__":
    main()
