"""Visual words: cells quantised by k-means, how often each word lies inside crops and outside, and the margins that follow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.coloc.search.layout import Layout
from stn_cli.coloc.search.settings import WORDS
from stn_cli.coloc.search.statistics import otsu
from stn_cli.coloc.search.windows import Sides, choose_windows
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
        """The nearest word of each cell: (B, C, h, w) -> (B, h, w)."""
        x = (cells.movedim(1, -1) - self.centre) / self.spread
        return (self.words.square().sum(-1) - 2 * x @ self.words.T).argmin(-1)


def learn_words(
    cells: Tensor, scale: Tensor, count: int, generator: torch.Generator, rounds: int = WORDS.kmeans_rounds
) -> Vocabulary:
    """k-means on a sample of cells.

    Args:
        cells: (M, C).
        scale: (C,) what each channel is divided by.
        count: K, words.
        generator: of the sample and the first centroids, on the CPU.
        rounds: of k-means.

    Returns:
        The words.
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
        """The largest window of each image that satisfies the margin, by the map's own threshold and spread.

        Args:
            margins: (N, h, w).
            prior: what the centre is favoured by, standard deviations of the map at the middle of a side.
            sides: smallest and largest allowed longer side, shares of the letterbox.

        Returns:
            (N, 4) in cells.
        """
        values = margins[self.layout.valid]
        return choose_windows(margins, self.layout, otsu(values), values.std(), prior, sides)


def histogram(words: Tensor, mask: Tensor, count: int) -> Tensor:
    """How many cells of each word lie under a mask.

    Args:
        words: (N, h, w).
        mask: (N, h, w).
        count: K, words.

    Returns:
        (N, K).

    >>> histogram(torch.tensor([[[0, 2], [2, 1]]]), torch.tensor([[[True, True], [True, False]]]), 3).tolist()
    [[1.0, 0.0, 2.0]]
    """
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
    """Shares of words inside and outside of crops; border cells count more outside.

    Args:
        cells: the set.
        inside: (N, h, w) which cells are in the crops.
        count: K, words.

    Returns:
        The shares over the set, and each image's own shares outside (N, K).
    """
    inside = inside & cells.layout.valid
    outside = cells.layout.valid & ~inside
    hi = histogram(cells.words, inside, count)
    ho = histogram(cells.words, outside, count) + (WORDS.border_weight - 1) * histogram(
        cells.words, cells.layout.border & outside, count
    )
    hi = hi / hi.sum(1, keepdim=True).clamp(min=1)
    ho = ho / ho.sum(1, keepdim=True).clamp(min=1)
    return Shares(hi.mean(0), ho.mean(0)), ho


def cell_margins(margins: Tensor, words: Tensor) -> Tensor:
    """The smoothed margin of each cell.

    Args:
        margins: (1, K) or (N, K) of the words.
        words: (N, h, w) of the cells.

    Returns:
        (N, h, w).
    """
    read = margins.expand(words.shape[0], -1).gather(1, words.flatten(1)).view_as(words)
    return blur(read[:, None], WORDS.smoothing)[:, 0]
