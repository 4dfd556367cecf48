"""Made sets for a review: images, and boxes with scores as `localise` writes them."""

from __future__ import annotations

import json
import random
from pathlib import Path

from stn_cli.formats.coco import CocoWriter
from stn_cli.formats.writer import about
from stn_cli.records import ImageRecord, Localisation, corners
from tests.conftest import make_image, write_image

WIDTH, HEIGHT = 60, 48


def write_boxes(folder: Path, count: int, *, seed: int = 0, name: str = "boxes.json") -> Path:
    """boxes.json of `count` images 000.png, ...: one box each, scores at random; image 3 has two, image 4 none."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    writer = CocoWriter(folder / name, about("no-such-run", "exif-applied"))
    for n in range(count):
        file = f"{n:03d}.png"
        boxes = [] if n == 4 else [(rng.uniform(0, 20), rng.uniform(0, 10), rng.uniform(30, 60), rng.uniform(20, 48))]
        boxes += [(1.5, 2.25, 11.5, 12.25)] if n == 3 else []
        found = (Localisation(file, WIDTH, HEIGHT, box, corners(box), (1, 0, 0, 0, 1, 0), rng.random()) for box in boxes)
        writer.add(ImageRecord(file, WIDTH, HEIGHT, tuple(sorted(found, key=lambda o: -o.score))))
    writer.close()
    return folder / name


def write_set(folder: Path, count: int = 8) -> Path:
    """The same, with the images beside it."""
    for n in range(count):
        write_image(folder / "images" / f"{n:03d}.png", make_image(n)[0])
    return write_boxes(folder, count)


def reviewed(boxes: Path) -> dict[str, tuple[dict[str, object], list[dict[str, object]]]]:
    """The corrected file beside boxes.json: by name the image and its annotations."""
    data = json.loads((boxes.parent / "reviewed.json").read_text())
    rows = {row["id"]: (row, []) for row in data["images"]}
    for row in data["annotations"]:
        rows[row["image_id"]][1].append(row)
    return {image["file_name"]: (image, found) for image, found in rows.values()}
