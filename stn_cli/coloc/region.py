"""Search for a thing that changes its form: what lies inside the crops, against what lies outside them.

A mean-pooled embedding makes the triplet margin of a window the mean of its cells' margins, so that every window of every image
is judged from one map per image. Cells are quantised into words (k-means over the data set); the margin of a word is its
log-likelihood ratio, inside the crops against outside them and at the images' borders. Each image takes the window with the
largest sum of (margin - threshold): the largest window that satisfies the margin, in closed form. Then the words' margins are computed anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.encoder import Encoder
from stn_cli.coloc.features import blur
from stn_cli.geometry import index_to_normalised

WORDS = 200
ROUNDS = 10
SMOOTHING = 1.0
"""Sigma of the margin map's blur, cells."""
BORDER = 0.08
"""Width of the border band whose cells count as background, share of the image's side."""
CENTRE_PRIOR = 0.3
"""What the centre is favoured by, in standard deviations of the margin map; fades with the rounds."""
FADED_PRIOR = 0.3 * CENTRE_PRIOR
OUTSIDE = -5.0
"""What a cell beside the image counts, standard deviations: no window gains by reaching out."""
SIDES = (*(0.1 * 1.2**i for i in range(13)), 1.0)
MAX_ASPECT = 4.1


@dataclass(slots=True)
class Vocabulary:
    """Words for cells.

    Attributes:
        centre: (C,), spread: (C,) each channel is standardised by these.
        words: (K, C) centroids.
    """

    centre: Tensor
    spread: Tensor
    words: Tensor

    def assign(self, cells: Tensor) -> Tensor:
        """Cells (B, C, h, w) -> the nearest word of each (B, h, w)."""
        x = (cells.movedim(1, -1) - self.centre) / self.spread
        return (self.words.square().sum(-1) - 2 * x @ self.words.T).argmin(-1)


def learn_words(cells: Tensor, scale: Tensor, count: int, generator: torch.Generator, rounds: int = 15) -> Vocabulary:
    """k-means on a sample of cells.

    Args:
        cells: (M, C).
        scale: (C,) what each channel is divided by.
        count: K.
        generator: of the sample and the first centroids.
    """
    centre = cells.mean(0)
    pick = torch.randperm(len(cells), generator=generator)[:20000].to(cells.device)
    x = (cells[pick] - centre) / scale
    k = min(count, len(x))
    words = x[torch.randperm(len(x), generator=generator)[:k].to(x.device)].clone()
    for _ in range(rounds):
        nearest = (words.square().sum(1) - 2 * x @ words.T).argmin(1)
        member = F.one_hot(nearest, k).to(x)  # a matrix product sums the same way in every run; index_add does not
        size = member.sum(0)[:, None]
        words = torch.where(size > 0, member.T @ x / size.clamp(min=1), words)
    return Vocabulary(centre, scale, words)


@dataclass(slots=True)
class Cells:
    """A set's images as words on a grid of cells.

    Attributes:
        words: (N, h, w) word of each cell.
        valid: (N, h, w) whether the cell's centre lies on the image.
        border: (N, h, w) whether it lies in the band along the image's border.
        off_centre: (N, h, w) squared distance from the image's middle, 1 at the middle of a side.
    """

    words: Tensor
    valid: Tensor
    border: Tensor
    off_centre: Tensor


def lay_out(words: Tensor, rectangles: Tensor) -> Cells:
    """Place words (N, h, w) on images that lie at `rectangles` (N, 4) of their canvases."""
    h, w = words.shape[-2:]
    x1, y1, x2, y2 = (v[:, None, None] for v in rectangles.unbind(-1))
    xs = index_to_normalised(torch.arange(w, device=words.device, dtype=rectangles.dtype), w)[None, None]
    ys = index_to_normalised(torch.arange(h, device=words.device, dtype=rectangles.dtype), h)[None, :, None]
    u, v = ((xs - x1) / (x2 - x1)).expand(words.shape), ((ys - y1) / (y2 - y1)).expand(words.shape)
    inner = torch.minimum(torch.minimum(u, 1 - u), torch.minimum(v, 1 - v))  # distance to the border, share of the side
    valid = inner > 0
    return Cells(words, valid, valid & (inner < BORDER), 4 * ((u - 0.5).square() + (v - 0.5).square()))


