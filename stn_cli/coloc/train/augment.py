"""Batches to learn from: images that hold an object, moved, scaled, turned, mirrored and tinted at random, and where it lies in them now."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops, cut
from stn_cli.coloc.model.settings import FINDER
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.kinds import Kind
from stn_cli.coloc.train.settings import AUGMENTATION
from stn_cli.geometry import points_to_box
from stn_cli.media.cache import Cache
from stn_cli.runtime.seeds import DRAW_STRIDE, SEED_STRIDE
from stn_cli.stn import Affine, Transformation

EVERY = slice(None)
"""All images of a step."""


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """A batch, and where R objects of a kind lie in it.

    Attributes:
        scene: B images.
        centre: (B, R, 2) of the objects, normalised coordinates of the drawn images.
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


@dataclass(frozen=True, slots=True)
class Objects:
    """R objects of each of B images, as the search placed them.

    Attributes:
        centre: (B, R, 2).
        half_sides: (B, R, 2).
        angles: (B, R) radians.
        present: (B, R) whether they are believed to be there.
    """

    centre: Tensor
    half_sides: Tensor
    angles: Tensor
    present: Tensor


@dataclass(frozen=True, slots=True)
class Placement:
    """How B pictures are laid out anew: x_source = linear x_drawn + shift.

    Attributes:
        linear: (B, 2, 2), turn after zoom.
        shift: (B, 2).
        zoom: (B, 2) along the axes of the drawn picture; the first is negative where it is mirrored.
        turn: (B,) radians.
    """

    linear: Tensor
    shift: Tensor
    zoom: Tensor
    turn: Tensor

    def back(self, points: Tensor) -> Tensor:
        """Where points (B, P, 2) of the source lie in the drawn pictures."""
        return torch.linalg.solve(self.linear, (points - self.shift[:, None]).transpose(-1, -2)).transpose(-1, -2)


