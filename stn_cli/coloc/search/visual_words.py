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

from stn_cli.coloc.search.settings import WORDS
from stn_cli.coloc.search.windows import (
    Layout,
    Sides,
    alternate,
    choose_windows,
    contrast,
    inside_mask,
    lay_out,
    normalise_cells,
    otsu,
)
from stn_cli.encoders import GradientEncoder
from stn_cli.encoders.gradient_maps import blur


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


def learn_words(
    cells: Tensor, scale: Tensor, count: int, generator: torch.Generator, rounds: int = WORDS.kmeans_rounds
) -> Vocabulary:
    """k-means on a sample of cells.

    Args:
        cells: (M, C).
        scale: (C,) what each channel is divided by.
        count: K.
        generator: of the sample and the first centroids.
    """
    centre = cells.mean(0)
    pick = torch.randperm(len(cells), generator=generator)[: WORDS.kmeans_cells].to(cells.device)
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
    """A set's images as words.

    Attributes:
        words: (N, h, w) the word of each cell.
        layout: where the images lie on the cells.
    """

    words: Tensor
    layout: Layout

    def windows(self, margins: Tensor, prior: float, sides: Sides) -> Tensor:
        """Windows (N, 4) in cells, of a margin map (N, h, w) by its own threshold and spread; the centre favoured by `prior`."""
        values = margins[self.layout.valid]
        return choose_windows(margins, self.layout, otsu(values), values.std(), prior, sides)


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
        least = WORDS.least_share / len(self.inside)
        outside = self.outside[None] if own is None else (self.outside[None] + own) / 2
        return ((self.inside[None] + least) / (outside + least)).log()


def word_shares(cells: Cells, inside: Tensor, count: int) -> tuple[Shares, Tensor]:
    """Shares of words inside and outside of crops (N, h, w); also the outside of each image (N, K). Border cells count three times."""
    inside = inside & cells.layout.valid
    outside = cells.layout.valid & ~inside
    hi = histogram(cells.words, inside, count)
    ho = histogram(cells.words, outside, count) + (WORDS.border_weight - 1) * histogram(
        cells.words, cells.layout.border & outside, count
    )
    hi = hi / hi.sum(1, keepdim=True).clamp(min=1)
    ho = ho / ho.sum(1, keepdim=True).clamp(min=1)
    return Shares(hi.mean(0), ho.mean(0)), ho


def margin_map(margins: Tensor, words: Tensor) -> Tensor:
    """Margins of words (1 or N, K) and words of cells (N, h, w) -> the smoothed margin of each cell (N, h, w)."""
    read = margins.expand(len(words), -1).gather(1, words.flatten(1)).view_as(words)
    return blur(read[:, None], WORDS.smoothing)[:, 0]


@dataclass(slots=True)
class WordsResult:
    """What a search for a loose thing found.

    Attributes:
        vocabulary: the words.
        shares: of the words inside and outside.
        guided: whether the guidance of the centre and of each image's own background was believed.
        threshold: of the margin map, at which a cell counts for the object.
        spread: of the margin map.
        boxes: (N, 4) chosen windows, normalised letterbox boxes.
        contrast: (mean margin inside - mean outside) / spread, over the set.
        criterion: what starts are chosen by, see `start_criterion`.
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


def search_words(
    encoder: GradientEncoder,
    appearance: Tensor,
    rectangles: Tensor,
    *,
    seed: int,
    words: int = WORDS.words,
    sides: Sides = None,
    taken: Tensor | None = None,
) -> WordsResult:
    """Search from several starts; the plainest is kept unless another's criterion is clearly higher.

    Args:
        encoder: weighs the channels.
        appearance: (N, C, h, w) of the set.
        rectangles: (N, 4).
        seed: of the k-means.
        words: K.
        sides: smallest and largest allowed longer side of a window, shares of the letterbox.
        taken: (N, K, 4) boxes of objects that were found before, where this one is not.
    """
    generator = torch.Generator().manual_seed(seed)
    h, w = appearance.shape[-2:]
    layout = lay_out((h, w), rectangles)
    every = appearance.movedim(1, -1)[layout.valid]  # (M, C)
    vocabulary = learn_words(every, encoder.groups(every), words, generator)
    layout.close(taken)
    cells = Cells(vocabulary.assign(appearance), layout)
    centre = -2 * cells.layout.off_centre
    best = iterate(vocabulary, cells, centre, guided=False, sides=sides)
    guided = iterate(vocabulary, cells, centre, guided=True, sides=sides)
    if guided.criterion > best.criterion + WORDS.guided_gain:
        best = guided
    for start in component_maps(vocabulary, appearance, every):
        other = iterate(vocabulary, cells, start, guided=False, sides=sides)
        if other.criterion > best.criterion + WORDS.start_gain:
            best = other
    return best


def component_maps(vocabulary: Vocabulary, appearance: Tensor, every: Tensor) -> list[Tensor]:
    """The set's first principal components as maps (N, h, w), with either sign."""
    standard = (every - vocabulary.centre) / vocabulary.spread
    _, vectors = torch.linalg.eigh(standard.T @ standard)  # ascending
    x = (appearance.movedim(1, -1) - vocabulary.centre) / vocabulary.spread
    maps = [
        blur((x @ vectors[:, -1 - k])[:, None], WORDS.smoothing)[:, 0] for k in range(min(WORDS.components, vectors.shape[1]))
    ]
    return [sign * m for m in maps for sign in (1, -1)]


