"""The strip of the front page: eight pictures of a folder with the boxes that were found, and the mean of all crops of another.

python docs/figures/strip.py sample_data/fish/images sample_data/cups/images
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import stn_cli

HERE = Path(__file__).parent
WIDE, HIGH, GAP = 168, 126, 6
COLOUR = (67, 160, 46)
Picture = npt.NDArray[np.uint8]


def tile(picture: Picture, boxes: list[list[float]]) -> Picture:
    """A picture (H, W, 3) in the middle of a white tile, with boxes [x, y, w, h] in its own pixels."""
    scale = min(WIDE / picture.shape[1], HIGH / picture.shape[0])
    w, h = round(scale * picture.shape[1]), round(scale * picture.shape[0])
    small = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
    for x, y, wide, high in boxes:
        first, last = (round(scale * x), round(scale * y)), (round(scale * (x + wide)) - 1, round(scale * (y + high)) - 1)
        cv2.rectangle(small, first, last, (255, 255, 255), 4)
        cv2.rectangle(small, first, last, COLOUR, 2)
    out = np.full((HIGH, WIDE, 3), 255, np.uint8)
    top, left = (HIGH - h) // 2, (WIDE - w) // 2
    out[top : top + h, left : left + w] = small
    return out


def mean_crop(crops: list[Path]) -> Picture:
    """The mean of crops, as a square of the height of two tiles."""
    side = 2 * HIGH + GAP
    total = np.zeros((side, side, 3))
    for path in crops:
        total += cv2.resize(read(path), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray((total / len(crops)).round(), np.uint8)


def read(path: Path) -> Picture:
    """A picture in OpenCV's order of colours; any name works."""
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, path
    return np.asarray(picture, np.uint8)


def beside(pictures: list[Picture]) -> Picture:
    """Pictures of one height in a row."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], 1)


def strip(folder: Path, results: dict[str, Any], crops: list[Path]) -> Picture:
    """Every eighth part of the list of images gives one: nobody chose them."""
    images = results["images"]
    chosen = [images[i * len(images) // 8] for i in range(8)]
    boxes = [[a["bbox"] for a in results["annotations"] if a["image_id"] == image["id"]] for image in chosen]
    tiles = [tile(read(folder / image["file_name"]), found) for image, found in zip(chosen, boxes, strict=True)]
    rows = [beside(tiles[:4]), np.full((GAP, 4 * WIDE + 3 * GAP, 3), 255, np.uint8), beside(tiles[4:])]
    return beside([np.concatenate(rows), mean_crop(crops)])


def found(folder: Path, work: Path) -> tuple[dict[str, Any], list[Path]]:
    """What a training with default settings finds in a folder: boxes.json, and the crops."""
    stn_cli.train(folder, work / "run")
    stn_cli.localise_source(folder, work / "run", work / "boxes", stn_cli.LocaliseOptions(crops=True))
    return json.loads((work / "boxes" / "boxes.json").read_text("utf-8")), sorted((work / "boxes" / "crops").rglob("*.png"))


def main() -> None:
    """Train, localise, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("boxes", type=Path, help="folder of the eight")
    parser.add_argument("mean", type=Path, help="folder of the mean crop")
    parser.add_argument("--out", type=Path, default=HERE / "strip.jpg")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        (results, _), (_, crops) = (
            found(folder, Path(name, kind)) for kind, folder in (("boxes", args.boxes), ("mean", args.mean))
        )
        picture = strip(args.boxes, results, crops)
    cv2.imwrite(str(args.out), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])


if __name__ == "__main__":
    main()
