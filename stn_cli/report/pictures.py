"""What is made of a followed video's pixels, in one more pass over it: the annotated video, crops, frames with a COCO file."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from stn_cli.formats.coco import CocoWriter
from stn_cli.formats.writer import Writer
from stn_cli.media.decode import Pixels
from stn_cli.records import ImageRecord, Localisation, PixelBox, TrackedFrame
from stn_cli.report.artist import Artist
from stn_cli.report.figures import write_picture
from stn_cli.report.film import Encoding, Film

VIDEO, COCO, FRAMES, CROPS = "video", "tracks.coco.json", "frames", "crops"


Pictured = tuple[TrackedFrame, Pixels]
"""What was found in a frame, and its pixels (H, W, 3)."""


class FilmWriter:
    """The video with its objects drawn.

    Args:
        folder: to write into.
        encoding: of the video.
        size: (height, width) of the frames.
        fps: frames per second.
    """

    def __init__(self, folder: Path, encoding: Encoding, size: tuple[int, int], fps: float) -> None:
        self._artist = Artist()
        self._film = Film(folder / VIDEO, encoding, size, fps)

    def add(self, item: Pictured) -> None:
        """Draw and write one frame."""
        frame, pixels = item
        self._film.add(self._artist.draw(pixels, frame))

    def close(self) -> None:
        """End the file."""
        self._film.close()

    def abandon(self) -> None:
        """Remove the file."""
        self._film.abandon()


class FramesWriter:
    """Each frame as a picture, and a COCO file of them.

    Args:
        folder: to write into.
        info: the COCO file's `info`.
    """

    def __init__(self, folder: Path, info: dict[str, Any]) -> None:
        self._folder = folder
        self._coco = CocoWriter(folder / COCO, info)

    def add(self, item: Pictured) -> None:
        """Write one frame; its objects, the best first."""
        frame, pixels = item
        name = f"{FRAMES}/{frame.frame:06d}.jpg"
        write_picture(self._folder / name, pixels)
        ranked = replace(frame, objects=tuple(sorted(frame.objects, key=lambda o: -o.score)))
        self._coco.add(_as_image(name, ranked, (pixels.shape[0], pixels.shape[1])), [o.id for o in ranked.objects])

    def close(self) -> None:
        """Put the COCO file in place."""
        self._coco.close()

    def abandon(self) -> None:
        """Remove the pictures and the COCO file's beginnings."""
        self._coco.abandon()
        shutil.rmtree(self._folder / FRAMES, ignore_errors=True)


class CropsWriter:
    """Each object of each frame, cut out.

    Args:
        folder: to write into.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, item: Pictured) -> None:
        """Cut out the objects of one frame."""
        frame, pixels = item
        for found in frame.objects:
            name = f"{CROPS}/{found.id}/{frame.frame:06d}.jpg"
            write_picture(self._folder / name, _cut_out(pixels, found.box))

    def close(self) -> None:
        """All is in place."""

    def abandon(self) -> None:
        """Remove them."""
        shutil.rmtree(self._folder / CROPS, ignore_errors=True)


def picture_makers(
    folder: Path, encoding: Encoding | None, size: tuple[int, int], fps: float, *, info: dict[str, Any] | None, crops: bool
) -> list[Callable[[], Writer[Pictured]]]:
    """What opens the formats that are made of pixels, for `write_all`.

    Args:
        folder: to write into.
        encoding: of the annotated video; None leaves it out.
        size: (height, width) of the frames.
        fps: of the video.
        info: of the COCO file with pictures of the frames; None leaves both out.
        crops: cut out each object.

    Returns:
        One for each format that is wanted.
    """
    makers: list[Callable[[], Writer[Pictured]]] = []
    if encoding is not None:
        makers.append(partial(FilmWriter, folder, encoding, size, fps))
    if info is not None:
        makers.append(partial(FramesWriter, folder, info))
    if crops:
        makers.append(partial(CropsWriter, folder))
    return makers


def _as_image(name: str, frame: TrackedFrame, size: tuple[int, int]) -> ImageRecord:
    height, width = size
    objects = []
    for o in frame.objects:
        x1, y1, x2, y2 = o.box
        theta = ((x2 - x1) / width, 0.0, (x1 + x2) / width - 1, 0.0, (y2 - y1) / height, (y1 + y2) / height - 1)
        objects.append(Localisation(name, width, height, o.box, o.quad, theta, o.score))
    return ImageRecord(name, width, height, tuple(objects))


def _cut_out(pixels: Pixels, box: PixelBox) -> Pixels:
    h, w = pixels.shape[:2]
    x1, y1 = min(w - 1, max(0, math.floor(box[0]))), min(h - 1, max(0, math.floor(box[1])))
    return pixels[y1 : max(y1 + 1, math.ceil(box[3])), x1 : max(x1 + 1, math.ceil(box[2]))]
