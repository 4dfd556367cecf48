"""Small pictures for the page: line charts as SVG, photographs as JPEG in data URLs."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from stn_cli.errors import OutputError
from stn_cli.files import write_bytes
from stn_cli.media.decode import Pixels
from stn_cli.media.header import LONGEST_JPEG
from stn_cli.records import Localisation
from stn_cli.run_lengths import decode_mask

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 520, 240, 48, 28, 12, 34
"""Of a chart without its legend, and its margins, pixels: the last number under the axis needs the one on the right."""
LEGEND = 15
"""Height of a line of the legend, which stands above the curves, pixels."""
KEY = 18
"""Length of the stroke beside a name in the legend, pixels."""
BAR, BARS_HEIGHT = 24, 120
"""Width of a bar of a histogram, its margin included, and height of the highest one, pixels."""
SLENDER = 4
"""Lines and letters grow with the longer side up to so many times the shorter one: in a panorama they would hide the picture."""
GREEN, AMBER, RED = (46, 160, 67), (219, 140, 20), (207, 34, 46)
"""Colours of boxes by their scores."""


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart: points (x, y), a name, and a colour of CSS."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str


def write_picture(path: Path, pixels: Pixels | npt.NDArray[np.uint16]) -> None:
    """Write a picture by its extension, atomically, folders included; a JPEG that is too long for one is reduced.

    The disk is not waited for (see `stn_cli.outputs.results`).

    Args:
        path: its extension says the format.
        pixels: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16.

    Raises:
        OutputError: it cannot be written.
    """
    longest = max(pixels.shape[:2])
    if path.suffix == ".jpg" and longest > LONGEST_JPEG:
        size = [max(1, side * LONGEST_JPEG // longest) for side in (pixels.shape[1], pixels.shape[0])]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    done, data = cv2.imencode(path.suffix, pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not done:
        raise OutputError("cannot encode picture", path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("cannot write into", path.parent, error.strerror) from error
    write_bytes(path, data.tobytes(), sync=False)


def line_chart(series: Sequence[Series], x_label: str, y_label: str) -> str:
    """An SVG chart; values that are not finite are left out.

    Args:
        series: lines, each with its name.
        x_label, y_label: of the axes.

    Returns:
        The SVG's text.
    """
    clean = [Series(s.name, [p for p in s.points if all(map(math.isfinite, p))], s.colour) for s in series]
    points = [p for s in clean for p in s.points]
    if not points:
        return ""
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = min(0.0, *(p[1] for p in points)), max(p[1] for p in points)
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    height = HEIGHT + LEGEND * len(clean)

    def at(x: float, y: float) -> tuple[float, float]:
        u = LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        return round(u, 1), round(height - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - BOTTOM - TOP), 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{y_label} by {x_label}">']
    for i in range(5):
        y = y0 + (y1 - y0) * i / 4
        _, v = at(x0, y)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{v}" y2="{v}" class="rule"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{v + 4}" text-anchor="end">{y:.3g}</text>')
        x = x0 + (x1 - x0) * i / 4
        parts.append(f'<text x="{at(x, y0)[0]}" y="{height - 18}" text-anchor="middle">{x:.3g}</text>')
    parts.append(f'<text x="{(WIDTH + LEFT) / 2}" y="{height - 3}" text-anchor="middle">{x_label}</text>')
    for i, s in enumerate(clean):
        path = " ".join(f"{u},{v}" for u, v in (at(*p) for p in s.points))
        # as styles: the page's own style of text would win over an attribute, and only a style knows the page's variables
        parts.append(f'<polyline points="{path}" fill="none" style="stroke:{s.colour}" stroke-width="2"/>')
        v = LEGEND * (i + 1)
        parts.append(
            f'<line x1="{WIDTH - RIGHT - KEY}" x2="{WIDTH - RIGHT}" y1="{v - 4}" y2="{v - 4}" style="stroke:{s.colour}" stroke-width="3"/>'
        )
        parts.append(f'<text x="{WIDTH - RIGHT - KEY - 6}" y="{v}" text-anchor="end" style="fill:{s.colour}">{s.name}</text>')
    return "".join([*parts, "</svg>"])


def bar_chart(counts: Sequence[int], bands: Sequence[str], label: str) -> str:
    """An SVG of how many images have scores in equal parts of [0, 1].

    Args:
        counts: images in each part.
        bands: a class of the page's style for each bar.
        label: of the axis.

    Returns:
        The SVG's text.
    """
    top, highest, width = 18, max(1, *counts), BAR * len(counts)
    base = top + BARS_HEIGHT
    parts = [f'<svg viewBox="-4 0 {width + 8} {base + 36}" role="img" aria-label="Histogram: {label}">']
    for i, (count, band) in enumerate(zip(counts, bands, strict=True)):
        low, high = i / len(counts), (i + 1) / len(counts)
        if count:
            height = max(2.0, BARS_HEIGHT * count / highest)  # one image of thousands is still seen
            x, y = i * BAR + 2, base - height
            said = f"{low:.2f} to {high:.2f}: {count}"
            parts.append(
                f'<rect x="{x}" y="{y:.1f}" width="{BAR - 4}" height="{height:.1f}" class="bar {band}"><title>{said}</title></rect>'
            )
            parts.append(f'<text x="{x + BAR / 2 - 2}" y="{y - 4:.1f}" text-anchor="middle">{_short(count)}</text>')
    parts.append(f'<line x1="0" x2="{width}" y1="{base}" y2="{base}" class="axis"/>')
    parts += [f'<text x="{width * tick / 5:g}" y="{base + 15}" text-anchor="middle">{tick / 5:g}</text>' for tick in range(6)]
    parts.append(f'<text x="{width / 2:g}" y="{base + 31}" text-anchor="middle">{label}</text>')
    return "".join([*parts, "</svg>"])


def _short(count: int) -> str:
    """A number no wider than a bar: 1.3k for 1340."""
    return str(count) if count < 1000 else f"{count / 1000:.1f}k" if count < 9950 else f"{count / 1000:.0f}k"


def data_url(picture: Pixels, quality: int = 82) -> str:
    """An RGB picture (H, W, 3) as a JPEG data URL.

    Args:
        picture: (H, W, 3) uint8 RGB.
        quality: of the JPEG, 1 to 100.

    Returns:
        A URL that holds the picture.
    """
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def confidence_colour(score: float) -> tuple[int, int, int]:
    """Green where the box is more like the object than like a random patch, red where less, amber between.

    Args:
        score: from 0 to 1.

    Returns:
        (red, green, blue), 0 to 255.
    """
    return GREEN if score >= 0.6 else AMBER if score >= 0.4 else RED


def draw(picture: Pixels, found: Localisation, label: bool = True) -> Pixels:
    """Draw an object's box, its mask's outline where it has one, and its score into a picture of its image.

    Args:
        picture: (H, W, 3) uint8 RGB, at any size.
        found: the object, in the pixels of the whole image.
        label: also write the score.

    Returns:
        A copy with the drawing.
    """
    out = picture.copy()
    h, w = out.shape[:2]
    scale = np.array([w / found.width, h / found.height])
    quad = np.round(np.array(found.quad) * scale).astype(np.int32)
    extent = min(max(h, w), SLENDER * min(h, w))
    line = max(1, round(extent / 200))
    colour = confidence_colour(found.score)
    cv2.polylines(out, [quad[:, None]], True, (0, 0, 0), line + 2, cv2.LINE_AA)
    cv2.polylines(out, [quad[:, None]], True, colour, line, cv2.LINE_AA)
    if found.mask is not None:
        cv2.drawContours(out, _outline(found, (h, w)), -1, colour, line, cv2.LINE_AA)
    if abs(int(quad[1][1]) - int(quad[0][1])) > 0.08 * max(1, abs(int(quad[1][0]) - int(quad[0][0]))):
        # a tilted crop: a dot says where its upper side is
        cv2.circle(out, [int(v) for v in (quad[0] + quad[1]) // 2], 2 * line + 1, colour, -1, cv2.LINE_AA)
    if label:
        size = max(0.35, extent / 900)
        text = f"{found.score:.2f}"
        (tw, th), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        x = int(min(max(0, found.box[0] * scale[0]), w - tw - 4))
        y = int(max(th + 4, found.box[1] * scale[1]))
        cv2.rectangle(out, (x, y - th - 4), (x + tw + 4, y + 2), colour, -1)
        cv2.putText(out, text, (x + 2, y - 2), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), max(1, line // 2), cv2.LINE_AA)
    return out


def _outline(found: Localisation, size: tuple[int, int]) -> Sequence[npt.NDArray[np.int32]]:
    """The contours of an object's mask in a picture (h, w) of its image."""
    mask = decode_mask(found.mask or "", (found.height, found.width)).astype(np.uint8)
    if mask.shape != size:
        mask = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
    return cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]  # type: ignore[return-value]


class MeanPicture:
    """The mean of pictures of one size, as they come: none is kept.

    Args:
        side: of the square pictures, pixels.
    """

    def __init__(self, side: int) -> None:
        self._total = np.zeros((side, side, 3), np.float64)
        self.count = 0

    def add(self, picture: Pixels) -> None:
        """Take in a picture (side, side, 3), uint8 RGB."""
        self._total += picture
        self.count += 1

    def picture(self) -> Pixels:
        """The mean so far, (side, side, 3) uint8; black where none came."""
        return np.asarray((self._total / max(1, self.count)).round(), np.uint8)


def contrast(picture: Pixels) -> float:
    """Standard deviation of brightness, without its fine grain: what is the same in all pictures survives in their mean.

    Args:
        picture: (H, W, 3) uint8 RGB.

    Returns:
        In grey levels, 0 to 255.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), picture.shape[0] / 40)
    return float(grey.std())
