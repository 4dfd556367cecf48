"""Records with masks: which pixels of the image are the objects'."""

from __future__ import annotations

from dataclasses import replace

from stn_cli.coloc.masks.objects import object_masks
from stn_cli.errors import UsageError
from stn_cli.media.given import Picture, as_pixels
from stn_cli.records import ImageRecord
from stn_cli.run_lengths import encode_mask


def with_masks(image: Picture, record: ImageRecord) -> ImageRecord:
    """Find out which pixels are the objects'.

    Args:
        image: the one that the record is of, at full resolution: a path, a Pillow image, or (H, W, 3) uint8 RGB.
        record: what was found in it.

    Returns:
        The same record, each of its objects with a `mask`; `decode_mask` turns one into an array.

    Raises:
        InputError: the file cannot be used.
        UsageError: something else than a picture was given, or one of another size.
    """
    pixels = as_pixels(image)
    size = pixels.shape[0], pixels.shape[1]
    if size != (record.height, record.width):
        why = f"it has {size[1]} x {size[0]} pixels, the record {record.width} x {record.height}"
        raise UsageError("the image is not the one of the record", record.file, why, "Give both of one image")
    boxes, scores = [found.box for found in record.objects], [found.score for found in record.objects]
    masks = object_masks(pixels, boxes, sure=scores)
    objects = tuple(
        replace(found, mask=encode_mask(own.pixels, (own.left, own.top), size))
        for found, own in zip(record.objects, masks, strict=True)
    )
    return replace(record, objects=objects)
