"""Search for a thing that changes its form: what lies inside the crops, against what lies outside them.

A mean-pooled embedding makes the triplet margin of a window the mean of its cells' margins, so that every window of every image
is judged from one map per image. Cells are quantised into words (k-means over the data set); the margin of a word is its
log-likelihood ratio, inside the crops against outside them and at the images' borders. Each image takes the window with the
largest sum of (margin - threshold): the largest window that satisfies the margin, in closed form. Then the words' margins are computed anew.
"""

from __future__ import annotations

import math
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
"""What the centre is favoured by in the first rounds, standard deviations of the margin map."""
FIRST_ROUNDS, OWN_ROUNDS = 4, 3
FADED_PRIOR = {False: 0.09, True: 0.45}
"""What is left of it afterwards, without and with guidance."""
GUIDED_GAIN, START_GAIN = 0.1, 0.5
"""By how much the criterion must rise before guidance, or another start than the centre, is believed."""
MOST_BORDER = 0.75
COMPONENTS = 2
"""Principal components of the cells that searches also start from, with either sign."""
OUTSIDE = -5.0
"""What a cell beside the image counts, standard deviations: no window gains by reaching out."""
SIDES = (*(0.1 * 1.2**i for i in range(13)), 1.0)
MAX_ASPECT = 4.1


Sides = tuple[float, float] | None


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

    def close(self, taken: Tensor | None) -> None:
        """Take cells in boxes (N, K, 4), normalised canvas boxes, for no part of the images."""
        if taken is None:
            return
        h, w = self.words.shape[-2:]
        scale = taken.new_tensor([w / 2, h / 2, w / 2, h / 2])
        for box in ((taken + 1) * scale).unbind(1):
            self.valid &= ~inside_mask(box, (h, w))
        self.border &= self.valid


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


@dataclass(slots=True)
class Shares:
    """How often each word lies inside the crops, and outside them or at a border: (K,) each, every image counting the same."""

    inside: Tensor
    outside: Tensor

    def margins(self, own: Tensor | None = None) -> Tensor:
        """The margin of each word: the log of its share inside over its share outside.

        Args:
            own: (N, K) shares outside the crop of each image; half of the outside is then the image's own.

        Returns:
            (1, K), or (N, K) with `own`.
        """
        least = 0.05 / len(self.inside)
        outside = self.outside[None] if own is None else (self.outside[None] + own) / 2
        return ((self.inside[None] + least) / (outside + least)).log()


def word_shares(cells: Cells, inside: Tensor, count: int) -> tuple[Shares, Tensor]:
    """Shares of words inside and outside of crops (N, h, w); also the outside of each image (N, K). Border cells count three times."""
    inside = inside & cells.valid
    outside = cells.valid & ~inside
    hi = histogram(cells.words, inside, count)
    ho = histogram(cells.words, outside, count) + 2 * histogram(cells.words, cells.border & outside, count)
    hi = hi / hi.sum(1, keepdim=True).clamp(min=1)
    ho = ho / ho.sum(1, keepdim=True).clamp(min=1)
    return Shares(hi.mean(0), ho.mean(0)), ho


def margin_map(margins: Tensor, words: Tensor) -> Tensor:
    """Margins of words (1 or N, K) and words of cells (N, h, w) -> the smoothed margin of each cell (N, h, w)."""
    read = margins.expand(len(words), -1).gather(1, words.flatten(1)).view_as(words)
    return blur(read[:, None], SMOOTHING)[:, 0]


