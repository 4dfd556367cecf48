"""A look at each image before a data set is made: whether its boxes are of this image, and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stn_cli.data_sets.alike import DECODED, Thumbnail, thumbnail
from stn_cli.media.decode import Header, Unusable, decoded, opened, read_header
from stn_cli.records import ImageRecord, Localisation, Skipped


@dataclass(frozen=True, slots=True)
class LookedAt:
    """An image that was looked at.

    Attributes:
        record: its boxes, with the size of the upright image.
        path: of its file; None where it was not needed.
        header: of the file.
        look: for comparison with others; None where it is not needed.
    """

    record: ImageRecord
    path: str | None = None
    header: Header | None = None
    look: Thumbnail | None = None


def look_at(record: ImageRecord, path: str | None, max_pixels: int, *, pixels: bool) -> LookedAt | Skipped:
    """See that an image is there and as large as its boxes say.

    Args:
        record: its boxes; width and height are 0 where they are not known.
        path: of the image; None where it was not found.
        max_pixels: images with more are skipped.
        pixels: also see what it looks like.

    Returns:
        The image, or why it is left out.
    """
    if path is None:
        return Skipped(record.file, "the image is not there")
    try:
        with opened(path) as (file, _):
            header = read_header(file, max_pixels)
        look, size = None, (header.width, header.height)
        if pixels:
            with decoded(path, max_pixels=max_pixels, long_side=DECODED) as image:
                look, size = thumbnail(image.pixels), image.size
    except Unusable as reason:
        return Skipped(record.file, str(reason))
    told = record.width, record.height
    if all(told) and told != size:
        turned = ", which EXIF turns" if header.orientation >= 5 and told == size[::-1] else ""
        return Skipped(
            record.file, f"boxes of another size: of {told[0]} x {told[1]}, the image is {size[0]} x {size[1]}{turned}"
        )
    return LookedAt(_sized(record, size), path, header, look)


def _sized(record: ImageRecord, size: tuple[int, int]) -> ImageRecord:
    w, h = size
    return replace(record, width=w, height=h, objects=tuple(replace(o, width=w, height=h) for o in record.objects))


def within(record: ImageRecord) -> tuple[ImageRecord, list[Skipped], int]:
    """Boxes cut to their image.

    Args:
        record: an image, its size known.

    Returns:
        The image with the boxes of which something lies in it; a row for each other one; and how many were cut by more than a pixel.
    """
    kept, skipped, cut = list[Localisation](), list[Skipped](), 0
    for found in record.objects:
        x1, y1, x2, y2 = found.box
        box = max(0.0, x1), max(0.0, y1), min(float(record.width), x2), min(float(record.height), y2)
        if not (box[0] < box[2] and box[1] < box[3]):
            shown = ", ".join(f"{v:g}" for v in found.box)
            empty = x2 <= x1 or y2 <= y1
            why = "a box without area" if empty else f"a box outside the image of {record.width} x {record.height}"
            skipped.append(Skipped(record.file, f"{why}: {shown}"))
            continue
        cut += max(abs(a - b) for a, b in zip(box, found.box, strict=True)) > 1
        kept.append(replace(found, box=box))
    return replace(record, objects=tuple(kept)), skipped, cut
