"""Search for a thing that keeps its form: one rigid embedding, the same in every image.

When the hinge of the objective is active it is linear in what can be chosen: each image takes the crop z with the smallest
|z - p|^2 - mean_r |z - r|^2, p the mean of all images' crops and r its own random patches; then p
is computed anew. Many restarts run at once as one matrix product. Its size is the largest at which the margin still holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.objective import SIZE_REWARD, triplet_margin_loss
from stn_cli.coloc.search.discriminant import AT_ONCE
from stn_cli.encoders import Encoder, WindowMap, map_windows
from stn_cli.stn import Pyramid, Similarity, sample_reduced

RESTARTS = 32
ROUNDS = 20
RANDOM_PATCHES = 16
LADDER = tuple(0.125 * 1.122**i for i in range(17))
"""Sides that are tried, as shares of the letterbox: .125 to .79, six to a doubling."""
UPRIGHT = (0.0,)
TURNS = tuple(i * math.pi / 8 for i in range(16))
"""Angles that crops are tried at where the transformation turns."""
MOST, MOST_TURNED = 40, 24
"""Windows along a side; turned ones are sixteen times as many."""
STRETCHES = (0.79, 0.89, 1.0, 1.12, 1.26)
"""Sides around the common one that single images may take."""


@dataclass(slots=True)
class Windows:
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
        """Embeddings (n, P, D) of some images at a time: of all of them where they fit `AT_ONCE`, and then they are kept."""
        n, p, d = len(self.inside), len(self.angles), self.maps[0].shape[2]
        at_once = max(1, AT_ONCE // max(1, p * d * self.maps[0].cells.element_size()))
        if at_once < n:
            for start in range(0, n, at_once):
                part = slice(start, min(n, start + at_once))
                yield part, self._embed(part)
            return
        if self._whole is None:
            self._whole = self._embed(slice(0, n))
        yield slice(0, n), self._whole

    def _embed(self, part: slice) -> Tensor:
        return torch.cat([m.embed(part) for m in self.maps], 1) / self.scale

    def normalise(self) -> None:
        """Divide the embeddings by what makes their mean squared norm 1 over the set."""
        self.scale, self._whole = 1.0, None
        square = torch.cat([z.square().sum(-1) for _, z in self.parts()])[self.inside]
        self.scale, self._whole = float(square.mean().sqrt().clamp(min=1e-6)) if len(square) else 1.0, None

    def take(self, images: Tensor, windows: Tensor) -> Tensor:
        """Embeddings (..., D) of single windows of single images, both (...)."""
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
        """Windows (N,) -> their boxes before they are turned about their centres (N, 4), and angles (N,)."""
        centre = self.centres[chosen]
        return torch.cat([centre - self.half, centre + self.half], 1), self.angles[chosen]

    def close(self, taken: Tensor) -> None:
        """Close windows whose centre lies in, or that cover the centre of, boxes (N, K, 4) that are taken."""
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
        square = (z.square().sum(-1) * share).sum(1)
        terms = 2 * torch.einsum("npd,nd->np", z, mean) - square[:, None]
        return terms.masked_fill(~inside, math.inf)


@dataclass(slots=True)
class RigidResult:
    """What a search for a rigid thing found.

    Attributes:
        side: of the crop, as a share of the letterbox.
        loss: the triplet margin loss of the chosen crops.
        prototype: (D,) their mean, in units in which the data set's mean squared norm is 1.
        scale: embeddings are divided by this.
        angles: that crops were tried at.
        curve: (side, loss) for every side that was tried.
    """

    side: float
    loss: float
    prototype: Tensor
    scale: float
    angles: tuple[float, ...]
    curve: list[tuple[float, float]]

    @property
    def objective(self) -> float:
        """Loss less the reward for size."""
        return self.loss - SIZE_REWARD * 2 * math.log(self.side)


def windows(
    encoder: Encoder,
    images: Tensor,
    rectangles: Tensor,
    side: float,
    scale: float | None = None,
    angles: tuple[float, ...] = UPRIGHT,
) -> Windows:
    """Embed all windows of one side (share of the letterbox): the images are scaled so that a window has `patch` pixels, and turned."""
    S = images.shape[-1]
    maps, centre_parts, angle_parts = [], [], []
    for angle in angles:
        cos, sin = math.cos(angle), math.sin(angle)
        wide = abs(cos) + abs(sin)  # a turned letterbox fits into one this much larger
        L = max(encoder.patch, round(encoder.patch * wide / side))
        rows = []
        for part in images.split(32):
            if angle == 0:
                turned = F.interpolate(part, size=(L, L), mode="bilinear", antialias=L < S, align_corners=False)
            else:
                theta = part.new_tensor([wide * cos, wide * sin, 0, 0]).expand(len(part), 4)
                turned = sample_reduced(Pyramid(part), Similarity().grid(theta, (L, L))[:, None])[:, 0]
            rows.append(map_windows(encoder, turned, MOST if angles == UPRIGHT else MOST_TURNED))
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
    found = Windows(maps, centres, torch.cat(angle_parts), half, inside, scale or 1.0)
    if scale is None:
        found.normalise()
    return found


def search_side(found: Windows, generator: torch.Generator, restarts: int = RESTARTS) -> tuple[float, Tensor, Tensor]:
    """The best prototype at one side.

    Returns:
        (loss, chosen windows (N,), prototype (D,)); the restart with the lowest triplet loss.
    """
    device = found.inside.device
    n, windows_each = found.inside.shape
    rows = torch.arange(n, device=device)[:, None]
    candidates = found.inside.flatten().nonzero().flatten()
    pick = candidates[torch.randint(len(candidates), (restarts,), generator=generator).to(device)]
    p = found.take(pick // windows_each, pick % windows_each)  # (K, D)
    chosen = torch.full((n, restarts), -1, device=device)
    terms = torch.cat([found.margin_terms(part, z) for part, z in found.parts()])
    for _ in range(ROUNDS):
        before, total, chosen = chosen, torch.zeros_like(p), torch.empty_like(chosen)
        for part, z in found.parts():
            cost = terms[part][..., None] - 2 * (z @ p.T)  # (n, P, K), up to |p|^2
            chosen[part] = cost.argmin(1)
            total += z[rows[: len(z)], chosen[part]].sum(0)
        if torch.equal(before, chosen):
            break
        p = total / n
    usable = found.inside.to(p) + 1e-12
    drawn = torch.multinomial(usable.cpu(), RANDOM_PATCHES, replacement=True, generator=generator)
    random = found.take(rows, drawn.to(device))  # (N, R, D)
    picked = found.take(rows, chosen)  # (N, K, D)
    losses = torch.stack([triplet_margin_loss(picked[:, k], random) for k in range(restarts)])
    best = int(losses.argmin())
    return float(losses[best]), chosen[:, best], p[best]


def search_rigid(
    encoder: Encoder,
    images: Tensor,
    rectangles: Tensor,
    *,
    seed: int,
    sides: tuple[float, float] | None = None,
    ladder: tuple[float, ...] = LADDER,
    angles: tuple[float, ...] = UPRIGHT,
    taken: Tensor | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> RigidResult | None:
    """Try every side of the ladder; keep the one with the best loss less size reward.

    Args:
        encoder: gives the structure.
        images: (N, 3, S, S) letterboxes.
        rectangles: (N, 4) the images on them.
        seed: of the restarts.
        sides: the smallest and the largest side to try, shares of the letterbox.
        ladder: sides that are tried, shares of the letterbox.
        angles: that crops are tried at, radians.
        taken: (N, K, 4) boxes of objects that were found before, where this one is not.
        progress: told what is being done.

    Returns:
        The rigid, or None where no window of any side fits into every image.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = sides or (0.0, 1.0)
    steps = [s for s in ladder if low <= s <= high] or [math.sqrt(low * high)]
    best: RigidResult | None = None
    curve: list[tuple[float, float]] = []
    for side in steps:
        found = windows(encoder, images, rectangles, side, angles=angles)
        if taken is not None:
            found.close(taken)
        if not bool(found.inside.any(1).all()):
            continue
        loss, _, prototype = search_side(found, generator)
        curve.append((side, loss))
        progress(f"crops of {side:.2f}: loss {loss:.3f}")
        rigid = RigidResult(side, loss, prototype, found.scale, angles, curve)
        if best is None or rigid.objective < best.objective:
            best = rigid
    return best