def otsu(values: Tensor) -> Tensor:
    """The threshold that splits values (M,) into two groups of least variance."""
    v = values.sort().values
    v = v[:: max(1, len(v) // 4096)].double()
    n, c = len(v), v.cumsum(0)
    i = torch.arange(1, n, device=v.device)
    low, high = c[:-1] / i, (c[-1] - c[:-1]) / (n - i)
    return v[((i * (n - i)) * (high - low).square()).argmax()].to(values.dtype)


def largest_windows(surplus: Tensor, sides: Sides = None) -> tuple[Tensor, Tensor]:
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
        shares: of the words inside and outside.
        guided: whether the guidance of the centre and of each image's own background was believed.
        threshold: of the margin map, at which a cell counts for the object.
        spread: of the margin map.
        boxes: (N, 4) chosen windows, normalised canvas boxes.
        contrast: (mean margin inside - mean outside) / spread, over the set.
        criterion: what starts are chosen by, see `criterion`.
    """

    vocabulary: Vocabulary
    shares: Shares
    guided: bool
    threshold: float
    spread: float
    boxes: Tensor
    contrast: float
    criterion: float

    def margin_map(self, appearance: Tensor) -> Tensor:
        """Cells (B, C, h, w) -> the margin of each, smoothed (B, h, w)."""
        return margin_map(self.shares.margins(), self.vocabulary.assign(appearance))


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
    sides: Sides = None,
    taken: Tensor | None = None,
) -> Region:
    """Search from several starts; the plainest is kept unless another's criterion is clearly higher.

    Args:
        encoder: weighs the channels.
        appearance: (N, C, h, w) of the set.
        rectangles: (N, 4).
        seed: of the k-means.
        words: K.
        sides: smallest and largest allowed longer side of a window, shares of the canvas.
        taken: (N, K, 4) boxes of objects that were found before, where this one is not.
    """
    generator = torch.Generator().manual_seed(seed)
    N, _, h, w = appearance.shape
    blank = lay_out(torch.zeros((N, h, w), dtype=torch.long, device=appearance.device), rectangles)
    every = appearance.movedim(1, -1)[blank.valid]  # (M, C)
    vocabulary = learn_words(every, encoder.groups(every), words, generator)
    cells = lay_out(vocabulary.assign(appearance), rectangles)
    cells.close(taken)
    centre = -2 * cells.off_centre
    best = iterate(vocabulary, cells, centre, guided=False, sides=sides)
    guided = iterate(vocabulary, cells, centre, guided=True, sides=sides)
    if guided.criterion > best.criterion + GUIDED_GAIN:
        best = guided
    for start in component_maps(vocabulary, appearance, every):
        other = iterate(vocabulary, cells, start, guided=False, sides=sides)
        if other.criterion > best.criterion + START_GAIN:
            best = other
    return best


def component_maps(vocabulary: Vocabulary, appearance: Tensor, every: Tensor) -> list[Tensor]:
    """The set's first principal components as maps (N, h, w), with either sign."""
    standard = (every - vocabulary.centre) / vocabulary.spread
    _, vectors = torch.linalg.eigh(standard.T @ standard)  # ascending
    x = (appearance.movedim(1, -1) - vocabulary.centre) / vocabulary.spread
    maps = [blur((x @ vectors[:, -1 - k])[:, None], SMOOTHING)[:, 0] for k in range(min(COMPONENTS, vectors.shape[1]))]
    return [sign * m for m in maps for sign in (1, -1)]


def iterate(vocabulary: Vocabulary, cells: Cells, start: Tensor, *, guided: bool, sides: Sides) -> Region:
    """Windows from margins, margins from windows, for some rounds.

    Args:
        vocabulary: the words.
        cells: the set.
        start: (N, h, w) margin map of the first round.
        guided: hold on to the centre, and in the last rounds tell the object from each image's own background too.
        sides: as for `search_region`.
    """
    h, w = cells.words.shape[-2:]
    count = len(vocabulary.words)
    margins = start
    for turn in range(ROUNDS):
        values = margins[cells.valid]
        prior = CENTRE_PRIOR if turn < FIRST_ROUNDS else FADED_PRIOR[guided]
        boxes = choose_windows(margins, cells, otsu(values), values.std(), prior, sides)
        inside = inside_mask(boxes, (h, w))
        shares, own = word_shares(cells, inside, count)
        late = guided and turn >= ROUNDS - OWN_ROUNDS
        margins = margin_map(shares.margins(own if late else None), cells.words)
    seen = contrast(margins, inside, cells.valid)
    covered = (cells.border & inside).sum((1, 2)) / cells.border.sum((1, 2)).clamp(min=1)
    values = margin_map(shares.margins(), cells.words)[cells.valid]
    return Region(
        vocabulary,
        shares,
        guided,
        float(otsu(values)),
        float(values.std().clamp(min=1e-6)),
        normalise_cells(boxes, (h, w)),
        seen,
        criterion(seen, float(covered.mean())),
    )


def criterion(contrast: float, covered: float) -> float:
    """What starts are chosen by: contrast less twice the share of the border that is covered.

    Crops that take in nearly everything have hardly anything to be compared with: their contrast means nothing.
    """
    return contrast - 2 * covered if covered <= MOST_BORDER else -math.inf


def choose_windows(
    margins: Tensor, cells: Cells, threshold: Tensor | float, spread: Tensor | float, prior: float, sides: Sides
) -> Tensor:
    """The largest window of each image that satisfies the margin, the centre favoured by `prior`: (N, 4) in cells."""
    surplus = (margins - threshold) / max(float(spread), 1e-6) - prior * cells.off_centre
    return largest_windows(surplus.masked_fill(~cells.valid, OUTSIDE), sides)[0]


def contrast(margins: Tensor, inside: Tensor, valid: Tensor) -> float:
    """(mean margin inside - mean margin outside) in standard deviations, over the images of a set."""
    i, o = inside & valid, valid & ~inside
    mean_i = (margins * i).sum((1, 2)) / i.sum((1, 2)).clamp(min=1)
    mean_o = (margins * o).sum((1, 2)) / o.sum((1, 2)).clamp(min=1)
    return float((mean_i - mean_o).mean() / margins[valid].std().clamp(min=1e-6))


def apply_region(
    region: Region, appearance: Tensor, rectangles: Tensor, sides: Sides = None, taken: Tensor | None = None
) -> Tensor:
    """The window of each image: (N, C, h, w), (N, 4) -> normalised canvas boxes (N, 4); `taken` as for `search_region`."""
    cells = lay_out(region.vocabulary.assign(appearance), rectangles)
    cells.close(taken)
    size = (cells.words.shape[-2], cells.words.shape[-1])
    margins = margin_map(region.shares.margins(), cells.words)
    prior = FADED_PRIOR[region.guided]
    boxes = choose_windows(margins, cells, region.threshold, region.spread, prior, sides)
    for _ in range(OWN_ROUNDS if region.guided else 0):
        _, own = word_shares(cells, inside_mask(boxes, size), len(region.vocabulary.words))
        margins = margin_map(region.shares.margins(own), cells.words)
        values = margins[cells.valid]
        boxes = choose_windows(margins, cells, otsu(values), values.std(), prior, sides)
    return normalise_cells(boxes, size)
