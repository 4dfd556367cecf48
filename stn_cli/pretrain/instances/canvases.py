"""Canvases with known objects, composed on the device that learns from them.

What is pasted must not be told by the pasting: silhouettes filled with stuff are pasted in the same way and are no objects; outlines are
soft, and colours, sharpness, noise and compression change over the finished canvas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.instances.network import STRIDE
from stn_cli.pretrain.instances.finish import disguise
from stn_cli.pretrain.instances.plan import SLOTS, Dice, Mix, Plan, area, draw_plan, whole_area
from stn_cli.pretrain.instances.stock import Stock

LEAST_SEEN = 0.4
"""Share of an object that must be seen; of one with less the learner is told nothing."""
LEAST_SIDE = 4.0
"""Shorter side of what is seen, pixels."""
BEYOND = 1.3
"""Longer side, in sides of the canvas, from which a thing is too near."""
PLAIN = 0.15
"""Share of backgrounds that are a plain gradient."""


@dataclass(frozen=True, slots=True)
class Canvases:
    """A batch and its truth.

    Attributes:
        images: (B, 3, S, S) in [0, 1].
        boxes: (B, K, 4) x1, y1, x2, y2 of what is seen of each object, pixels.
        known: (B, K) whether there is such an object to be found.
        unsure: (B, K) whether too little of it is seen to say.
        seen: (B, K, S / 4, S / 4) share of each cell in which it is the topmost.
        labels: (B, K) classes.
    """

    images: Tensor
    boxes: Tensor
    known: Tensor
    unsure: Tensor
    seen: Tensor
    labels: Tensor


def compose(stock: Stock, n: int, side: int, seed: int, mix: Mix | None = None) -> Canvases:
    """Make n canvases.

    Args:
        stock: on the device where they are made.
        n: canvases.
        side: pixels, a multiple of 4.
        seed: of all random numbers.
        mix: of kinds of canvases; the usual one when left out.

    Returns:
        The batch and its truth.
    """
    dice = Dice(n, stock.alpha.device, seed)
    plan = draw_plan(stock, side, dice, mix or Mix())
    grid = _pixels(side, dice.device)
    as_it_is = plan.natural[:, None, None, None]
    images = torch.where(as_it_is, _whole_pictures(stock, plan, grid), _background(stock, grid, dice))
    stuff = [_texture(stock, grid, dice, scenes=False) for _ in range(2)]
    alphas = []
    for k in range(SLOTS):
        alpha, colours = _layer(stock, plan, k, grid, stuff, dice)
        pasted = images + alpha * (colours - images)
        images = pasted if k else torch.where(as_it_is, images, pasted)
        alphas.append(alpha[:, 0])
    seen, unseen = [], torch.ones_like(alphas[0])
    for alpha in reversed(alphas):
        seen.append(alpha * unseen)
        unseen = unseen * (1 - alpha)
    visible = torch.stack(seen[::-1], 1)  # (B, K, S, S)
    boxes, some = seen_boxes(visible)
    share = visible.sum((2, 3)) / whole_area(stock, plan).clamp(min=1)
    big = (boxes[..., 2:] - boxes[..., :2]).amin(-1) >= LEAST_SIDE
    extent = stock.extents[plan.which]
    longer = (extent[..., 2:] - extent[..., :2]).amax(-1) / area(plan.affine).sqrt()
    near = longer > BEYOND * side
    known = plan.is_object & some & (share >= LEAST_SEEN) & big & ~near
    cells = F.avg_pool2d(visible, STRIDE)
    return Canvases(
        disguise(images, dice.generator), boxes, known, plan.is_object & some & ~known & ~near, cells, stock.labels[plan.which]
    )


def seen_boxes(visible: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes around masks.

    Args:
        visible: (B, K, S, S) share of each pixel that is the object's.

    Returns:
        Boxes (B, K, 4) in pixels, and (B, K) whether anything is seen.
    """
    mask = visible > 0.5
    out = []
    for axis in (2, 3):
        line = mask.any(axis)
        first, last = line.float().argmax(-1), line.shape[-1] - line.flip(-1).float().argmax(-1)
        out.append((first, last))
    (x1, x2), (y1, y2) = out
    return torch.stack([x1, y1, x2, y2], -1).float(), mask.flatten(2).any(-1)


def _pixels(side: int, device: torch.device) -> Tensor:
    """Centres of a canvas's pixels (S, S, 3) as x, y, 1."""
    at = torch.arange(side, device=device, dtype=torch.float32) + 0.5
    return torch.stack(
        [at[None].expand(side, side), at[:, None].expand(side, side), torch.ones((side, side), device=device)], -1
    )


