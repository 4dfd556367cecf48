"""The one record that crosses borders: from the model to every format, report and tracker."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]
Point = tuple[float, float]


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
    """

    file: str
    width: int
    height: int
    box: Box
    quad: tuple[Point, Point, Point, Point]
    theta: tuple[float, ...]
    score: float


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image and what was found in it, best first; nothing found is an empty tuple."""

    file: str
    width: int
    height: int
    objects: tuple[Localisation, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left out, and why."""

    file: str
    reason: str