def histogram(words: Tensor, mask: Tensor, count: int) -> Tensor:
    """How many cells of each word lie under the mask: (N, h, w), (N, h, w) -> (N, K)."""
    member = torch.zeros((len(words), count), device=words.device)
    return member.scatter_add_(1, words.flatten(1), mask.to(member).flatten(1))


def word_margins(cells: Cells, inside: Tensor, count: int) -> Tensor:
    """The margin of each word (K,): log of its share inside the crops over its share outside; every image counts the same."""
    inside = inside & cells.valid
    outside = cells.valid & ~inside
    hi = histogram(cells.words, inside, count)
    ho = histogram(cells.words, outside, count) + 2 * histogram(cells.words, cells.border & outside, count)
    pi = (hi / hi.sum(1, keepdim=True).clamp(min=1)).mean(0)
    po = (ho / ho.sum(1, keepdim=True).clamp(min=1)).mean(0)
    least = 0.05 / count
    return ((pi + least) / (po + least)).log()


def otsu(values: Tensor) -> Tensor:
    """The threshold that splits values (M,) into two groups of least variance."""
    v = values.sort().values
    v = v[:: max(1, len(v) // 4096)].double()
    n, c = len(v), v.cumsum(0)
    i = torch.arange(1, n, device=v.device)
    low, high = c[:-1] / i, (c[-1] - c[:-1]) / (n - i)
    return v[((i * (n - i)) * (high - low).square()).argmax()].to(values.dtype)


def largest_windows(surplus: Tensor, sides: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
    """The window with the largest sum, over every place and a ladder of widths and heights.

    Args:
        surplus: (N, h, w) margin less threshold; strongly negative outside the image.
        sides: smallest and largest allowed longer side of a window, shares of the canvas.

    Returns:
        boxes (N, 4) in cells, and their sums (N,).
    """
    N, h, w = surplus.shape
    table = F.pad(surplus.cumsum(1).cumsum(2), (1, 0, 1, 0))  # summed-area table: every window in constant time
    best = surplus.new_full((N,), -torch.inf)
    boxes = torch.zeros((N, 4), dtype=torch.long, device=surplus.device)
    ladder = SIDES if sides is None else tuple(sorted({*SIDES, *sides}))
    heights = sorted({max(2, round(h * s)) for s in ladder})
    widths = sorted({max(2, round(w * s)) for s in ladder})
    for bh in heights:
        for bw in widths:
            if max(bh / h, bw / w) > MAX_ASPECT * min(bh / h, bw / w):
                continue
            if sides and not sides[0] * 0.95 <= max(bh / h, bw / w) <= sides[1] * 1.05:
                continue
            sums = table[:, bh:, bw:] - table[:, :-bh, bw:] - table[:, bh:, :-bw] + table[:, :-bh, :-bw]
            value, at = sums.flatten(1).max(1)
            y, x = at // sums.shape[2], at % sums.shape[2]
            better = value > best
            best = torch.where(better, value, best)
            boxes = torch.where(better[:, None], torch.stack([x, y, x + bw, y + bh], 1), boxes)
    return boxes, best


def inside_mask(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells (N, h, w) inside boxes (N, 4) given in cells."""
    x = torch.arange(size[1], device=boxes.device)[None, None]
    y = torch.arange(size[0], device=boxes.device)[None, :, None]
    x1, y1, x2, y2 = (v[:, None, None] for v in boxes.unbind(-1))
    return (x >= x1) & (x < x2) & (y >= y1) & (y < y2)


@dataclass(slots=True)
class Region:
    """What a search for a loose thing found.

    Attributes:
        vocabulary: the words.
        margins_of_words: (K,).
        threshold: of the margin map, at which a cell counts for the object.
        spread: of the margin map.
        boxes: (N, 4) chosen windows, normalised canvas boxes.
        contrast: (mean margin inside - mean outside) / spread, over the set.
        history: share of the images whose window moved, per round.
    """

    vocabulary: Vocabulary
    margins_of_words: Tensor
    threshold: float
    spread: float
    boxes: Tensor
    contrast: float
    history: list[float]

    def margin_map(self, appearance: Tensor) -> Tensor:
        """Cells (B, C, h, w) -> the margin of each, smoothed (B, h, w)."""
        words = self.vocabulary.assign(appearance)
        return blur(self.margins_of_words[words][:, None], SMOOTHING)[:, 0]


def normalise_cells(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes in cells (N, 4) -> normalised canvas boxes (N, 4)."""
    h, w = size
    return boxes * boxes.new_tensor([2 / w, 2 / h, 2 / w, 2 / h], dtype=torch.float32) - 1


def search_region(
    encoder: Encoder,
    appearance: Tensor,
    rectangles: Tensor,
    *,
    seed: int,
    words: int = WORDS,
    sides: tuple[float, float] | None = None,
) -> Region:
    """Iterate windows and words' margins, from a start at the centre.

    Args:
        encoder: weighs the channels.
        appearance: (N, C, h, w) of the set.
        rectangles: (N, 4).
        seed: of the k-means.
        words: K.
        sides: smallest and largest allowed longer side of a window, shares of the canvas.
    """
    generator = torch.Generator().manual_seed(seed)
    N, _, h, w = appearance.shape
    blank = lay_out(torch.zeros((N, h, w), dtype=torch.long, device=appearance.device), rectangles)
    every = appearance.movedim(1, -1)[blank.valid]  # (M, C)
    vocabulary = learn_words(every, encoder.groups(every), words, generator)
    count = len(vocabulary.words)
    cells = lay_out(vocabulary.assign(appearance), rectangles)
    margins = -2 * cells.off_centre
    boxes = torch.zeros((N, 4), dtype=torch.long, device=appearance.device)
    history = []
    for turn in range(ROUNDS):
        values = margins[cells.valid]
        threshold, spread = otsu(values), values.std().clamp(min=1e-6)
        prior = CENTRE_PRIOR if turn < 4 else FADED_PRIOR
        surplus = (margins - threshold) / spread - prior * cells.off_centre
        before = boxes
        boxes, _ = largest_windows(surplus.masked_fill(~cells.valid, OUTSIDE), sides)
        history.append(float((boxes != before).any(1).float().mean()))
        inside = inside_mask(boxes, (h, w))
        of_words = word_margins(cells, inside, count)
        margins = blur(of_words[cells.words][:, None], SMOOTHING)[:, 0]
    values = margins[cells.valid]
    return Region(
        vocabulary,
        of_words,
        float(otsu(values)),
        float(values.std().clamp(min=1e-6)),
        normalise_cells(boxes, (h, w)),
        contrast(margins, inside, cells.valid),
        history,
    )


def contrast(margins: Tensor, inside: Tensor, valid: Tensor) -> float:
    """(mean margin inside - mean margin outside) in standard deviations, over the images of a set."""
    i, o = inside & valid, valid & ~inside
    mean_i = (margins * i).sum((1, 2)) / i.sum((1, 2)).clamp(min=1)
    mean_o = (margins * o).sum((1, 2)) / o.sum((1, 2)).clamp(min=1)
    return float((mean_i - mean_o).mean() / margins[valid].std().clamp(min=1e-6))


def apply_region(region: Region, appearance: Tensor, rectangles: Tensor, sides: tuple[float, float] | None = None) -> Tensor:
    """The window of each image: (N, C, h, w), (N, 4) -> normalised canvas boxes (N, 4)."""
    margins = region.margin_map(appearance)
    cells = lay_out(torch.zeros(margins.shape, dtype=torch.long, device=margins.device), rectangles)
    surplus = (margins - region.threshold) / region.spread - FADED_PRIOR * cells.off_centre
    boxes, _ = largest_windows(surplus.masked_fill(~cells.valid, OUTSIDE), sides)
    return normalise_cells(boxes, (margins.shape[-2], margins.shape[-1]))