def _layer(stock: Stock, plan: Plan, k: int, pixels: Tensor, stuff: list[Tensor], dice: Dice) -> tuple[Tensor, Tensor]:
    """Alpha (B, 1, S, S) and colours (B, 3, S, S) of a slot."""
    which, affine = plan.which[:, k], plan.affine[:, k]
    grid = torch.einsum("hwc,bdc->bhwd", pixels, affine)
    both = torch.cat([stock.objects[which], stock.alpha[which]], 1).float() / 255
    step = area(affine).sqrt() * both.shape[-1] / 2  # source pixels to a canvas pixel
    both = _softened(both, step * dice.uniform(0.7, 1.5))
    drawn = F.grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    colours, alpha = drawn[:, :3], drawn[:, 3:]
    colours = torch.where(plan.is_stuff[:, k, None, None, None], stuff[k % len(stuff)], colours)
    gain, tint = dice.uniform(0.75, 1.25, 1, 1, 1), dice.uniform(0.9, 1.1, 3, 1, 1)
    there = (plan.is_object | plan.is_stuff)[:, k, None, None, None]
    return alpha * there, (colours * gain * tint).clamp(0, 1)


def _softened(images: Tensor, step: Tensor) -> Tensor:
    """Blur images (B, C, S, S) as far as sampling every `step` (B,) pixels asks for, so that small ones do not glitter."""
    level = step.clamp(min=1).log2()[:, None, None, None]
    out, coarse = images, images
    for k in range(3):
        coarse = F.avg_pool2d(coarse, 2)
        wide = F.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)
        out = torch.lerp(out, wide, (level - k).clamp(0, 1))
    return out


def _whole_pictures(stock: Stock, plan: Plan, pixels: Tensor) -> Tensor:
    """The hindmost slots' pictures with all that is in them (B, 3, S, S)."""
    grid = torch.einsum("hwc,bdc->bhwd", pixels, plan.affine[:, 0])
    pictures = stock.pictures[plan.which[:, 0]].float() / 255
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _background(stock: Stock, pixels: Tensor, dice: Dice) -> Tensor:
    """Scenes, and stuff with borders between that may be hard or soft; or a plain gradient (B, 3, S, S)."""
    images, at = _texture(stock, pixels, dice, scenes=True), pixels[..., :2] / len(pixels) - 0.5
    for share in (0.5, 0.3):
        angle, place = dice.uniform(0, 2 * math.pi, 1, 1), dice.uniform(-0.4, 0.4, 1, 1)
        wave = dice.uniform(0, 0.15, 1, 1) * (at[..., 0] * dice.uniform(3, 20, 1, 1) + dice.uniform(0, 6, 1, 1)).sin()
        slope = (at[..., 0] * angle.cos() + at[..., 1] * angle.sin() - place + wave) * dice.uniform(1, 6, 1, 1).exp()
        there = dice.below(share, 1, 1, 1)
        images = torch.lerp(images, _texture(stock, pixels, dice, scenes=False), slope.sigmoid()[:, None] * there)
    low, high = dice.uniform(0, 1, 3, 1, 1), dice.uniform(-0.15, 0.15, 3, 1, 1)
    plain = (low + high * (at[..., 0] * angle.cos() + at[..., 1] * angle.sin())[:, None]).clamp(0, 1)
    return torch.where(dice.below(PLAIN, 1, 1, 1), plain, images)


def _texture(stock: Stock, pixels: Tensor, dice: Dice, *, scenes: bool) -> Tensor:
    """A piece of a scene, mirrored on and on where the canvas is larger (B, 3, S, S)."""
    side = pixels.shape[0]
    index = (dice.uniform(0, 1) * len(stock.scenes)).long()
    half = dice.uniform(0.35, 1.0, 1, 1, 1) if scenes else dice.uniform(0.12, 0.5, 1, 1, 1)
    times = dice.uniform(0.0, math.log(3.0), 1, 1, 1).exp()
    times = torch.where(dice.below(0.6 if scenes else 0.1, 1, 1, 1), 1.0, times)
    middle = dice.uniform(-1, 1, 1, 1, 2) * (1 - half)
    at = (pixels[..., :2] * (2 / side) - 1) * times + dice.uniform(-1, 1, 1, 1, 2) * (times > 1)
    mirrored = 1 - ((at + 1).remainder(4) - 2).abs()  # a triangle wave between -1 and 1
    images = stock.scenes[index].float() / 255
    step = (half * times)[:, 0, 0, 0] * (images.shape[-1] / side)
    images = _softened(images, step * dice.uniform(0.7, 1.5))
    grid = mirrored * half * torch.where(dice.below(0.5, 1, 1, 1), -1.0, 1.0) + middle
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
