"""`localise --fast` beside `localise`: how right both are, how fast, and what it costs to learn to be fast.

    python -m benchmarks.fast [--sets SET ...] [--runs FOLDER] [--halves] [--large]

Of each set of photographs, with a run that was trained on it (a folder of `--runs`, of the set's name; trained here where there is none):

- CorLoc and AP50 of both ways, on the images of the run;
- images for each second of the processor of both, from files to records, in one thread, in turn, the median of three, on some of the
  images; beside them decoding alone, reduced as far as the size that the run's own path needs allows;
- the side of the look that was chosen, and in how many of the images that were held out both ways agree;
- seconds of learning, of the processor, once for each run.

Where the run's own path is kept, there are no figures of a fast one. With --halves the run is trained on every other image (frames: on
the first half) and measured on the others, which neither way has seen; with --large it is that of the set, and what is localised is the
folder of that name in photos_large. Of these images some hundred are learnt from, as the command does.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PHOTOS, PROGRAM, all_objects, corloc, need, parser, spread, timed
from benchmarks.decoding import best_flags, decoded
from benchmarks.photo_table import SETS
from benchmarks.provenance import LOCALISING, RESULTS, begin, save
from stn_cli.coloc.model.fast_file import load_fast
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.formats.coco import CocoWriter
from stn_cli.media.scan import ImageFile, scan
from stn_cli.records import ImageRecord

ROUNDS = 3
TIMED = 48
"""Images at most."""


def halved(name: str) -> tuple[list[Path], list[Path]]:
    """Images to train on, and others: frames of videos in order, so that neighbours do not tell."""
    files = sorted((PHOTOS / name / "images").iterdir())
    middle = len(files) // 2
    return (files[:middle], files[middle:]) if name.startswith(("foda", "fedex")) else (files[::2], files[1::2])


def accuracy(localiser: Localiser, files: Sequence[ImageFile], truth: dict[str, Any], folder: Path) -> tuple[float, float]:
    """CorLoc and AP50 in percent, by the scorers that are independent of the project."""
    (folder / "truth.json").write_text(json.dumps({file.name: truth[file.name] for file in files}))
    writer = CocoWriter(folder / "boxes.json", {}, ("object",))
    for record in localiser.localise_files(files):
        if isinstance(record, ImageRecord):
            writer.add(record)
    writer.close()
    said = all_objects(folder / "boxes.json", folder / "truth.json")
    return corloc(folder / "boxes.json", folder / "truth.json"), float(said["ap"])


def rates(ways: dict[str, Localiser], files: Sequence[ImageFile]) -> dict[str, float]:
    """Images for each second of the processor of each way, and of decoding alone, in turn."""
    some = spread(files, TIMED)
    side = ways["exact"].letterbox
    paths = [Path(file.path) for file in some]
    flags = best_flags(paths, side)
    works: dict[str, Callable[[], object]] = {"decoding": lambda: [decoded(*pair) for pair in zip(paths, flags, strict=True)]}
    works |= {name: lambda of=of: list(of.localise_files(some)) for name, of in ways.items()}  # type: ignore[misc]
    seen = {name: list[float]() for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            begun = time.process_time()
            work()
            seen[name].append(len(some) / (time.process_time() - begun))
    return {f"{name}_per_second": round(median(of), 1) for name, of in seen.items()}


def measure(name: str, given: Namespace, folder: Path) -> dict[str, Any]:
    """One row of the result file."""
    learnt, asked = halved(name) if given.halves else (None, None)
    trained, run = (given.runs or folder) / name, folder / "run"
    if trained.is_dir():
        shutil.copytree(trained, run)
        (run / "fast.safetensors").unlink(missing_ok=True)
    else:
        (folder / "list.txt").write_text("\n".join(map(str, learnt or sorted((PHOTOS / name / "images").iterdir()))))
        timed([*PROGRAM, "train", str(folder / "list.txt"), "-q", "--no-report", "-o", str(run)])
    place = (PHOTOS.parent / "photos_large" if given.large else PHOTOS) / name
    files = scan([str(path) for path in asked or sorted((place / "images").iterdir())]).images
    exact = Localiser.load(run, "cpu")
    begun = time.process_time()
    fast = exact.fast(files)
    seconds = time.process_time() - begun
    kept, truth = load_fast(run, len(exact.parts)), json.loads((place / "boxes.json").read_text())
    row: dict[str, Any] = {"images": len(files), "seconds": round(seconds, 1), "said": "" if kept is None else kept.said}
    percent = re.search(r"the same box in (\d+)%", row["said"])
    row["agreement"] = None if percent is None else int(percent[1])
    row["side"] = fast.fast_look.side if fast.fast_look is not None else None
    ways = {"exact": exact} if fast is exact else {"exact": exact, "fast": fast}
    for way, localiser in ways.items():
        row[f"{way}_corloc"], row[f"{way}_ap50"] = (round(v, 2) for v in accuracy(localiser, files, truth, folder))
    return row | rates(ways, files)


def arguments() -> Namespace:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", metavar="SET", choices=SETS, default=SETS, help=f"of {', '.join(SETS)}")
    options.add_argument("--runs", type=Path, metavar="FOLDER", help="of trained runs, each of its set's name")
    options.add_argument("--halves", action="store_true", help="train on one half of each set, measure on the other")
    options.add_argument("--large", action="store_true", help="localise the larger folder of the same name")
    return options.parse_args()


def main() -> None:
    given = arguments()
    need(PHOTOS)
    begin()
    torch.set_num_threads(1)
    out, rows = RESULTS / "fast.json", dict[str, Any]()
    for name in given.sets:
        key = name + (", halves" if given.halves else "") + (", large" if given.large else "")
        with tempfile.TemporaryDirectory() as temporary:
            rows[key] = measure(name, given, Path(temporary))
        print(key, rows[key], flush=True)
        before = json.loads(out.read_text("utf-8"))["sets"] if out.is_file() else {}
        save("fast", {"sets": {**before, **rows}}, LOCALISING, rows=list(rows), seeds=(0,), out=out)


if __name__ == "__main__":
    main()
