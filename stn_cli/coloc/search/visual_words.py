"""Search for a deformable thing without weights: visual words that lie inside the windows, against those that lie outside.

A mean-pooled embedding makes the triplet margin of a window the mean of its cells' margins, so that every window of every image
is scored from one map per image. Cells are quantised into words (k-means over the data set); the margin of a word is its
log-likelihood ratio, inside the crops against outside them and at the images' borders. Each image takes the window with the
largest sum of (margin - threshold): the largest window that satisfies the margin, in closed form. Then the words' margins are computed anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.search.layout import inside_mask, lay_out, normalise_cells
from stn_cli.coloc.search.settings import WORDS
from stn_cli.coloc.search.statistics import contrast_of, otsu
from stn_cli.coloc.search.vocabulary import Cells, Shares, Vocabulary, cell_margins, learn_words, word_shares
from stn_cli.coloc.search.windows import Sides, alternate, choose_windows
from stn_cli.encoders import GradientEncoder
from stn_cli.encoders.gradient_maps import blur


@dataclass(slots=True)
class WordsResult:
    """What a search by visual words found.

    Attributes:
        vocabulary: the words.
        shares: of the words inside and outside.
        guided: whether the guidance of the centre and of each image's own background was believed.
        threshold: of the score map, at which a cell counts for the object.
        spread: of the score map.
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

    def cell_margins(self, appearance: Tensor) -> Tensor:
        """Cells (B, C, h, w) -> the margin of each, smoothed (B, h, w)."""
        return cell_margins(self.shares.margins(), self.vocabulary.assign(appearance))


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

    Returns:
        What the kept start came to.
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
    """The set's first principal components as maps, with either sign.

    Args:
        vocabulary: standardises the cells.
        appearance: (N, C, h, w) the cells.
        every: (M, C) those that lie on the images.

    Returns:
        Maps (N, h, w).
    """
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
        start: (N, h, w) score map of the first round.
        guided: hold on to the centre, and in the last rounds tell the object from each image's own background too.
        sides: as for `search_words`.

    Returns:
        What the rounds came to.
    """
    h, w = cells.words.shape[-2:]
    count = len(vocabulary.words)

    def place(margins: Tensor, turn: int) -> Tensor:
        return cells.windows(margins, WORDS.centre_prior if turn < WORDS.first_rounds else WORDS.prior(guided), sides)

    def learn(boxes: Tensor, turn: int) -> tuple[Shares, Tensor]:
        shares, own = word_shares(cells, inside_mask(boxes, (h, w)), count)
        late = guided and turn >= WORDS.rounds - WORDS.own_rounds
        return shares, cell_margins(shares.margins(own if late else None), cells.words)

    boxes, shares, margins = alternate(start, WORDS.rounds, place, learn)
    inside = inside_mask(boxes, (h, w))
    seen = contrast_of(margins, inside, cells.layout.valid)
    covered = (cells.layout.border & inside).sum((1, 2)) / cells.layout.border.sum((1, 2)).clamp(min=1)
    values = cell_margins(shares.margins(), cells.words)[cells.layout.valid]
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

    Returns:
        Higher is better.

    >>> start_criterion(1.5, 0.25), start_criterion(7.0, 0.9)
    (1.0, -inf)
    """
    return contrast - WORDS.cover_cost * covered if covered <= WORDS.most_cover else -math.inf


def apply_words(
    found: WordsResult, appearance: Tensor, rectangles: Tensor, sides: Sides = None, taken: Tensor | None = None
) -> Tensor:
    """The window of each image.

    Args:
        found: what the search found.
        appearance: (N, C, h, w) cells.
        rectangles, sides, taken: as for `search_words`.

    Returns:
        (N, 4) normalised letterbox boxes.
    """
    size = (appearance.shape[-2], appearance.shape[-1])
    layout = lay_out(size, rectangles)
    layout.close(taken)
    cells = Cells(found.vocabulary.assign(appearance), layout)
    margins = cell_margins(found.shares.margins(), cells.words)
    prior = WORDS.prior(found.guided)

    def place(margins: Tensor, turn: int) -> Tensor:
        if turn > 0:
            return cells.windows(margins, prior, sides)
        return choose_windows(margins, cells.layout, found.threshold, found.spread, prior, sides)

    def learn(boxes: Tensor, _: int) -> tuple[Tensor, Tensor]:
        own = word_shares(cells, inside_mask(boxes, size), len(found.vocabulary.words))[1]
        return own, cell_margins(found.shares.margins(own), cells.words)

    rounds = WORDS.own_rounds if found.guided else 0
    if rounds:
        *_, margins = alternate(margins, rounds, place, learn)
    return normalise_cells(place(margins, rounds), size)
