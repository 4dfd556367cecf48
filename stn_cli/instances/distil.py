"""A student learns what a run finds: boxes with their scores, in images that are seen in other sizes, places, colours and mirrored.

Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531): what is learnt are the run's own scores, not whether they are above one half.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.geometry import box_area, clip_boxes
from stn_cli.instances.course import Course, seen_by
from stn_cli.instances.folder import placed, size_on
from stn_cli.instances.labels import CENTRAL, Labels
from stn_cli.instances.network import STRIDE
from stn_cli.instances.overlap import iou_and_giou
from stn_cli.instances.settings import DISTILLING
from stn_cli.instances.student import EVEN_SIDES, Glance, StudentNetwork


@dataclass(frozen=True, slots=True)
class Lesson:
    """An image, and what a run finds in it.

    Attributes:
        image: (3, H, W) uint8.
        boxes: (M, 4) x1, y1, x2, y2, shares of its sides.
        scores: (M,) above 0.
        kinds: (M,) of the objects, from 0.
    """

    image: Tensor
    boxes: Tensor
    scores: Tensor
    kinds: Tensor


def learn_lessons(
    network: StudentNetwork,
    lessons: Sequence[Lesson],
    side: int,
    steps: int,
    seed: int,
    rate: float = DISTILLING.rate,
    check: Callable[[str], None] = lambda _: None,
) -> StudentNetwork:
    """Learn from what a run finds.

    Args:
        network: to begin with; left as it is.
        lessons: at least one.
        side: longer side at which images are looked at, pixels.
        steps: of the optimiser.
        seed: of all random numbers.
        rate: highest learning rate.
        check: told of each tenth step; may end the learning by an exception.

    Returns:
        A copy that has learnt, on the network's device.

    Raises:
        DivergedError: the loss is not finite.
    """
    rule, draw, order = DISTILLING, random.Random(seed), list[int]()
    device = next(network.parameters()).device

    def loss_of(learner: StudentNetwork) -> Tensor:
        images, boxes, scores = _canvases(lessons, side, order, draw, learner.kinds)
        return lesson_loss(seen_by(learner, images, device), boxes.to(device), scores.to(device))

    course = Course(steps, rate, rule.warm, rule.decay, rule.longest, "to look fast", "", "Leave out --fast")
    return course.taken(network, loss_of, check, device)


def _canvases(
    lessons: Sequence[Lesson], look: int, order: list[int], draw: random.Random, kinds: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Canvases (B, 3, H, W) of lessons that are next, and their boxes (B, K, M, 4) in pixels and scores (B, K, M), 0 for none."""
    longer = int(look * draw.uniform(*DISTILLING.jitter))
    taken, images, rows = list[Lesson](), [], []
    for _ in range(DISTILLING.canvases):
        if not order:
            order += draw.sample(range(len(lessons)), len(lessons))
        taken.append(closer(lessons[order.pop()], draw))
    sizes = zip(*(size_on(lesson.image, longer) for lesson in taken), strict=True)
    high, wide = (-(-max(some) // EVEN_SIDES) * EVEN_SIDES for some in sizes)
    for lesson in taken:
        labels = Labels(lesson.boxes, lesson.scores, lesson.scores > 0)
        image, own = placed(lesson.image.float() / 255, labels, longer, (high, wide), draw)
        images.append(image)
        rows.append([(own.boxes[lesson.kinds == kind], own.weights[lesson.kinds == kind]) for kind in range(kinds)])
    count = max(1, *(len(boxes) for row in rows for boxes, _ in row))
    boxes = torch.stack([torch.stack([F.pad(b, (0, 0, 0, count - len(b))) for b, _ in row]) for row in rows])
    scores = torch.stack([torch.stack([F.pad(s, (0, count - len(s))) for _, s in row]) for row in rows])
    return torch.stack(images), boxes, scores


def closer(lesson: Lesson, draw: random.Random) -> Lesson:
    """A lesson as it is, or a part of its image that shows the best object: the same object larger, among less.

    Args:
        lesson: its best object first.
        draw: of all random numbers.

    Returns:
        The lesson; of a part only those boxes that it shows most of, cut to it.
    """
    rule, (h, w) = DISTILLING, lesson.image.shape[1:]
    share = draw.uniform(*rule.closer)
    wide, high = max(8, round(w * share)), max(8, round(h * min(1.0, share * draw.uniform(0.8, 1.25))))
    if draw.random() > rule.often_closer or wide > w or high > h or not len(lesson.boxes):
        return lesson
    x, y = draw.randint(0, w - wide), draw.randint(0, h - high)
    whole = lesson.boxes * torch.tensor([w, h, w, h]) - torch.tensor([x, y, x, y])
    seen = clip_boxes(whole, (high, wide))
    shown = box_area(seen) / box_area(whole).clamp(min=1e-6)
    if float(shown[0]) < rule.best_shown:
        return lesson
    kept = shown > rule.shown
    part = lesson.image[:, y : y + high, x : x + wide]
    return Lesson(part, seen[kept] / torch.tensor([wide, high, wide, high]), lesson.scores[kept], lesson.kinds[kept])


def lesson_loss(glance: Glance, boxes: Tensor, scores: Tensor) -> Tensor:
    """How wrong a student is: sides by generalised IoU, scores by those that are to be learnt.

    Of the cells of an object the one whose box fits best is to have the object's score, the others less by how much less theirs fit (as the
    aligned scores of TOOD, Feng et al. 2021, arXiv 2108.07755).

    Args:
        glance: of B images and K kinds.
        boxes: (B, K, M, 4) pixels.
        scores: (B, K, M), 0 where there is no box.

    Returns:
        A scalar, for each object.
    """
    fit, sides = glance.fit.flatten(0, 1), glance.boxes().flatten(0, 1)
    boxes, scores = boxes.flatten(0, 1), scores.flatten(0, 1)
    owned, owner = _owners(boxes, scores, fit.shape[-2], fit.shape[-1])
    flat = owner.flatten(1)

    def of_cells(values: Tensor) -> Tensor:
        return values.gather(1, flat).view(owner.shape)

    iou, giou = iou_and_giou(sides, boxes.gather(1, flat[..., None].expand(-1, -1, 4)).view(*owner.shape, 4))
    fits, score = iou.detach() * owned, of_cells(scores) * owned
    best = of_cells(torch.zeros_like(scores).scatter_reduce(1, flat, fits.flatten(1), "amax"))
    count = of_cells(torch.zeros_like(scores).scatter_add(1, flat, owned.flatten(1).to(scores))).clamp(min=1)
    goal = (score * fits / best.clamp(min=1e-6)).clamp(0, 1)
    off = (score / count * (1 - giou)).sum()
    right = (owned * count.rsqrt() * F.binary_cross_entropy_with_logits(fit, goal, reduction="none")).sum()
    nothing = (DISTILLING.nothing * fit.detach().sigmoid().square() * ~owned * F.softplus(fit)).sum()
    return (DISTILLING.sides * off + right + nothing) / scores.sum().clamp(min=1)


def _owners(boxes: Tensor, scores: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """Which cells (N, h, w) speak for a box, and for which of M: the smallest of those that are as likely as the others."""
    at_y, at_x = ((torch.arange(n, device=boxes.device) + 0.5) * STRIDE for n in (h, w))
    places = torch.stack(torch.meshgrid(at_x, at_y, indexing="xy"), -1)  # (h, w, 2) x, y
    middle, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    reach = (half * CENTRAL).clamp(min=DISTILLING.least_reach * STRIDE)[:, :, None, None]
    within = ((places - middle[:, :, None, None]) / reach).square().sum(-1) < 1  # (N, M, h, w)
    likely = scores[..., None, None] * within
    first = (likely > 0) & (likely >= DISTILLING.as_likely * likely.amax(1, keepdim=True))
    area = half.prod(-1)[..., None, None].expand_as(likely).masked_fill(~first, torch.inf)
    return first.any(1), area.argmin(1)
