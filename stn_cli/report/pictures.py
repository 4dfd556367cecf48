"""What is made of a followed video's pixels, in one more pass over it: the annotated video, crops, frames with a COCO file."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stn_cli.formats.coco import CocoWriter
from stn_cli.media.decode import Pixels
from stn_cli.media.video import VideoFrame
from stn_cli.records import ImageRecord, Localisation, PixelBox, TrackedFrame
from stn_cli.report.figures import write_picture
from stn_cli.report.film import Artist, Encoding, Film

VIDEO, COCO, FRAMES, CROPS = "video", "tracks.coco.json", "frames", "crops"


@dataclass(frozen=True, slots=True)
class FramePictures:
    """What is wanted.

    Attributes:
        encoding: of the annotated video; None where there is none to be.
        fps: of it.
        coco: write each frame as a picture, and a COCO file.
        crops: cut out each object.
        info: the COCO file's `info`.
    """

    encoding: Encoding | None
    fps: float
    coco: bool
    crops: bool
    info: dict[str, Any]

    def write(self, folder: Path, video: Iterable[VideoFrame], size: tuple[int, int], tracked: Sequence[TrackedFrame]) -> None:
        """Write them all; an error leaves none of them.

        Args:
            folder: to write into.
            video: frames of a size (height, width).
            size: of them.
            tracked: what was found in them.

        Raises:
            OutputError: they cannot be written.
        """
        try:
            self._write(folder, video, size, {frame.frame: frame for frame in tracked})
        except BaseException:
            for name in (FRAMES, CROPS):
                shutil.rmtree(folder / name, ignore_errors=True)
            raise

    def _write(
        self, folder: Path, video: Iterable[VideoFrame], size: tuple[int, int], tracked: dict[int, TrackedFrame]
    ) -> None:
        artist = Artist()
        with ExitStack() as ending:
            film = ending.enter_context(Film(folder / VIDEO, self.encoding, size, self.fps)) if self.encoding else None
            coco = CocoWriter(folder / COCO, self.info) if self.coco else None
            if coco is not None:
                ending.push(lambda kind, *_: coco.close() if kind is None else coco.abandon())
            for frame in video:
                shown = tracked.get(frame.index, TrackedFrame(frame.index, frame.time, ()))
                if film is not None:
                    film.add(artist.draw(frame.pixels, shown))
                if coco is not None:
                    name = f"{FRAMES}/{frame.index:06d}.jpg"
                    write_picture(folder / name, frame.pixels)
                    ranked = replace(shown, objects=tuple(sorted(shown.objects, key=lambda o: -o.score)))
                    coco.add(_as_image(name, ranked, size), [o.id for o in ranked.objects])
                if self.crops:
                    for found in shown.objects:
                        name = f"{CROPS}/{found.id}/{frame.index:06d}.jpg"
                        write_picture(folder / name, _cut(frame.pixels, found.box))


def _as_image(name: str, frame: TrackedFrame, size: tuple[int, int]) -> ImageRecord:
    height, width = size
    objects = []
    for o in frame.objects:
        x1, y1, x2, y2 = o.box
        theta = ((x2 - x1) / width, 0.0, (x1 + x2) / width - 1, 0.0, (y2 - y1) / height, (y1 + y2) / height - 1)
        objects.append(Localisation(name, width, height, o.box, o.quad, theta, o.score))
    return ImageRecord(name, width, height, tuple(objects))


def _cut(pixels: Pixels, box: PixelBox) -> Pixels:
    h, w = pixels.shape[:2]
    x1, y1 = min(w - 1, max(0, math.floor(box[0]))), min(h - 1, max(0, math.floor(box[1])))
    return pixels[y1 : max(y1 + 1, math.ceil(box[3])), x1 : max(x1 + 1, math.ceil(box[2]))]
