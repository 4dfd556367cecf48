"""What lies where on canvases: how many things, which, of what size, side by side or apart, cut by an edge or seen whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.pretrain.instances.stock import Stock

SLOTS = 10
"""Things that a canvas can hold, objects and stuff together."""
SMALLEST = 8.0
"""Longest side of an object, pixels."""
LARGEST = 0.95
"""The same, as a share of the canvas."""
FREE, CROWD, COPIES = range(3)
BORDERS = (0.6, 0.82)
"""Where a number drawn from [0, 1) is below the first, objects are of any class; below the second, of one class, side by side; else copies."""
EDGED = 0.25
"""Share of freely placed objects that the canvas's edge cuts where their own picture's did."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of canvases.

    Attributes:
        natural: share that begins with a whole picture, its object in its own place, so that nothing can be told by the pasting.
        close: share that begins with a close-up of a part of an object: in these there is nothing to be found.
        stuff: share with silhouettes of stuff.
    """

    natural: float = 0.3
    close: float = 0.12
    stuff: float = 0.4


@dataclass(frozen=True, slots=True)
class Plan:
    """What lies where, back to front.

    Attributes:
        which: (B, K) cutouts.
        is_object, is_stuff: (B, K); a slot that is neither is empty.
        affine: (B, K, 2, 3) canvas pixels to a cutout's normalised coordinates.
        natural: (B,) whether the hindmost is its whole picture.
    """

    which: Tensor
    is_object: Tensor
    is_stuff: Tensor
    affine: Tensor
    natural: Tensor


class Dice:
    """Random numbers for a batch of n, on a device."""

    def __init__(self, n: int, device: torch.device, seed: int) -> None:
        self.n, self.device = n, device
        self.generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(n, *shape) in [low, high)."""
        return low + (high - low) * torch.rand((self.n, *shape), generator=self.generator, device=self.device)

    def below(self, share: float, *shape: int) -> Tensor:
        """(n, *shape), true in a share of cases."""
        return self.uniform(0, 1, *shape) < share

    def pick(self, items: Tensor, *shape: int) -> Tensor:
        """(n, *shape) of items (M,)."""
        return items[(self.uniform(0, 1, *shape) * len(items)).long().clamp(max=len(items) - 1)]


def draw_plan(stock: Stock, side: int, dice: Dice, mix: Mix) -> Plan:
    """Draw how many things there are, which, of what size, and where.

    Args:
        stock: of cutouts.
        side: of the canvases, pixels.
        dice: draws.
        mix: of kinds of canvases.

    Returns:
        The plan of as many canvases as `dice` draws for.
    """
    K = SLOTS
    chance = dice.uniform(0, 1)
    mode = (chance > BORDERS[0]).long() + (chance > BORDERS[1]).long()
    free = (mode == FREE)[:, None]
    count = (dice.uniform(0, 1).pow(1.6) * 8).long() + 1
    count = torch.where(free[:, 0], count, count + 1)
    stuff = (dice.uniform(0, 3.99).long() + 1) * dice.below(mix.stuff)
    rank = dice.uniform(0, 1, K).argsort(1)
    is_object = rank < count[:, None]
    is_stuff = ~is_object & (rank < (count + stuff)[:, None])
    which, edged = _choose(stock, mode, dice)
    edged &= is_object & free

    box = stock.extents[which]
    half = (box[..., 2:] - box[..., :2]) / 2  # of the cutout's own box, normalised
    most = LARGEST * side / count.float().clamp(max=9).pow(0.4)
    base = SMALLEST * (most / SMALLEST).pow(dice.uniform(0, 1).pow(0.6))
    spread = torch.where(free, dice.uniform(-0.7, 0.7, K), dice.uniform(-0.15, 0.15, K)).exp()
    size = (base[:, None] * spread).clamp(SMALLEST, LARGEST * side)
    aspect = dice.uniform(-0.2, 0.2, K).exp() ** 0.5
    angle = dice.uniform(-0.35, 0.35, K) * dice.below(0.5, K)
    angle = torch.where(dice.below(0.12, K), dice.uniform(-math.pi, math.pi, K), angle).masked_fill(edged, 0)
    flip = torch.where(dice.below(0.5, K), -1.0, 1.0)
    scale = half.amax(-1) / (size / 2)  # normalised units to a pixel
    reach = half / scale[..., None] * torch.stack([1 / aspect, aspect], -1)  # half sides on the canvas, pixels, unturned
    centre = _places(mode, size, reach, side, dice)
    centre = _to_edges(centre, reach, stock.cut[which], flip, side, edged, dice)

    cos, sin = angle.cos(), angle.sin()
    sx, sy = scale * flip * aspect, scale / aspect
    linear = torch.stack([torch.stack([sx * cos, sx * sin], -1), torch.stack([-sy * sin, sy * cos], -1)], -2)
    offset = (box[..., 2:] + box[..., :2]) / 2 - (linear @ centre[..., None])[..., 0]
    plan = Plan(which, is_object, is_stuff, torch.cat([linear, offset[..., None]], -1), dice.below(mix.natural + mix.close))
    _put_pictures(stock, plan, side, dice, mix.close / max(1e-6, mix.natural + mix.close))
    return plan


