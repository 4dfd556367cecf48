"""The one record that crosses borders: from the model to every format, report and tracker."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stn_cli.errors import ResourceError

NOTEBOOK_SIDE = 320
"""Longer side of an image's outline in a notebook, pixels of the screen."""
EVEN = 0.5
"""Score at which an object and a random patch are as likely: what has less is no object for the calibration."""
NOTEBOOK_IMAGES = 60
"""Images of a list that a notebook shows."""
PixelBox = tuple[float, float, float, float]
Point = tuple[float, float]


def corners(box: PixelBox) -> tuple[Point, Point, Point, Point]:
    """The quad of an upright box.

    Args:
        box: (x1, y1, x2, y2).

    Returns:
        Its four corners, clockwise from the upper left.
    """
    x1, y1, x2, y2 = box
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes that are plain numbers: `stn_cli.geometry.box_iou` without torch.

    Args:
        a, b: (x1, y1, x2, y2).

    Returns:
        Intersection over union, 0 to 1.
    """
    inter = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return inter / max(1e-12, (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


@dataclass(frozen=True, slots=True)
class Localisation:
    """One found object.

    Attributes:
        file: the image's name relative to the source, with `/`.
        width, height: size of the upright image, pixels.
        box: (x1, y1, x2, y2) in pixels of the upright image, continuous and 0-based, cut to the image.
        quad: the crop's four corners in pixels, clockwise from its own upper left; may reach outside the image.
        theta: the crop's M_theta row by row, from target to source in the image's normalised coordinates: the 2x3 matrix of an
            affine family, the 3x3 of a projective one, 2xK of one that bends.
        score: confidence in [0, 1]; 0.5 is as much like the object as like a random patch.
        mask: which pixels of the upright image are the object's, as COCO's compressed run lengths (`stn_cli.decode_mask` turns them into
            an array); None where it was not asked for. It may reach less far than the box.
        kind: which of the kinds of objects that were looked for it is, from 0.
        believed: whether it is taken for an object; what is not is kept for who looks for more, and for who evaluates.
        source: who said so where a person has looked: `human` (drew, moved or renamed it) or `model`; empty where nobody has.
    """

    file: str
    width: int
    height: int
    box: PixelBox
    quad: tuple[Point, Point, Point, Point]
    theta: tuple[float, ...]
    score: float
    mask: str | None = None
    kind: int = 0
    believed: bool = True
    source: str = ""

    def _repr_html_(self) -> str:
        """What a notebook shows: where in its image the object is."""
        return ImageRecord(self.file, self.width, self.height, (self,))._repr_html_()


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image and what was found in it, best first; nothing found is an empty tuple. `reviewed`: a person has looked at it."""

    file: str
    width: int
    height: int
    objects: tuple[Localisation, ...]
    reviewed: bool = False

    def doubted(self) -> ImageRecord:
        """The same image: of each kind its best object is believed, and beside it those that the calibration calls objects."""
        best = {found.kind: found for found in reversed(self.objects)}
        told = [(o, o.score >= EVEN or o is best[o.kind]) for o in self.objects]
        if all(found.believed == believed for found, believed in told):
            return self
        doubted = tuple(o if o.believed == believed else replace(o, believed=believed) for o, believed in told)
        return replace(self, objects=doubted)

    def with_believed(self) -> ImageRecord:
        """The same image with those of its objects that are believed."""
        return replace(self, objects=tuple(found for found in self.objects if found.believed))

    def to_supervision(self) -> Any:
        """The objects as `supervision.Detections`, for its annotators and its metrics.

        Returns:
            Detections with `xyxy`, `confidence`, `class_id` (the kind), `mask` where every object has one, and `data["quad"]` (N, 4, 2).

        Raises:
            ResourceError: supervision is not installed.
        """
        masks = None
        if self.objects and all(found.mask is not None for found in self.objects):
            import numpy as np

            from stn_cli.run_lengths import decode_mask  # brings numpy: `import stn_cli` does not wait for it

            masks = np.stack([decode_mask(found.mask or "", (self.height, self.width)) for found in self.objects])  # (N, H, W)
        return _detections(self.objects, "class_id", [found.kind for found in self.objects], masks)

    def _repr_html_(self) -> str:
        """What a notebook shows: the image's outline with its objects in it, the best one thick; a record has no pixels."""
        pen = max(self.width, self.height) / NOTEBOOK_SIDE  # one pixel of the screen
        parts = []
        for found in reversed(self.objects):  # the best one on top
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in found.quad)
            weight = pen * (2 if found is self.objects[0] else 1)
            parts.append(f'<polygon points="{points}" fill="none" stroke="currentColor" stroke-width="{weight:.2f}"/>')
            x, y = found.box[0] + 3 * pen, found.box[1] + 13 * pen
            parts.append(
                f'<text x="{x:.1f}" y="{y:.1f}" font-size="{12 * pen:.1f}" fill="currentColor">{found.score:.2f}</text>'
            )
        said = f"{html.escape(self.file)} ({self.width} x {self.height}): {len(self.objects) or 'no'} object"
        return (
            f'<figure style="margin:0"><svg viewBox="0 0 {self.width} {self.height}" width="{self.width / pen:.0f}" '
            f'height="{self.height / pen:.0f}" style="background:#8883">{"".join(parts)}</svg>'
            f"<figcaption>{said}{'' if len(self.objects) == 1 else 's'}</figcaption></figure>"
        )


