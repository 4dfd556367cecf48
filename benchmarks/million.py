"""What commands take at a million images: peak memory and time.

    python -m benchmarks.million [PART ...]

evaluate: `stn-coloc evaluate` of a boxes.json with an object in each image, against boxes by file name, against a COCO file, and against
names that lie below another folder. export: the same boxes as CSV. pictures: as COCO with hard links to pictures that are there and looked
at, split by folders, and image by image. localise: all of a call but the network, which gives one object at once; the pictures are small
ones under many names. train: on such pictures, with the usual settings. report: of a run whose list of images is as long. Each in a process
of its own with one thread; parts that are named are measured again, the others are taken from an earlier run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import PROGRAM, parser, timed
from benchmarks.provenance import ROOT, WHOLE, begin, earlier, save

SMALL = (40, 32)
"""Width and height of the pictures, pixels."""
LINKS = 30_000
"""Names of one file: file systems allow some 65,000."""
FOLDER = 1000
"""Files of a folder."""


def named(count: int) -> Iterator[str]:
    """Names of images in folders of a thousand."""
    return (f"{n // FOLDER:04d}/{n:07d}.jpg" for n in range(count))


def write_boxes(path: Path, count: int) -> None:
    """A boxes.json as `localise` writes it."""
    from stn_cli.formats.coco import CocoWriter
    from stn_cli.records import ImageRecord, Localisation, corners

    rng, (w, h) = random.Random(0), SMALL
    writer = CocoWriter(path, {"tool": "stn-coloc"})
    for name in named(count):
        x, y = 16 * rng.random(), 12 * rng.random()
        box = (x, y, x + 20.5, y + 18.25)
        theta, (corner, *others) = tuple(rng.random() for _ in range(6)), corners(box)
        quad = ((corner[0] + rng.random(), corner[1]), *others)  # not the box's own corners
        writer.add(ImageRecord(name, w, h, (Localisation(name, w, h, box, quad, theta, rng.random()),)))  # type: ignore[arg-type]
    writer.close()


def write_truth(folder: Path, count: int) -> None:
    """Boxes by file name; by file name below another folder; and as COCO."""
    with (
        open(folder / "truth.json", "w") as plain,
        open(folder / "below.json", "w") as below,
        open(folder / "coco.json", "w") as coco,
    ):
        coco.write('{"images": [')
        for n, name in enumerate(named(count)):
            comma, box = "," if n else "{", json.dumps([[8, 6, 28.5, 24.25]])
            plain.write(f'{comma}\n"{name}": {box}')
            below.write(f'{comma}\n"set/images/{name}": {box}')
            coco.write(f"{',' if n else ''}\n" + json.dumps({"id": n + 1, "file_name": name, "width": 40, "height": 32}))
        coco.write('], "categories": [{"id": 1, "name": "object"}], "annotations": [')
        for n in range(count):
            row = {"id": n + 1, "image_id": n + 1, "category_id": 1, "bbox": [8, 6, 20.5, 18.25], "area": 374.1, "iscrowd": 0}
            coco.write(f"{',' if n else ''}\n" + json.dumps(row))
        for file, end in ((plain, "}\n"), (below, "}\n"), (coco, "]}\n")):
            file.write(end)


def write_pictures(folder: Path, count: int) -> Path:
    """Small pictures of a disc, each under many names."""
    import cv2
    import numpy as np

    rng, (w, h) = np.random.default_rng(0), SMALL
    made = []
    for n in range(-(-count // LINKS) + 64):
        picture = rng.integers(100, 140, (h, w, 3)).astype(np.uint8)
        cv2.circle(picture, (int(rng.integers(8, w - 8)), int(rng.integers(8, h - 8))), 7, (20, 30, 220), -1)
        made.append(folder / f"made{n}.jpg")
        cv2.imwrite(str(made[-1]), picture)
    for n, name in enumerate(named(count)):
        path = folder / "images" / name
        if n % FOLDER == 0:
            path.parent.mkdir(parents=True)
        os.link(made[n % len(made)], path)
    return folder / "images"


def localise_at_once(source: str, run: str, out: str) -> None:
    """`localise` in this process, its network answering at once."""
    from stn_cli.coloc.model.localiser import Localiser
    from stn_cli.jobs.localise import localise_source
    from stn_cli.media.scan import ImageFile
    from stn_cli.records import ImageRecord, Localisation, corners

    box, (w, h) = (8.5, 6.25, 28.0, 24.0), SMALL

    def found(_: Localiser, files: Sequence[ImageFile], **__: Any) -> Iterator[ImageRecord]:
        for file in files:
            yield ImageRecord(file.name, w, h, (Localisation(file.name, w, h, box, corners(box), (0.125,) * 6, 0.75),))

    Localiser.localise_files = found  # type: ignore[assignment,method-assign]
    localise_source(source, run, out)


def evaluate(folder: Path, count: int, _: Path) -> dict[str, list[str]]:
    write_boxes(folder / "boxes.json", count)
    write_truth(folder, count)
    whats = {"truth": "boxes by file name", "coco": "COCO", "below": "names below another folder"}
    return {
        f"evaluate, {what}": [*PROGRAM, "evaluate", str(folder / "boxes.json"), str(folder / f"{name}.json")]
        for name, what in whats.items()
    }


def export(folder: Path, count: int, _: Path) -> dict[str, list[str]]:
    write_boxes(folder / "boxes.json", count)
    out = ["--format", "csv", "-o", str(folder / "csv")]
    return {"export --format csv": [*PROGRAM, "export", "-q", str(folder / "boxes.json"), *out]}


def pictures(folder: Path, count: int, _: Path) -> dict[str, list[str]]:
    write_boxes(folder / "boxes.json", count)
    how = [*PROGRAM, "export", "-q", str(folder / "boxes.json"), "--format", "coco", "--images", "link"]
    how += ["--source", str(write_pictures(folder, count))]
    return {
        f"export --format coco, pictures linked, --group-by {by}": [*how, "--group-by", by, "-o", str(folder / by)]
        for by in ("folder", "file")
    }


def localise(folder: Path, count: int, run: Path) -> dict[str, list[str]]:
    source = write_pictures(folder, count)
    worker = [sys.executable, "-m", "benchmarks.million", "worker", str(source), str(run), str(folder / "out")]
    return {"localise, but for the network": worker}


def train(folder: Path, count: int, _: Path) -> dict[str, list[str]]:
    source = str(write_pictures(folder, count))
    return {"train": [*PROGRAM, "train", source, "-q", "-o", str(folder / "run")]}


def report(folder: Path, count: int, run: Path) -> dict[str, list[str]]:
    from stn_cli.media.scan import scan
    from stn_cli.runs.folder import write_images

    images = write_pictures(folder, count)
    shutil.copytree(run, folder / "run")
    write_images(folder / "run", scan(images).images)
    return {"report": [*PROGRAM, "report", "-q", str(folder / "run"), "-o", str(folder / "page.html")]}


PARTS: dict[str, Callable[[Path, int, Path], dict[str, list[str]]]] = {
    part.__name__: part for part in (evaluate, export, pictures, localise, train, report)
}


def main() -> None:
    if sys.argv[1:2] == ["worker"]:
        localise_at_once(*sys.argv[2:])
        return
    options = parser(__doc__)
    options.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    options.add_argument("--images", type=int, default=1_000_000)
    options.add_argument(
        "--run", type=Path, help="a run that is trained already; trained here on sample_data/cups when left out"
    )
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    begin()
    rows, measured = earlier("million", "rows"), list[str]()
    with tempfile.TemporaryDirectory() as temporary:
        run = given.run or Path(temporary) / "run"
        if given.run is None and set(given.parts or PARTS) & {"localise", "report"}:
            timed([*PROGRAM, "train", str(ROOT / "sample_data/cups/images"), "-q", "--no-report", "-o", str(run)])
        for part in given.parts or PARTS:
            folder = Path(temporary) / part
            folder.mkdir()
            for what, command in PARTS[part](folder, given.images, run).items():
                seconds, gigabytes = timed(command)
                rows[what] = {"images": given.images, "megabytes": round(1000 * gigabytes), "seconds": round(seconds)}
                print(f"{what:45} {rows[what]}", flush=True)
                measured.append(what)
                save("million", {"rows": rows}, WHOLE, rows=measured)
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
