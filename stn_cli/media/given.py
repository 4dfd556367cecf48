"""Pictures that Python callers give: paths, Pillow images, arrays."""

from __future__ import annotations

import os
from typing import cast

import numpy as np
from PIL import Image, ImageOps

from stn_cli.errors import InputError, UsageError
from stn_cli.media.decode import Pixels, load
from stn_cli.media.header import Unusable

Picture = Pixels | Image.Image | str | os.PathLike[str]
"""What an image can be given as."""


def as_pixels(image: object) -> Pixels:
    """A picture as upright (H, W, 3) uint8 RGB.

    Args:
        image: a path, a Pillow image (what is transparent is laid over white, EXIF's orientation is applied), or such an array.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: the file cannot be used; the message names it.
        UsageError: it is something else.
    """
    if isinstance(image, str | os.PathLike):
        return _from_file(image)
    if isinstance(image, Image.Image):
        turned = ImageOps.exif_transpose(image).convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned).convert("RGB"))
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or dtype != np.uint8:
        given = f"{type(image).__name__} of {dtype} {tuple(shape)}" if shape is not None else type(image).__name__
        raise UsageError("an image is a path, a Pillow image, or an array (H, W, 3) of uint8, RGB", given)
    return cast(Pixels, image)


def _from_file(path: str | os.PathLike[str]) -> Pixels:
    try:
        return load(path)
    except Unusable as reason:
        why = "no such file" if str(reason) == "vanished" else reason
        raise InputError("image cannot be used", os.fspath(path), why) from None