def iterate(vocabulary: Vocabulary, cells: Cells, start: Tensor, *, guided: bool, sides: Sides) -> WordsResult:
    """Windows from margins, margins from windows, for some rounds.

    Args:
        vocabulary: the words.
        cells: the set.
        start: (N, h, w) margin map of the first round.
        guided: hold on to the centre, and in the last rounds tell the object from each image's own background too.
        sides: as for `search_words`.
    """
    h, w = cells.words.shape[-2:]
    count = len(vocabulary.words)

    def place(margins: Tensor, turn: int) -> Tensor:
        return cells.windows(margins, WORDS.centre_prior if turn < WORDS.first_rounds else WORDS.prior(guided), sides)

    def learn(boxes: Tensor, turn: int) -> tuple[Shares, Tensor]:
        shares, own = word_shares(cells, inside_mask(boxes, (h, w)), count)
        late = guided and turn >= WORDS.rounds - WORDS.own_rounds
        return shares, margin_map(shares.margins(own if late else None), cells.words)

    boxes, shares, margins = alternate(start, WORDS.rounds, place, learn)
    inside = inside_mask(boxes, (h, w))
    seen = contrast(margins, inside, cells.layout.valid)
    covered = (cells.layout.border & inside).sum((1, 2)) / cells.layout.border.sum((1, 2)).clamp(min=1)
    values = margin_map(shares.margins(), cells.words)[cells.layout.valid]
    return WordsResult(
        vocabulary,
        shares,
        guided,
        float(otsu(values)),
        float(values.std().clamp(min=1e-6)),
        normalise_cells(boxes, (h, w)),
        seen,
        start_criterion(seen, float(covered.mean())),
    )


def start_criterion(contrast: float, covered: float) -> float:
    """What starts are chosen by: contrast, less what is lost by covering the border.

    Crops that take in nearly everything have hardly anything to be compared with: their contrast means nothing.

    Args:
        contrast: (mean margin inside - mean outside) in standard deviations, over the set.
        covered: share of the images' border bands that the windows cover.

    >>> start_criterion(1.5, 0.25), start_criterion(7.0, 0.9)
    (1.0, -inf)
    """
    return contrast - WORDS.cover_cost * covered if covered <= WORDS.most_cover else -math.inf


def apply_words(
    found: WordsResult, appearance: Tensor, rectangles: Tensor, sides: Sides = None, taken: Tensor | None = None
) -> Tensor:
    """The window of each image: (N, C, h, w), (N, 4) -> normalised letterbox boxes (N, 4); `taken` as for `search_words`."""
    size = (appearance.shape[-2], appearance.shape[-1])
    layout = lay_out(size, rectangles)
    layout.close(taken)
    cells = Cells(found.vocabulary.assign(appearance), layout)
    margins = margin_map(found.shares.margins(), cells.words)
    prior = WORDS.prior(found.guided)

    def place(margins: Tensor, turn: int) -> Tensor:
        if turn > 0:
            return cells.windows(margins, prior, sides)
        return choose_windows(margins, cells.layout, found.threshold, found.spread, prior, sides)

    def learn(boxes: Tensor, _: int) -> tuple[Tensor, Tensor]:
        own = word_shares(cells, inside_mask(boxes, size), len(found.vocabulary.words))[1]
        return own, margin_map(found.shares.margins(own), cells.words)

    rounds = WORDS.own_rounds if found.guided else 0
    if rounds:
        *_, margins = alternate(margins, rounds, place, learn)
    return normalise_cells(place(margins, rounds), size)