class ImageRecords(list[ImageRecord]):
    """Records of several images, one after the other; a notebook shows them side by side."""

    def _repr_html_(self) -> str:
        """The first images, and how many more there are."""
        shown = "".join(record._repr_html_() for record in self[:NOTEBOOK_IMAGES])
        more = f"<p>and {len(self) - NOTEBOOK_IMAGES:,} more</p>" if len(self) > NOTEBOOK_IMAGES else ""
        return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{shown}</div>{more}'


def sureness(scores: Iterable[float]) -> float:
    """How sure the boxes of an image are, as one number: the lowest first is the order in which a person looks at images.

    It is the score of the worst box that is believed, and of the best one where none is ("The order of doubt" in docs/experiments.md).

    Args:
        scores: of the image's boxes, in any order.

    Returns:
        From 0 to 1; 0 where there is no box.

    >>> sureness([0.9, 0.6, 0.1]), sureness([0.2, 0.4]), sureness([])
    (0.6, 0.4, 0.0)
    """
    known = list(scores)
    return min((score for score in known if score >= EVEN), default=max(known, default=0.0))


@dataclass(frozen=True, slots=True)
class TrueObject:
    """One object that a person marked.

    Attributes:
        box: as a `Localisation`'s.
        category: its id, or its name where the format has no ids; None where there are no categories.
        difficult: to be neither found nor missed (Pascal VOC).
        crowd: a region with several objects, neither found nor missed (COCO's `iscrowd`).
    """

    box: PixelBox
    category: int | str | None = None
    difficult: bool = False
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """A person's annotation of one image: all of its objects.

    Attributes:
        file: the image's name.
        width, height: of the upright image that the boxes are of, pixels; 0 is not known.
        boxes: of its objects, each with the number of its kind from 0; none where the image holds no object.
        rejected: boxes of no object, that a model had found.
    """

    file: str
    width: int
    height: int
    boxes: tuple[tuple[PixelBox, int], ...]
    rejected: tuple[PixelBox, ...] = ()


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """One object in one frame of a video.

    Attributes:
        id: of its track, from 1.
        box: (x1, y1, x2, y2) in pixels of the upright frame, continuous and 0-based, cut to the frame.
        score: in [0, 1], the expected intersection over union of the box with the object's; 0.5 and more is to be believed.
        quad: corners in pixels, clockwise from the crop's own upper left.
        interpolated: it was not seen in this frame; the box lies between those of the frames around.
    """

    id: int
    box: PixelBox
    score: float
    quad: tuple[Point, Point, Point, Point]
    interpolated: bool = False


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """A frame and the objects in it; none is an empty tuple.

    Attributes:
        frame: its index in the video, from 0.
        time: its time stamp, seconds.
        objects: by id.
    """

    frame: int
    time: float
    objects: tuple[TrackedObject, ...]

    def to_supervision(self) -> Any:
        """The objects as `supervision.Detections`, their tracks in `tracker_id`.

        Returns:
            Detections with `xyxy`, `confidence`, `tracker_id` and `data["quad"]` (N, 4, 2).

        Raises:
            ResourceError: supervision is not installed.
        """
        return _detections(self.objects, "tracker_id", [found.id for found in self.objects], None)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left out, and why."""

    file: str
    reason: str


def reasons(rows: Sequence[Skipped]) -> str:
    """What was skipped, counted by reason: `3 skipped: 2 empty, 1 not an image`.

    Args:
        rows: what was skipped.

    Returns:
        One line.
    """
    counts = Counter(row.reason.split(":")[0] for row in rows)
    return f"{len(rows)} skipped: " + ", ".join(f"{n} {reason}" for reason, n in counts.most_common())


def _detections(objects: Sequence[Localisation | TrackedObject], name: str, numbers: list[int], masks: Any) -> Any:
    """N objects as `supervision.Detections`, with a whole number for each under a name of its own."""
    try:
        import supervision
    except ModuleNotFoundError as error:
        todo = "pip install supervision"
        raise ResourceError("records become Detections by a package that is not installed", error.name, None, todo) from error
    import numpy as np

    numbered: dict[str, Any] = {name: np.array(numbers, int)}
    return supervision.Detections(
        xyxy=np.array([found.box for found in objects], np.float32).reshape(-1, 4),
        confidence=np.array([found.score for found in objects], np.float32),
        mask=masks,
        data={"quad": np.array([found.quad for found in objects], np.float32).reshape(-1, 4, 2)},
        **numbered,
    )