def apply_rigid(
    rigid: RigidResult,
    encoder: Encoder,
    images: Tensor,
    rectangles: Tensor,
    stretches: tuple[float, ...] = (1.0,),
    taken: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The window of each image that fits the rigid best, over a few sides around the common one.

    Args:
        rigid: what is looked for.
        encoder, images, rectangles, taken: as for `search_rigid`.
        stretches: sides that are tried, in units of the rigid's.

    Returns:
        boxes (N, 4) before they are turned about their centres, and angles (N,).
    """
    best_cost = torch.full((len(images),), math.inf, device=images.device)
    boxes = images.new_zeros((len(images), 4))
    angles = images.new_zeros(len(images))
    for stretch in stretches:
        side = min(1.0, rigid.side * stretch)
        found = windows(encoder, images, rectangles, side, rigid.scale, rigid.angles)
        if taken is not None:
            found.close(taken)
        if len(found.angles) == 0:
            continue
        square = rigid.prototype.square().sum()
        costs = [found.margin_terms(part, z) - 2 * z @ rigid.prototype + square for part, z in found.parts()]
        value, at = torch.cat(costs).min(1)
        rewarded = value - SIZE_REWARD * 2 * math.log(stretch)
        better = rewarded < best_cost
        best_cost = torch.where(better, rewarded, best_cost)
        box, angle = found.poses(at)
        boxes = torch.where(better[:, None], box, boxes)
        angles = torch.where(better, angle, angles)
    return boxes, angles
