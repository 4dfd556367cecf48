"""The steps of the optimiser: regression onto the search's crops, then the triplet loss through the sampler."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.crops import Crops, cut, random_boxes
from stn_cli.coloc.model.finder import CONTEXT, FINE, Finder, ImageLocalisation
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.kinds import Kind
from stn_cli.coloc.score.scorers import Scorer
from stn_cli.errors import DivergedError
from stn_cli.geometry import pixel_index, points_to_box
from stn_cli.media.cache import Cache
from stn_cli.stn import Affine, HeatmapLocalisation, Transformation
from stn_cli.stn.localisation import Seen

SCALE_JITTER = 0.2
SHIFT_JITTER = 0.5
FINE_JITTER = 0.35
"""How far off the middle of its window a fine level must find the object."""
SMALL_TURN = 0.2
"""Radians that pictures of upright things are turned by at most."""
COLOUR_JITTER = 0.15
ASPECT_JITTER = 0.3
"""Largest random stretch of a loose thing, log of each side: a set of fifty images holds few forms, new images others."""
HIDDEN = 0.5
"""Share of the components of a cell that f_loc does not see, others for each image of a batch: it would know fifty images by heart."""
RANDOM_PATCHES = 8
MATCHED = 512
"""Images at most over which the crops' sizes are compared with the search's."""
ANCHOR = 0.5
"""Weight of the regression loss while fine-tuning: the triplet loss alone lets crops drift where it is flat."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch, and where R objects of a kind lie in it.

    Attributes:
        scene: B images.
        centre: (B, R, 2) of the objects.
        shape: (B, R, k) in the transformation's terms.
        half_sides: (B, R, 2).
        present: (B, R) whether there is an object to learn from.
        shown: (B, k) weights of the first k maps that f_loc reads, 0 for what is hidden.
        names: of the images.
    """

    scene: Scene
    centre: Tensor
    shape: Tensor
    half_sides: Tensor
    present: Tensor
    shown: Tensor
    names: list[str]


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step depend on the seed and the step alone, so that a resumed run draws the same."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step * 7919 + 1) % (2**63))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a level of a finder learns from.

    Attributes:
        cache: the images.
        kind: where the search places the objects.
        transform: the level's transformation.
        reduction: by how much the level's images are smaller than the letterboxes; ignored by fine levels.
        fine: whether the level looks through windows around the objects instead of at whole letterboxes.
        batch: images per step.
        hideable: how many of the first maps that f_loc reads are components, of which some are hidden.
    """

    cache: Cache
    kind: Kind
    transform: Transformation
    reduction: int
    fine: bool
    batch: int
    hideable: int = 0


