"""Failures as outlines: the true and the found boxes of some images, without the images, which are not ours to show.

    python -m benchmarks.failures BOXES TRUTH FILE [FILE ...] --out PICTURE.svg

Each image is a frame of its shape; true boxes are green and broken, found ones red with their score, thin and grey below .5.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.detections import HALF
from stn_cli.formats.coco import read_coco
from stn_cli.records import ImageRecord, PixelBox

SIDE, GAP, LINE = 220, 12, 20
LEAST = 0.1
"""Score below which a box is left out: there are many."""


def drawn(records: Sequence[ImageRecord], truth: dict[str, list[PixelBox]]) -> str:
    """An SVG of one row.

    Args:
        records: of the images.
        truth: true boxes by file name, pixels.
    """
    parts, height = [], 0.0
    for number, record in enumerate(records):
        scale = SIDE / max(record.width, record.height)
        left = GAP + number * (SIDE + GAP)
        height = max(height, record.height * scale)
        own = [_box((0, 0, record.width, record.height), scale, 'fill="#f6f8fa" stroke="#8c959f"')]
        for found in sorted(record.objects, key=lambda found: found.score):
            if found.score >= LEAST:
                likely = found.score >= HALF
                own.append(
                    _box(
                        found.box,
                        scale,
                        f'fill="none" stroke="{"#cf222e" if likely else "#8c959f"}" stroke-width="{1 + likely}"',
                    )
                )
                x, y = found.box[0] * scale + 3, found.box[1] * scale + 12
                own.append(
                    f'<text x="{x:.1f}" y="{y:.1f}" fill="{"#cf222e" if likely else "#57606a"}">{found.score:.2f}</text>'
                )
        own += [
            _box(box, scale, 'fill="none" stroke="#1a7f37" stroke-width="3" stroke-dasharray="7 4"')
            for box in truth[record.file]
        ]
        own.append(f'<text x="0" y="{record.height * scale + 14:.1f}" fill="#57606a">{escape(record.file)}</text>')
        parts.append(f'<g transform="translate({left} {GAP})">{"".join(own)}</g>')
    size = f'width="{GAP + len(records) * (SIDE + GAP)}" height="{height + 2 * GAP + LINE:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _box(box: PixelBox, scale: float, style: str) -> str:
    x1, y1, x2, y2 = (scale * side for side in box)
    return f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" {style}/>'


def main() -> None:
    options = parser(__doc__)
    options.add_argument("boxes", type=Path)
    options.add_argument("truth", type=Path)
    options.add_argument("files", nargs="+", metavar="FILE")
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    records = {record.file: record for record in read_coco(given.boxes)}
    given.out.write_text(drawn([records[file] for file in given.files], json.loads(given.truth.read_text())), "utf-8")


if __name__ == "__main__":
    main()
