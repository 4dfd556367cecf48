"""Every square window of one side in a set of images, embedded: what a search for a rigid thing chooses from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.search.settings import RIGID
from stn_cli.encoders import Encoder, WindowMap, map_windows
from stn_cli.runtime.memory import rows_at_once
from stn_cli.stn import Pyramid, Similarity, sample_reduced

UPRIGHT = (0.0,)
"""The only angle of windows that are not turned, radians."""


@dataclass(slots=True)
class SquareWindows:
    """Every window of one side in every image, upright and at some angles.

    Attributes:
        maps: of all images, one for each angle.
        centres: (P, 2) normalised letterbox coordinates, the same for every image.
        angles: (P,) radians, clockwise as seen on the screen.
        half: half side, a share of the letterbox.
        inside: (N, P) whether the window lies on the image.
        scale: what the embeddings are divided by.
    """

    maps: list[WindowMap]
    centres: Tensor
    angles: Tensor
    half: float
    inside: Tensor
    scale: float
    _whole: Tensor | None = None

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Embeddings (n, P, D) of some images at a time: of all of them where they fit `BYTES_AT_ONCE`, and then they are kept."""
        n, p, d = len(self.inside), len(self.angles), self.maps[0].shape[2]
        at_once = rows_at_once(p * d * self.maps[0].cells.element_size())
        if at_once < n:
            for start in range(0, n, at_once):
                part = slice(start, min(n, start + at_once))
                yield part, self._embed(part)
            return
        if self._whole is None:
            self._whole = self._embed(slice(0, n))
        yield slice(0, n), self._whole

    def _embed(self, part: slice) -> Tensor:
        start, stop, _ = part.indices(len(self.inside))
        out = self.maps[0].cells.new_empty((stop - start, len(self.angles), self.maps[0].shape[2]))
        for begin in range(start, stop, RIGID.laid_out):
            end = min(stop, begin + RIGID.laid_out)
            torch.cat([m.embed(slice(begin, end)) for m in self.maps], 1, out=out[begin - start : end - start])
        return out.div_(self.scale)

    def normalise(self) -> None:
        """Divide the embeddings by what makes their mean squared norm 1 over the set."""
        self.scale, self._whole = 1.0, None
        square = torch.cat([_squares(z) for _, z in self.parts()])[self.inside]
        self.scale, self._whole = float(square.mean().sqrt().clamp(min=1e-6)) if len(square) else 1.0, None

    def take(self, images: Tensor, windows: Tensor) -> Tensor:
        """Embeddings of single windows of single images.

        Args:
            images, windows: their numbers, of shapes that broadcast to (...).

        Returns:
            (..., D).
        """
        images, windows = torch.broadcast_tensors(images, windows)
        out: Tensor | None = None
        for part, z in self.parts():
            if len(z) == len(self.inside):
                return z[images, windows]
            out = z.new_empty((*images.shape, z.shape[-1])) if out is None else out
            here = (images >= part.start) & (images < part.stop)
            out[here] = z[images[here] - part.start, windows[here]]
        assert out is not None
        return out

    def poses(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Where windows lie.

        Args:
            chosen: (N,) their numbers.

        Returns:
            Boxes (N, 4) before they are turned about their centres, and angles (N,), radians.
        """
        centre = self.centres[chosen]
        return torch.cat([centre - self.half, centre + self.half], 1), self.angles[chosen]

    def close(self, taken: Tensor) -> None:
        """Rule out windows on objects that were found before: whose centre lies in a taken box, or that cover the centre of one.

        Args:
            taken: (N, K, 4) normalised letterbox boxes.
        """
        low, high = taken[:, None, :, :2], taken[:, None, :, 2:]  # (N, 1, K, 2)
        c = self.centres[None, :, None]  # (1, P, 1, 2)
        in_box = ((c > low) & (c < high)).all(-1).any(-1)
        covers = (((low + high) / 2 - c).abs() < self.half).all(-1).any(-1)
        self.inside &= ~(in_box | covers)

    def margin_terms(self, part: slice, z: Tensor) -> Tensor:
        """(n, P) |z|^2 - mean_r |z - r|^2 with r all windows of the same image: the part of the cost that no prototype changes.

        Args:
            part: which images, and
            z: their embeddings, from `parts`.
        """
        inside = self.inside[part]
        share = inside.to(z) / inside.sum(1, keepdim=True).clamp(min=1)
        mean = torch.einsum("npd,np->nd", z, share)
        square = (_squares(z) * share).sum(1)
        terms = 2 * torch.einsum("npd,nd->np", z, mean) - square[:, None]
        return terms.masked_fill(~inside, math.inf)


def _squares(z: Tensor) -> Tensor:
    """Squared lengths (n, P) of embeddings (n, P, D): of some images at a time, for the squares take as much memory as all embeddings."""
    out = z.new_empty(z.shape[:-1])  # small results between large ones would keep glibc from using their memory again
    for some, into in zip(z.split(RIGID.laid_out), out.split(RIGID.laid_out), strict=True):
        torch.sum(some.square(), -1, out=into)
    return out


def square_windows(
    encoder: Encoder,
    images: Tensor,
    rectangles: Tensor,
    side: float,
    scale: float | None = None,
    angles: tuple[float, ...] = UPRIGHT,
) -> SquareWindows:
    """Embed all windows of one side: the images are scaled so that a window has `encoder.patch` pixels, and turned.

    Args:
        encoder: gives the structure.
        images: (N, 3, S, S) letterboxes.
        rectangles: (N, 4) the images on them; windows must lie on these.
        side: of the windows, share of the letterbox.
        scale: what embeddings are divided by; what makes their mean squared norm 1 when left out.
        angles: that the windows are turned by, radians.

    Returns:
        All windows of the side, embedded.
    """
    S = images.shape[-1]
    maps, centre_parts, angle_parts = [], [], []
    for angle in angles:
        cos, sin = math.cos(angle), math.sin(angle)
        wide = abs(cos) + abs(sin)  # a turned letterbox fits into one this much larger
        L = max(encoder.patch, round(encoder.patch * wide / side))
        rows = []
        for part in images.split(RIGID.images_at_once):
            if angle == 0:
                turned = F.interpolate(part, size=(L, L), mode="bilinear", antialias=L < S, align_corners=False)
            else:
                theta = part.new_tensor([wide * cos, wide * sin, 0, 0]).expand(len(part), 4)
                turned = sample_reduced(Pyramid(part), Similarity().grid(theta, (L, L))[:, None])[:, 0]
            rows.append(map_windows(encoder, turned, RIGID.most_windows if angles == UPRIGHT else RIGID.most_turned))
        maps.append(replace(rows[0], cells=torch.cat([r.cells for r in rows])))
        at = wide * ((rows[0].left + encoder.patch / 2) * (2 / L) - 1)
        x, y = at.repeat(len(at)), at.repeat_interleave(len(at))
        centre_parts.append(torch.stack([cos * x - sin * y, sin * x + cos * y], -1))
        angle_parts.append(torch.full_like(x, angle))
    centres = torch.cat(centre_parts)
    half = encoder.patch / max(encoder.patch, round(encoder.patch / side))
    slack = 2 / S  # a pixel
    # of a turned window the inscribed circle must lie on the image: its corners seldom hold any of the object
    inside = (centres[None] - half >= rectangles[:, None, :2] - slack).all(-1)
    inside &= (centres[None] + half <= rectangles[:, None, 2:] + slack).all(-1)
    found = SquareWindows(maps, centres, torch.cat(angle_parts), half, inside, scale or 1.0)
    if scale is None:
        found.normalise()
    return found