def draw(plan: Plan, g: torch.Generator, jitter: float = 1.0) -> Sample:
    """Images that hold an object, with the crops that the search chose: moved, scaled, tinted, mirrored where the thing is loose,
    turned where the crops turn.

    A fine level sees a window around one object, off by what a coarse level may miss it by.

    Args:
        plan: what to learn from.
        g: decides what is drawn.
        jitter: share of the full random changes of place, scale, form and colour. They teach the network to find the object anywhere; towards
            the end of a training they fall to 0, so that it ends on images as it will be given them.
    """
    kind, cache = plan.kind, plan.cache
    device = kind.boxes.device
    held = kind.present.any(1).nonzero()[:, 0].cpu()
    held = held if len(held) else torch.arange(len(cache))
    index = held[torch.randint(len(held), (plan.batch,), generator=g)]
    at = index.to(device)
    n = len(index)
    images, rectangles = cache.batch(index, device), cache.rectangles()[index].to(device)
    boxes, angles, present = kind.boxes[at], kind.angles[at], kind.present[at]

    def uniform(*shape: int) -> Tensor:
        return (torch.rand(shape, generator=g) * 2 - 1).to(device)

    if plan.fine:
        pick = (torch.rand((n, boxes.shape[1]), generator=g).to(device) * present).argmax(1)
        rows = torch.arange(n, device=device)
        boxes, angles, present = boxes[rows, pick][:, None], angles[rows, pick][:, None], present[rows, pick][:, None]
    centre, half = (boxes[..., :2] + boxes[..., 2:]) / 2, ((boxes[..., 2:] - boxes[..., :2]) / 2).clamp(min=1e-3)
    zoom = (uniform(n, 1) * SCALE_JITTER * jitter).exp().expand(n, 2).clone()
    if plan.fine:
        zoom = zoom * CONTEXT * half[:, 0].amax(-1, keepdim=True)
    if kind.kind != "rigid":
        zoom[:, 0] *= torch.where(uniform(n) < 0, -1.0, 1.0)
        if plan.transform.log_sides == 2 and plan.transform.angle is None:  # other crops could not follow
            stretch = (uniform(n) * ASPECT_JITTER * jitter).exp()
            zoom[:, 0] *= stretch
            zoom[:, 1] /= stretch
    turn = uniform(n) * turning(kind) if plan.transform.angle is not None else torch.zeros(n, device=device)
    # the picture's own linear map, x_source = linear x_target + shift, is chosen so that the first object lands at `moved`
    cos, sin = turn.cos(), turn.sin()
    linear = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2) * zoom[:, None]
    size = half[:, 0] / zoom.abs()
    if plan.fine:
        moved = uniform(n, 2) * FINE_JITTER
    else:
        reach = (1 - 0.6 * size).clamp(min=0.0)
        moved = torch.linalg.solve(linear, centre[:, 0]) + uniform(n, 2) * SHIFT_JITTER * jitter
        moved = torch.maximum(torch.minimum(moved, reach), -reach)
    shift = centre[:, 0] - (linear @ moved[..., None])[..., 0]
    side = FINE if plan.fine else images.shape[-1] // plan.reduction
    affine = torch.cat([linear, shift[..., None]], -1)
    images = cut(images, Crops(Affine(), affine[:, None]), side)[:, 0]
    tint = COLOUR_JITTER * jitter
    gain = 1 + tint * (uniform(n, 1, 1, 1) + 0.5 * uniform(n, 3, 1, 1))
    images = (images * gain + 0.5 * tint * uniform(n, 1, 1, 1)).clamp(0, 1)

    def back(points: Tensor) -> Tensor:  # (B, P, 2) of the source -> of the drawn picture
        return torch.linalg.solve(linear, (points - shift[:, None]).transpose(-1, -2)).transpose(-1, -2)

    low, high = rectangles[:, :2], rectangles[:, 2:]
    corners = torch.stack([low, torch.stack([high[:, 0], low[:, 1]], -1), high, torch.stack([low[:, 0], high[:, 1]], -1)], 1)
    targets = back(centre)
    half = half / zoom.abs()[:, None]
    shape = plan.transform.shape_of_box(half)
    if plan.transform.angle is not None:
        flip = zoom[:, :1].sign()
        angle = flip * angles - turn[:, None]
        shape = torch.cat([shape[..., : plan.transform.angle], angle[..., None], shape[..., plan.transform.angle + 1 :]], -1)
    if not plan.fine:  # what was moved off the picture cannot be learnt
        present = present & (targets.abs() < 1).all(-1)
    shown = (torch.rand((n, plan.hideable), generator=g) >= HIDDEN).to(device, torch.float32) / (1 - HIDDEN)
    names = [cache.names[i] for i in index.tolist()]
    return Sample(Scene(images, points_to_box(back(corners))), targets, shape, half, present, shown, names)


def turning(kind: Kind) -> float:
    """How far pictures are turned at random: all around where the search found objects at all angles, else a little."""
    angles = kind.angles[kind.present] if bool(kind.present.any()) else kind.angles
    steady = torch.hypot(angles.cos().mean(), angles.sin().mean())
    return math.pi if float(steady) < 0.7 else SMALL_TURN


