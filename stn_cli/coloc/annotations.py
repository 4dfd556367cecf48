"""A person's annotations of some images of a set, as everything that learns from them takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.geometry import Frame, clip_boxes
from stn_cli.records import AnnotatedImage, PixelBox, Skipped

OTHER_SIZE = 0.02
"""By how much the ratio of an image's sides may differ from that of the image that its boxes are of: other tools resize, and round."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """All objects of some images, and boxes that are none.

    Attributes:
        boxes: by the image's number, (M, 4) normalised letterbox boxes of its objects; M is 0 where it holds none.
        rejected: by the image's number, (J, 4) of what is no object.
    """

    boxes: dict[int, Tensor]
    rejected: dict[int, Tensor]

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def objects(self) -> int:
        """How many boxes of objects there are."""
        return sum(map(len, self.boxes.values()))

    @classmethod
    def of(
        cls, images: Iterable[AnnotatedImage], names: Sequence[str], frames: Sequence[Frame], kind: int | None
    ) -> Annotations:
        """The annotations of the images of a set.

        Args:
            images: with boxes in pixels of the set's images.
            names: of the set's images.
            frames: of the set's images.
            kind: whose boxes are wanted; those of all kinds when None.
        """
        place = {name: number for number, name in enumerate(names)}
        boxes, rejected = dict[int, Tensor](), dict[int, Tensor]()
        for image in images:
            number = place[image.file]
            frame = frames[number]
            own = [box for box, of in image.boxes if kind is None or of == kind]
            others = [] if kind is None else [box for box, of in image.boxes if of != kind]
            boxes[number] = _on_letterbox(own, frame)
            rejected[number] = _on_letterbox([*image.rejected, *others], frame)
        return cls(boxes, rejected)


def _on_letterbox(boxes: Sequence[PixelBox], frame: Frame) -> Tensor:
    return frame.boxes_to_letterbox(torch.tensor(boxes, dtype=torch.float64).view(-1, 4)).float()


def fitting(image: AnnotatedImage, frame: Frame) -> AnnotatedImage | Skipped:
    """The annotation of an image, in the image's own pixels.

    Args:
        image: as it was annotated; its size may be that of a resized copy.
        frame: of the image, upright.

    Returns:
        The same with boxes cut to the image, or why it cannot be used.
    """
    width, height = image.width or frame.width, image.height or frame.height
    if abs(width * frame.height / (height * frame.width) - 1) > OTHER_SIZE:
        turned = (
            "turned by EXIF: boxes are of the upright image"
            if (height, width) == (frame.width, frame.height)
            else "another picture"
        )
        return Skipped(
            image.file, f"its boxes are of {width} x {height} pixels, and it has {frame.width} x {frame.height} ({turned})"
        )
    scale = torch.tensor([frame.width / width, frame.height / height], dtype=torch.float64).repeat(2)
    size = frame.height, frame.width

    def own(box: PixelBox) -> PixelBox | None:
        x1, y1, x2, y2 = clip_boxes(torch.tensor(box, dtype=torch.float64) * scale, size).tolist()
        return (x1, y1, x2, y2) if x2 - x1 >= 1 and y2 - y1 >= 1 else None

    boxes = [(cut, kind) for box, kind in image.boxes if (cut := own(box)) is not None]
    if len(boxes) < len(image.boxes):
        return Skipped(image.file, "a box of it lies outside, or is less than a pixel wide or high")
    rejected = tuple(cut for box in image.rejected if (cut := own(box)) is not None)
    return AnnotatedImage(image.file, frame.width, frame.height, tuple(boxes), rejected)
