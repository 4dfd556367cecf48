"""The guided filter (He et al. 2013): a map is smoothed along the edges of an image, and read at the image's full size.

In each small square the map is taken for a linear function of the colours, q = a . I + b, whose coefficients are found by least squares.
Those change slowly, so that they can be computed on a small image and applied to the colours of a large one (He and Sun 2015).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Guide:
    """An image along whose edges maps are smoothed.

    Args:
        image: (h, w, 3) from 0 to 1.
        radius: of the squares, pixels.
        edge: variance of colours at which there is an edge.
    """

    def __init__(self, image: Floats, radius: int, edge: float) -> None:
        self._image, self._size = image, (2 * radius + 1, 2 * radius + 1)
        self._mean = self._blurred(image)
        products = image[..., :, None] * image[..., None, :]  # (h, w, 3, 3)
        moments = self._blurred(products.reshape(*image.shape[:2], 9)).reshape(products.shape)
        spread = moments - self._mean[..., :, None] * self._mean[..., None, :] + edge * np.eye(3, dtype=np.float32)
        self._inverse = _inverse(spread)

    def _blurred(self, values: Floats) -> Floats:
        if values.ndim == 3 and values.shape[2] > 4:  # OpenCV's border mode takes four channels
            return np.concatenate([self._blurred(values[..., i : i + 3]) for i in range(0, values.shape[2], 3)], -1)
        return np.asarray(cv2.blur(values, self._size, borderType=cv2.BORDER_REFLECT), np.float32)

    def coefficients(self, values: Floats) -> Floats:
        """The linear function of colours that a map is near each pixel.

        Args:
            values: (h, w).

        Returns:
            (h, w, 4): a, and b.
        """
        mean = self._blurred(values)
        shared = self._blurred(self._image * values[..., None]) - self._mean * mean[..., None]
        a = (self._inverse @ shared[..., None])[..., 0]
        b = mean - (a * self._mean).sum(-1)
        return self._blurred(np.concatenate([a, b[..., None]], -1))

    def smoothed(self, values: Floats) -> Floats:
        """A map smoothed along the image's edges.

        Args:
            values: (h, w).

        Returns:
            (h, w).
        """
        return applied(self.coefficients(values), self._image)


def _inverse(matrices: Floats) -> Floats:
    """The inverses of symmetric matrices (h, w, 3, 3), by their adjugates: numpy's takes ten times as long for many small ones."""
    a, b, c = matrices[..., 0], matrices[..., 1], matrices[..., 2]
    adjugate = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], -1)
    return np.asarray(adjugate / (a * adjugate[..., 0]).sum(-1)[..., None, None], np.float32)


def applied(coefficients: Floats, image: Floats) -> Floats:
    """What a linear function of colours says of an image.

    Args:
        coefficients: (h, w, 4) of `Guide.coefficients`.
        image: (h, w, 3) from 0 to 1.

    Returns:
        (h, w).
    """
    return np.asarray((coefficients[..., :3] * image).sum(-1) + coefficients[..., 3], np.float32)
