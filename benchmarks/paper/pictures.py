"""Pictures of what the paper's networks look at. MNIST is not ours to show: digits here are drawn by OpenCV's fonts.

    python -m benchmarks.paper.pictures

writes docs/figures/distortions.png, the distortions of table 1; the others are drawn by the scripts that train the networks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.paper.mnist import DISTORTIONS
from benchmarks.provenance import ROOT
from stn_cli.geometry import normalised_to_pixels

Picture = npt.NDArray[np.uint8]
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)
COLOURS = ((40, 220, 250), (250, 160, 60), (110, 230, 90), (230, 90, 230))


def drawn_digits(labels: Sequence[int]) -> Tensor:
    """Digits as MNIST has them, 20 pixels high, their ink's middle that of 28 x 28: (N, 1, 28, 28) uint8; fonts take turns."""
    out = []
    for i, label in enumerate(labels):
        large = np.zeros((112, 112), np.uint8)
        font = FONTS[i % len(FONTS)]
        cv2.putText(large, str(label), (20, 95), font, 3.3, 255, 9, cv2.LINE_AA)
        off = [round(55.5 - float(np.average(at, weights=large))) for at in np.indices(large.shape)]
        large = np.roll(large, off, (0, 1))
        out.append(cv2.resize(large, (28, 28), interpolation=cv2.INTER_AREA))
    return torch.from_numpy(np.stack(out))[:, None]


def grey(image: Tensor, side: int = 168) -> Picture:
    """(H, W) in [0, 1] -> (side, side W / H, 3), pixels seen as squares."""
    picture = image.detach().clamp(0, 1).mul(255).round().byte().numpy()
    large = cv2.resize(picture, (round(side * picture.shape[1] / picture.shape[0]), side), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.cvtColor(large, cv2.COLOR_GRAY2BGR), np.uint8)


def with_net(picture: Picture, points: Tensor, colour: int = 0) -> Picture:
    """With the net (h, w, 2) of source points drawn over it, every line of at most seven each way; its upper side is thick."""
    size = picture.shape[0], picture.shape[1]
    pixels = normalised_to_pixels(points.detach(), size).round().int().numpy()
    out = picture.copy()
    h, w = pixels.shape[:2]
    lines = [pixels[i] for i in np.linspace(0, h - 1, 5).round().astype(int)]
    lines += [pixels[:, j] for j in np.linspace(0, w - 1, 5).round().astype(int)]
    for line in lines:
        cv2.polylines(out, [line[:, None]], False, COLOURS[colour], 1, cv2.LINE_AA)
    cv2.polylines(out, [pixels[0][:, None]], False, COLOURS[colour], 3, cv2.LINE_AA)
    return out


def chart(
    series: dict[str, list[tuple[float, float]]], across: str, up: str, size: tuple[int, int] = (420, 560), log: bool = False
) -> Picture:
    """Lines through points (x, y), each with its name; y from 0."""
    h, w = size
    out = np.full((h, w, 3), 255, np.uint8)
    left, right, top, bottom = 60, w - 40, 20 + 20 * len(series), h - 50
    xs = [np.log2(x) if log else x for points in series.values() for x, _ in points]
    most = max(y for points in series.values() for _, y in points) * 1.05
    low, high = min(xs), max(xs)

    def at(x: float, y: float) -> tuple[int, int]:
        u = (np.log2(x) if log else x) - low
        return round(left + u / ((high - low) or 1) * (right - left)), round(bottom - y / most * (bottom - top))

    dark, font = (60, 60, 60), cv2.FONT_HERSHEY_SIMPLEX
    cv2.line(out, (left, bottom), (right, bottom), dark, 1)
    cv2.line(out, (left, bottom), (left, top), dark, 1)
    for x in sorted({x for points in series.values() for x, _ in points}):
        cv2.putText(
            out, f"{x:,.0f}" if x > 99 else f"{x:.1f}", (at(x, 0)[0] - 14, bottom + 18), font, 0.42, dark, 1, cv2.LINE_AA
        )
    for y in (most / 3, 2 * most / 3, most):
        cv2.putText(out, f"{y:.3g}", (10, at(2**low if log else low, y)[1] + 4), font, 0.42, dark, 1, cv2.LINE_AA)
    cv2.putText(out, across, (left, h - 10), font, 0.48, dark, 1, cv2.LINE_AA)
    cv2.putText(out, up, (6, 14), font, 0.48, dark, 1, cv2.LINE_AA)
    for number, (name, points) in enumerate(series.items()):
        colour = ((40, 120, 220), (200, 120, 20), (60, 150, 40), (170, 60, 170), (90, 90, 90))[number % 5]
        line = np.array([at(x, y) for x, y in points], np.int32)
        cv2.polylines(out, [line[:, None]], False, colour, 2, cv2.LINE_AA)
        for x, y in line.tolist():
            cv2.circle(out, (x, y), 4, colour, -1, cv2.LINE_AA)
        cv2.putText(out, name, (left + 20, 32 + 18 * number), font, 0.46, colour, 1, cv2.LINE_AA)
    return out


def write_sheet(name: str, rows: Sequence[Sequence[Picture]], gap: int = 6) -> None:
    """Rows of pictures of one height in docs/figures/NAME.png, on white."""
    lines = []
    for row in rows:
        between = np.full((row[0].shape[0], gap, 3), 255, np.uint8)
        lines.append(np.concatenate([p for picture in row for p in (picture, between)][:-1], 1))
    wide = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, gap), (0, wide - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    cv2.imwrite(str(ROOT / "docs" / "figures" / f"{name}.png"), np.concatenate(padded), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def distortions() -> list[list[Picture]]:
    """A row for each distortion of table 1, beside the digits themselves; each picture as large as its pixels are many."""
    digits = drawn_digits([2, 3, 4, 5, 7]).float() / 255
    rows = [[grey(digit[0], 56) for digit in digits]]
    for distort in DISTORTIONS.values():
        images = distort(digits, torch.Generator().manual_seed(4))
        rows.append([grey(image[0], 2 * images.shape[-1]) for image in images])
    return rows


def main() -> None:
    parser(__doc__).parse_args()
    write_sheet("distortions", distortions())


if __name__ == "__main__":
    main()
