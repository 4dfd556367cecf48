"""The steps of the optimiser: regression onto the search's crops, then the triplet loss through the sampler."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.judge import Judge
from stn_cli.coloc.network import ImageLocalisation
from stn_cli.coloc.patches import cut, random_boxes
from stn_cli.errors import DivergedError
from stn_cli.geometry import box_to_matrix, matrix_to_quad, pixel_index, quad_to_box
from stn_cli.media.cache import Cache
from stn_cli.stn import SpatialTransformer

SCALE_JITTER = 0.2
SHIFT_JITTER = 0.5
COLOUR_JITTER = 0.15
RANDOM_PATCHES = 8
ANCHOR = 0.5
"""Weight of the regression loss while fine-tuning: the triplet loss alone lets crops drift where it is flat."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch: images (B, 3, S, S), their outlines (B, 4), the pose of the object, centre (B, 2) and shape (B, k), and names."""

    images: Tensor
    rectangles: Tensor
    centre: Tensor
    shape: Tensor
    half_sides: Tensor
    names: list[str]


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step depend on the seed and the step alone, so that a resumed run draws the same."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step * 7919 + 1) % (2**63))


def draw(
    cache: Cache, boxes: Tensor, transformer: SpatialTransformer, batch: int, g: torch.Generator, *, mirror: bool
) -> Sample:
    """Images with the crops that the search chose, moved, scaled, tinted and (if `mirror`) mirrored at random."""
    device = boxes.device
    index = torch.randint(len(cache), (batch,), generator=g)
    images = cache.batch(index, device)
    rectangles = cache.rectangles()[index].to(device)
    box = boxes[index.to(device)]
    centre, half = (box[:, :2] + box[:, 2:]) / 2, ((box[:, 2:] - box[:, :2]) / 2).clamp(min=1e-3)

    def uniform(*shape: int) -> Tensor:
        return (torch.rand(shape, generator=g) * 2 - 1).to(device)

    zoom = (uniform(batch, 1) * SCALE_JITTER).exp().expand(batch, 2).clone()
    if mirror:
        zoom[:, 0] *= uniform(batch).sign()
    reach = (1 - 0.6 * half / zoom.abs()).clamp(min=0.0)
    moved = centre / zoom + uniform(batch, 2) * SHIFT_JITTER
    moved = torch.maximum(torch.minimum(moved, reach), -reach)
    shift = centre - zoom * moved  # x_source = zoom x_target + shift
    matrix = torch.cat([torch.diag_embed(zoom), shift[..., None]], -1)
    images = cut(images, matrix[:, None], images.shape[-1])[:, 0]
    gain = 1 + COLOUR_JITTER * (uniform(batch, 1, 1, 1) + 0.5 * uniform(batch, 3, 1, 1))
    images = (images * gain + 0.5 * COLOUR_JITTER * uniform(batch, 1, 1, 1)).clamp(0, 1)
    corners = (rectangles.view(-1, 2, 2) - shift[:, None]) / zoom[:, None]
    half = half / zoom.abs()
    shape = transformer.grid.shape_of_box(half)
    names = [cache.names[i] for i in index.tolist()]
    return Sample(images, torch.cat([corners.amin(1), corners.amax(1)], 1), moved, shape, half, names)


Look = tuple[Tensor, Tensor, Tensor]
"""What f_loc sees: centre (B, 2), shape (B, k), log of the heatmap (B, h, w)."""


def regression_loss(seen: Look, sample: Sample) -> Tensor:
    """Cross-entropy of the heatmap at the object's centre, and the pose's error in units of the object's size."""
    centre, shape, log_heat = seen
    at_centre = -read_bilinear(log_heat, sample.centre)
    place = F.smooth_l1_loss((centre - sample.centre) / sample.half_sides, torch.zeros_like(centre), beta=0.2)
    form = F.smooth_l1_loss(shape, sample.shape, beta=0.2)
    return at_centre.mean() / math.log(log_heat[0].numel()) + place + form


def read_bilinear(maps: Tensor, points: Tensor) -> Tensor:
    """Read one point of each map: (B, h, w), normalised points (B, 2) -> (B,). Masked cells do not count."""
    h, w = maps.shape[-2:]
    x = pixel_index(points[:, 0], w).clamp(0, w - 1)
    y = pixel_index(points[:, 1], h).clamp(0, h - 1)
    total, weights = torch.zeros_like(x), torch.zeros_like(x)
    rows = torch.arange(len(maps), device=maps.device)
    for dy in (0, 1):
        for dx in (0, 1):
            m, n = (x.floor() + dx).clamp(max=w - 1), (y.floor() + dy).clamp(max=h - 1)
            weight = (1 - (x - m).abs()).clamp(min=0) * (1 - (y - n).abs()).clamp(min=0)
            value = maps[rows, n.long(), m.long()]
            weight = weight * (value > -1e3)
            total, weights = total + weight * value, weights + weight
    return total / weights.clamp(min=1e-6)


def finetune_loss(transformer: SpatialTransformer, judge: Judge, sample: Sample, g: torch.Generator, margin: float) -> Tensor:
    """The triplet objective of the transformer's own crops, gradients through the sampler, and an anchor to the search."""
    localisation = transformer.localisation
    assert isinstance(localisation, ImageLocalisation)
    seen = localisation.look(sample.images, sample.rectangles)
    centre, shape, _ = seen
    if not judge.free_size:
        n = transformer.grid.log_sides
        shape = torch.cat([shape[:, :n].detach(), shape[:, n:]], 1)
    matrix = transformer.grid.matrix(transformer.grid.theta(centre, shape))[:, None]  # (B, 1, 2, 3)
    box = quad_to_box(matrix_to_quad(matrix.detach()))[:, 0]
    random = box_to_matrix(random_boxes(sample.rectangles, RANDOM_PATCHES, box[:, 2:] - box[:, :2], g))
    triplet = judge.loss(sample.images, sample.rectangles, matrix, random, margin)
    return triplet + ANCHOR * regression_loss(seen, sample)


def descend(
    loss: Tensor, optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor], step: int, names: Sequence[str] = ()
) -> tuple[float, float]:
    """One optimiser step: (loss, norm of the gradient before clipping).

    Raises:
        DivergedError: the loss or the gradient is not finite; the weights are left as they were.
    """
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(parameters, 5.0)
    value, length = float(loss.detach()), float(norm)
    if not (math.isfinite(value) and math.isfinite(length)):
        what = "loss" if not math.isfinite(value) else "gradient"
        raise DivergedError(
            f"training diverged: the {what} of step {step} is not finite",
            ", ".join(sorted(set(names))[:4]),
            "images of the batch",
            "Lower --lr; the last checkpoint is kept",
        )
    optimiser.step()
    return value, length


@torch.no_grad()
def predict(transformer: SpatialTransformer, cache: Cache, device: torch.device, chunk: int = 64) -> Tensor:
    """theta of every image, (N, theta_dim)."""
    rectangles = cache.rectangles().to(device)
    parts = [transformer.localisation(cache.batch(i, device), rectangles[i]) for i in torch.arange(len(cache)).split(chunk)]
    return torch.cat(parts)


def boxes_of(transformer: SpatialTransformer, theta: Tensor) -> Tensor:
    """theta (N, theta_dim) -> normalised canvas boxes around the crops (N, 4)."""
    return quad_to_box(matrix_to_quad(transformer.grid.matrix(theta)))