@dataclass(frozen=True, slots=True)
class Augmenter:
    """What one level of a finder learns from.

    Attributes:
        cache: the images.
        kind: where the search places the objects.
        transform: the level's transformation.
        reduction: by how much the level's images are smaller than the letterboxes; ignored by fine levels.
        fine: whether the level looks through windows around the objects instead of at whole letterboxes.
        batch: B, images per step.
        hideable: how many of the first maps that f_loc reads are components, of which some are hidden.
    """

    cache: Cache
    kind: Kind
    transform: Transformation
    reduction: int
    fine: bool
    batch: int
    hideable: int = 0

    def augment(
        self, g: torch.Generator, jitter: float = 1.0, among: Tensor | None = None, own: slice = EVERY
    ) -> TrainingBatch:
        """Draw a batch.

        A fine level sees a window around one object, off by what a coarse level may miss it by.

        Args:
            g: decides what is drawn.
            jitter: share of the full random changes of place, scale, form and colour. They teach the network to find the object anywhere;
                towards the end of a training they fall to 0, so that it ends on images as it will be given them.
            among: indices of the images that may be drawn; all when left out.
            own: which of the B images are wanted; they are the same whatever the part.

        Returns:
            The images of this part, each with its objects.
        """
        index = self._draw_images(g, among)
        device = self.kind.boxes.device
        rectangles = self.cache.rectangles()[index].to(device)
        objects = self._objects(index, g)
        placement = self.place(objects, g, jitter)
        side = FINDER.window_side if self.fine else self.cache.letterbox // self.reduction
        affine = torch.cat([placement.linear, placement.shift[..., None]], -1)
        drawn = cut(self.cache.batch(index[own], device), Crops(Affine(), affine[own, None]), side)[:, 0]
        images = self.tint(drawn, g, jitter, own)
        centre, half = placement.back(objects.centre), objects.half_sides / placement.zoom.abs()[:, None]
        present = objects.present
        if not self.fine:  # what was moved off the picture cannot be learnt
            present = present & (centre.abs() < 1).all(-1)
        shown = self.shown(g, own)
        scene = Scene(images, points_to_box(placement.back(_corners(rectangles)))[own])
        names = [self.cache.names[i] for i in index[own].tolist()]
        shape = self._shape(half, objects.angles, placement)
        return TrainingBatch(scene, centre[own], shape[own], half[own], present[own], shown, names)

    def shown(self, g: torch.Generator, own: slice = EVERY) -> Tensor:
        """Which components f_loc is shown of each image of a batch.

        Args:
            g: decides.
            own: which of the B images are wanted.

        Returns:
            (B, k) weights, 0 for what is hidden.
        """
        hidden = torch.rand((self.batch, self.hideable), generator=g) < AUGMENTATION.hidden
        return ((~hidden).to(self.kind.boxes.device, torch.float32) / (1 - AUGMENTATION.hidden))[own]

    def place(self, objects: Objects, g: torch.Generator, jitter: float = 1.0) -> Placement:
        """Where pictures are moved to, how much they are scaled, stretched and turned, and whether they are mirrored.

        Args:
            objects: of B images.
            g: decides.
            jitter: share of the full random changes.

        Returns:
            The pictures' own map; it is chosen so that the first object of each lands where the dice say.
        """
        centre, half = objects.centre[:, 0], objects.half_sides[:, 0]
        zoom = self._zoom(half, g, jitter)
        turn = centre.new_zeros(len(centre))
        if self.transform.angle is not None:
            turn = self._uniform(g, len(centre)) * turning(self.kind)
        cos, sin = turn.cos(), turn.sin()
        linear = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2) * zoom[:, None]
        if self.fine:
            moved = self._uniform(g, len(centre), 2) * AUGMENTATION.off_window
        else:
            reach = (1 - AUGMENTATION.inside * (half / zoom.abs())).clamp(min=0.0)
            shift = self._uniform(g, len(centre), 2) * AUGMENTATION.shift * jitter
            moved = torch.linalg.solve(linear, centre) + shift
            moved = torch.maximum(torch.minimum(moved, reach), -reach)
        return Placement(linear, centre - (linear @ moved[..., None])[..., 0], zoom, turn)

    def tint(self, images: Tensor, g: torch.Generator, jitter: float = 1.0, own: slice = EVERY) -> Tensor:
        """Show images in another light: brightness, each channel's strength, and what is added to all.

        Args:
            images: (B, 3, h, w) in [0, 1], or a part of them.
            g: decides.
            jitter: share of the full random changes.
            own: which part it is of the images of a step.

        Returns:
            As many images, in [0, 1].
        """
        n, most = len(images) if own == EVERY else self.batch, AUGMENTATION.colour * jitter
        gain = 1 + most * (self._uniform(g, n, 1, 1, 1) + 0.5 * self._uniform(g, n, 3, 1, 1))
        return (images * gain[own] + 0.5 * most * self._uniform(g, n, 1, 1, 1)[own]).clamp(0, 1)

    def _draw_images(self, g: torch.Generator, among: Tensor | None) -> Tensor:
        """Indices (B,) of images that hold an object, of any where none does."""
        among = torch.arange(len(self.cache)) if among is None else among
        held = among[self.kind.present.any(1).cpu()[among]]
        held = held if len(held) else among
        return held[torch.randint(len(held), (self.batch,), generator=g)]

    def _objects(self, index: Tensor, g: torch.Generator) -> Objects:
        """The objects of some images (B,); for a fine level one of each, drawn from those that are there."""
        at = index.to(self.kind.boxes.device)
        boxes, angles, present = self.kind.boxes[at], self.kind.angles[at], self.kind.present[at]
        if self.fine:
            pick = (torch.rand((len(at), boxes.shape[1]), generator=g).to(boxes.device) * present).argmax(1)
            rows = torch.arange(len(at), device=boxes.device)
            boxes, angles, present = boxes[rows, pick][:, None], angles[rows, pick][:, None], present[rows, pick][:, None]
        half = ((boxes[..., 2:] - boxes[..., :2]) / 2).clamp(min=1e-3)
        return Objects((boxes[..., :2] + boxes[..., 2:]) / 2, half, angles, present)

    def _zoom(self, half: Tensor, g: torch.Generator, jitter: float) -> Tensor:
        """How many times as large a part of the source the drawn pictures show (B, 2), for objects of half sides (B, 2)."""
        n = len(half)
        zoom = (self._uniform(g, n, 1) * AUGMENTATION.scale * jitter).exp().expand(n, 2).clone()
        if self.fine:
            zoom = zoom * FINDER.context * half.amax(-1, keepdim=True)
        if self.kind.kind != "rigid":
            zoom[:, 0] *= torch.where(self._uniform(g, n) < 0, -1.0, 1.0)
            if self.transform.log_sides == 2 and self.transform.angle is None:  # other crops could not follow
                stretch = (self._uniform(g, n) * AUGMENTATION.stretch * jitter).exp()
                zoom[:, 0] *= stretch
                zoom[:, 1] /= stretch
        return zoom

    def _shape(self, half: Tensor, angles: Tensor, placement: Placement) -> Tensor:
        """Objects of half sides (B, R, 2) in the drawn pictures, that stood at angles (B, R), in the transformation's terms (B, R, k)."""
        shape, at = self.transform.shape_of_box(half), self.transform.angle
        if at is None:
            return shape
        angle = placement.zoom[:, :1].sign() * angles - placement.turn[:, None]
        return torch.cat([shape[..., :at], angle[..., None], shape[..., at + 1 :]], -1)

    def _uniform(self, g: torch.Generator, *shape: int) -> Tensor:
        """Numbers in [-1, 1), the same on every device."""
        return (torch.rand(shape, generator=g) * 2 - 1).to(self.kind.boxes.device)


def _corners(rectangles: Tensor) -> Tensor:
    """The corners (B, 4, 2) of rectangles (B, 4)."""
    x1, y1, x2, y2 = rectangles.unbind(-1)
    return torch.stack([torch.stack(corner, -1) for corner in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))], 1)


def turning(kind: Kind) -> float:
    """How far pictures are turned at random: all around where the search found objects at all angles, else a little.

    Args:
        kind: whose angles count.

    Returns:
        The largest turn, radians.
    """
    angles = kind.angles[kind.present] if bool(kind.present.any()) else kind.angles
    steady = torch.hypot(angles.cos().mean(), angles.sin().mean())
    return math.pi if float(steady) < AUGMENTATION.steady else AUGMENTATION.turn


def draw_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step: they depend on the seed and the step alone, so that a resumed run draws the same.

    Args:
        seed: of the training.
        step: its number, from 0.

    Returns:
        A generator on the CPU.
    """
    return torch.Generator().manual_seed((seed * SEED_STRIDE + step * DRAW_STRIDE + 1) % (2**63))