def _put_pictures(stock: Stock, plan: Plan, side: int, dice: Dice, close: float) -> None:
    """Where a canvas begins with a picture as it is, that is its hindmost slot."""
    half = torch.where(dice.below(close), dice.uniform(0.15, 0.4), dice.uniform(0.6, 1.0))
    middle = dice.uniform(-1, 1, 2) * (1 - half)[:, None]
    flip = torch.where(dice.below(0.5), -1.0, 1.0)
    across, zero = half * 2 / side, torch.zeros_like(half)
    rows = torch.stack([across * flip, zero, middle[:, 0] - half * flip]), torch.stack([zero, across, middle[:, 1] - half])
    affine = torch.stack(rows).permute(2, 0, 1)  # (B, 2, 3)
    there = plan.natural
    plan.which[:, 0] = torch.where(there, dice.pick(torch.cat([stock.whole, stock.edged])), plan.which[:, 0])
    plan.affine[:, 0] = torch.where(there[:, None, None], affine, plan.affine[:, 0])
    plan.is_object[:, 0] |= there
    plan.is_stuff[:, 0] &= ~there


def _choose(stock: Stock, mode: Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
    """Cutouts (B, K), and which of them an edge cuts."""
    which = dice.pick(stock.whole, SLOTS)
    first = (dice.uniform(0, 1) * len(stock.whole)).long()
    near = (first[:, None] + dice.uniform(-12, 12, SLOTS).long()).clamp(
        0, len(stock.whole) - 1
    )  # neighbours share a class mostly
    which = torch.where((mode == CROWD)[:, None], stock.whole[near], which)
    which = torch.where((mode == COPIES)[:, None], stock.whole[first][:, None], which)
    if not len(stock.edged):
        return which, torch.zeros_like(which, dtype=torch.bool)
    edged = dice.below(EDGED, SLOTS) & (mode == FREE)[:, None]
    return torch.where(edged, dice.pick(stock.edged, SLOTS), which), edged


def _places(mode: Tensor, size: Tensor, reach: Tensor, side: int, dice: Dice) -> Tensor:
    """Centres (B, K, 2), pixels."""
    K = SLOTS
    room = (side - 2 * reach).clamp(min=0)
    inside = reach.clamp(max=side / 2) + room * dice.uniform(0, 1, K, 2)
    anywhere = dice.uniform(0, side, K, 2)
    free = torch.where(dice.below(0.15, K, 1), anywhere, inside)
    # side by side: along a line, in one or two rows, near enough to touch
    per_row = torch.where(dice.below(0.35), 3, K)[:, None]
    order = torch.arange(K, device=size.device)[None]
    step = size[:, :1] * dice.uniform(0.35, 1.1, 1)
    upright = dice.below(0.25, 1)
    along, across = (order % per_row) * step, (order // per_row) * step
    line = torch.stack([torch.where(upright, across, along), torch.where(upright, along, across)], -1)
    start = dice.uniform(0, 0.6, 2)[:, None] * side
    turn = dice.uniform(-0.3, 0.3, 1)[..., None]
    line = (
        start + line + turn * line.flip(-1) * line.new_tensor([-1.0, 1.0]) + size[..., None] * dice.uniform(-0.15, 0.15, K, 2)
    )
    return torch.where((mode == FREE)[:, None, None], free, line)


def _to_edges(centre: Tensor, reach: Tensor, cut: Tensor, flip: Tensor, side: int, edged: Tensor, dice: Dice) -> Tensor:
    """Move what its own picture's border cut to the canvas's edge on that side."""
    left, top, right, bottom = cut.unbind(-1)
    left, right = torch.where(flip < 0, right, left), torch.where(flip < 0, left, right)
    inset = 1 - dice.uniform(0, 0.2, SLOTS, 2)
    low, high = reach * inset, side - reach * inset
    low_cut, high_cut = torch.stack([left, top], -1), torch.stack([right, bottom], -1)
    moved = torch.where(low_cut, low, torch.where(high_cut, high, centre))
    return torch.where(edged[..., None], moved, centre)


def whole_area(stock: Stock, plan: Plan) -> Tensor:
    """The area that each thing would cover on an endless canvas.

    Args:
        stock: of cutouts.
        plan: of canvases.

    Returns:
        (B, K) pixels.
    """
    return stock.alpha.float().mean((1, 2, 3))[plan.which] / 255 * 4 / area(plan.affine)


def area(affine: Tensor) -> Tensor:
    """How much normalised area one pixel of a canvas covers.

    Args:
        affine: (..., 2, 3) from a canvas's pixels to normalised coordinates.

    Returns:
        (...).
    """
    return (affine[..., 0, 0] * affine[..., 1, 1] - affine[..., 0, 1] * affine[..., 1, 0]).abs()
