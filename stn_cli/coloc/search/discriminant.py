"""Margins that are linear in a network's features: Fisher's discriminant of what crops hold against what is not in them.

While its hinge is active the triplet loss is linear in what can be chosen: a cell counts for the object as far as its feature lies along
mu - r, mu the mean inside the crops and r the mean of what is not. Dividing by the scatter within both (Fisher's discriminant) keeps a few loud
channels from speaking for all; half of the scatter is taken to be equal in all directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.search.layout import Layout
from stn_cli.coloc.search.settings import DENSE
from stn_cli.coloc.search.statistics import quantile
from stn_cli.encoders.gradient_maps import blur
from stn_cli.runtime.device import in_double
from stn_cli.runtime.memory import rows_at_once


@dataclass(frozen=True, slots=True)
class Projection:
    """Principal components of a set's cells.

    Attributes:
        centre: (C,) their mean.
        basis: (C, d) the components, each divided by a power of its spread.
    """

    centre: Tensor
    basis: Tensor

    @classmethod
    def of(cls, cells: Tensor, whiten: float, dimensions: int = DENSE.dimensions) -> Projection:
        """The first principal components of a set's cells.

        Args:
            cells: (M, C).
            whiten: 1 makes the components' spreads equal, 0 leaves them.
            dimensions: d, how many are kept.
        """
        return cls.several(cells.clone(), (whiten,), dimensions)[0]

    @classmethod
    def several(cls, cells: Tensor, whitens: Sequence[float], dimensions: int = DENSE.dimensions) -> list[Projection]:
        """The same components, their spreads made equal in several ways.

        Args:
            cells: (M, C); their mean is taken from them where they are, for a set's are hundreds of megabytes.
            whitens: as `whiten` of `of`.
            dimensions: d, how many are kept.
        """
        centre = cells.mean(0)
        scatter = torch.zeros((cells.shape[1],) * 2, device=cells.device, dtype=cells.dtype)
        for part in cells.split(rows_at_once(cells[0].nbytes)):
            x = part.sub_(centre)
            scatter += x.T @ x
        scatter /= len(cells)
        return [cls(centre, in_double(partial(principal, whiten=whiten, dimensions=dimensions), scatter)) for whiten in whitens]

    def __call__(self, cells: Tensor) -> Tensor:
        """Project maps (B, C, h, w) -> (B, h, w, d)."""
        whole = torch.compiler.is_compiling()  # a graph is of any number of images
        parts = (cells,) if whole else cells.split(DENSE.images_at_once)
        return torch.cat([(part.movedim(1, -1) - self.centre) @ self.basis for part in parts])


def principal(covariance: Tensor, whiten: float, dimensions: int) -> Tensor:
    """The basis of `Projection.of`.

    Args:
        covariance: (C, C) of the cells.
        whiten, dimensions: as there.

    Returns:
        (C, d), the largest component first, each with the sign that makes its sum positive.
    """
    spread, vectors = torch.linalg.eigh(covariance)
    order = torch.arange(len(spread) - 1, max(-1, len(spread) - 1 - dimensions), -1, device=spread.device)
    spread, vectors = spread[order].clamp(min=0), vectors[:, order]
    vectors = torch.where(vectors.sum(0) < 0, -vectors, vectors)  # one sign on every machine
    return vectors * (spread / spread[0].clamp(min=1e-12) + 1e-3).pow(-whiten / 2)


@dataclass(frozen=True, slots=True)
class LinearMargin:
    """margin(z) = direction . z - offset: positive nearer to the object, negative nearer to what is not.

    Attributes:
        direction: (d,).
        offset: ().
    """

    direction: Tensor
    offset: Tensor

    @classmethod
    def fit(
        cls,
        z: Tensor,
        inside: Tensor,
        layout: Layout,
        shrinkage: float | None,
        weights: Tensor | None = None,
        hard: Tensor | None = None,
    ) -> LinearMargin:
        """The discriminant of cells inside crops against those outside and along the borders.

        Args:
            z: (N, h, w, d) projected cells.
            inside: (N, h, w) which of them are in the crops.
            layout: of the set.
            shrinkage: share of the mean variance that is added to the scatter in all directions; None leaves the scatter out.
            weights: (N,) how much each image counts; all the same when None.
            hard: (N, h, w) by how much more a cell counts where it is outside; nothing when None.
        """
        counts = 1.0 if weights is None else weights[:, None, None]
        inside = inside & layout.valid
        outside = layout.valid & ~inside
        wi = inside.to(z) * (1 - 0.5 * layout.border.to(z))
        wi = wi / wi.sum((1, 2), keepdim=True).clamp(min=1e-6) * counts
        wo = outside.to(z) * (1 if hard is None else 1 + hard) + DENSE.border_weight * (layout.border & layout.valid)
        tells = (outside.sum((1, 2)) >= DENSE.least_outside).to(z)
        wo = wo / wo.sum((1, 2), keepdim=True).clamp(min=1) * tells[:, None, None] * counts
        wi, wo = wi / wi.sum().clamp(min=1e-6), wo / wo.sum().clamp(min=1e-6)
        flat = z.flatten(0, 2)
        mu, r = wi.flatten() @ flat, wo.flatten() @ flat
        direction = mu - r
        if shrinkage is not None:
            scatter = torch.zeros((len(mu), len(mu)), device=z.device, dtype=z.dtype)
            for weight, mean in ((wi, mu), (wo, r)):
                x = flat - mean
                scatter += 0.5 * (x * weight.flatten()[:, None]).T @ x
            scatter += (
                shrinkage * scatter.diagonal().mean().clamp(min=1e-9) * torch.eye(len(mu), device=z.device, dtype=z.dtype)
            )
            direction = torch.linalg.solve(scatter, direction)
        return cls(direction, (mu + r) @ direction / 2)

    def map(self, z: Tensor, smoothing: float) -> Tensor:
        """The margin of each cell.

        Args:
            z: (N, h, w, d) projected cells.
            smoothing: sigma of the blur, cells.

        Returns:
            (N, h, w).
        """
        return blur((z @ self.direction - self.offset)[:, None], smoothing)[:, 0]


def likeness(rows: Tensor, others: Tensor) -> Tensor:
    """How alike what crops hold is to what the set's crops hold: the median cosine.

    The median asks for the likeness of at least half of the set, so that a minority of something else stays unlike however alike it is
    within itself.

    Args:
        rows: (..., d) what crops hold beyond their surroundings: mean inside less mean outside.
        others: (K, d) the same of the set's crops.

    Returns:
        (...) in [-1, 1].

    >>> likeness(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0]
    """
    return quantile(F.normalize(rows, dim=-1) @ F.normalize(others, dim=-1).T, 0.5)


def unlikeness(z: Tensor, layout: Layout, smoothing: float, shrinkage: float = DENSE.unlike_shrinkage) -> Tensor:
    """How unlike a cell is to what lies along the borders of all images: the log of its Mahalanobis distance (N, h, w), 0 on average.

    Args:
        z: (N, h, w, d).
        layout: of the set.
        smoothing: sigma of the blur, cells.
        shrinkage: share of the mean variance that is added in all directions.

    Returns:
        (N, h, w).
    """
    border = (layout.border & layout.valid).to(z)
    weight = border / border.sum((1, 2), keepdim=True).clamp(min=1)
    weight = (weight / weight.sum().clamp(min=1e-6)).flatten()
    flat = z.flatten(0, 2)
    x = flat - weight @ flat
    scatter = (x * weight[:, None]).T @ x
    scatter += shrinkage * scatter.diagonal().mean().clamp(min=1e-9) * torch.eye(len(scatter), device=z.device, dtype=z.dtype)
    distance = (x * torch.linalg.solve(scatter, x.T).T).sum(1).clamp(min=1e-6).sqrt().view(z.shape[:3])
    smooth = blur(distance[:, None], smoothing)[:, 0]
    return (smooth / smooth[layout.valid].mean().clamp(min=1e-6)).log()