def regression_loss(body: HeatmapLocalisation, seen: Seen, sample: Sample) -> Tensor:
    """Cross-entropy of the heatmap at the objects' centres, and the poses' errors in units of the objects' sizes.

    One object's pose is read off the whole heatmap; of several, each is read around its own place.
    """
    objects = sample.centre.shape[1]
    total = seen.logits.new_zeros(())
    count = sample.present.sum().clamp(min=1)
    for r in range(objects):
        target, here = sample.centre[:, r], sample.present[:, r].to(seen.logits)
        centre, shape, log_heat = body.read(seen, None if objects == 1 else body.around(target, seen.logits))
        if objects > 1:
            log_heat = seen.logits.flatten(1).log_softmax(1).view_as(seen.logits)
        at_centre = -read_bilinear(log_heat, target) / math.log(log_heat[0].numel())
        place = F.smooth_l1_loss(
            (centre - target) / sample.half_sides[:, r], torch.zeros_like(centre), beta=0.2, reduction="none"
        )
        form = shape_error(body.transform, shape, sample.shape[:, r])
        if body.transform.angle is not None:
            # while the heatmap is still flat its mean angle says nothing: the cells around the object are taught
            form = form + turn_error(
                body.turn(seen, body.around(target, seen.logits)), sample.shape[:, r, body.transform.angle]
            )
        total = total + (here * (at_centre + place.mean(1) + form)).sum()
    return total / count


def shape_error(transform: Transformation, shape: Tensor, wanted: Tensor) -> Tensor:
    """Smooth absolute error of shapes (B, k), averaged over what they hold but angles: (B,)."""
    kept = [i for i in range(shape.shape[1]) if i != transform.angle]
    if not kept:
        return shape.sum(1) * 0
    return F.smooth_l1_loss(shape[:, kept], wanted[:, kept], beta=0.2, reduction="none").mean(1)


def turn_error(vector: Tensor, angle: Tensor) -> Tensor:
    """Squared distance of vectors (B, 2) from (cos, sin) of angles (B,): unlike the angle's own error it is smooth all around."""
    return (vector - torch.stack([angle.cos(), angle.sin()], -1)).square().sum(-1)


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


def finetune_loss(localisation: ImageLocalisation, scorer: Scorer, sample: Sample, g: torch.Generator, margin: float) -> Tensor:
    """The triplet objective of the transformer's own crops, gradients through the sampler, and an anchor to the search."""
    seen = localisation.look(sample.scene, sample.shown)
    body = localisation.body
    anchor = regression_loss(body, seen, sample)
    objects = sample.centre.shape[1]
    where = None if objects == 1 else body.around(sample.centre[:, 0], seen.logits)
    centre, shape, _ = body.read(seen, where)
    if not scorer.free_size:
        n = body.transform.log_sides
        shape = torch.cat([shape[:, :n].detach(), shape[:, n:]], 1)
    crops = Crops(body.transform, body.transform.matrix(body.transform.theta(centre, shape))[:, None])
    box = crops.detach().boxes()[:, 0]
    random = Crops.of_boxes(random_boxes(sample.scene.rectangles, RANDOM_PATCHES, box[:, 2:] - box[:, :2], g))
    return scorer.loss(sample.scene, crops, random, margin) + ANCHOR * anchor


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


def some(count: int, most: int, seed: int) -> Tensor:
    """Indices of a set of `count`: all of them, or `most` drawn at random, in their order: figures about a set need no more of it."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most].sort().values


@torch.no_grad()
def predict(
    finder: Finder, cache: Cache, device: torch.device, index: Tensor, depth: int | None = None, chunk: int = 64
) -> Crops:
    """The crops (B, R) of some images (B,), by the first `depth` levels."""
    parts = [finder(Scene.of(cache, i, device), depth) for i in index.split(chunk)]
    return Crops(parts[0].transform, torch.cat([p.matrix for p in parts]))


@torch.no_grad()
def match_sizes(finder: Finder, kind: Kind, cache: Cache, device: torch.device, seed: int = 0) -> None:
    """Make the crops as large as the search's on average, over the images that hold an object.

    A size that is regressed as a logarithm is a geometric mean where the network is not sure: it comes out too small.
    """
    body = finder.localisation().body
    index = some(len(cache), MATCHED, seed)
    at = index.to(kind.boxes.device)
    learnt = kind.present[at, 0]
    if not body.transform.log_sides or not bool(learnt.any()):
        return
    wanted, found = (boxes[learnt, 0] for boxes in (kind.crops()[at].boxes(), predict(finder, cache, device, index).boxes()))
    ratio = ((wanted[:, 2:] - wanted[:, :2]).mean(0) / (found[:, 2:] - found[:, :2]).mean(0).clamp(min=1e-6)).log()
    count = body.transform.log_sides
    body.start[:count] += ratio if count == len(ratio) else ratio.mean()
