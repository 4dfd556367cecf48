"""The scorer of a deformable thing whose cells are read as visual words: each word has a margin of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.laid_out import lay_out_crops
from stn_cli.coloc.score.maps import ring_margins
from stn_cli.coloc.search.visual_words import WordsResult
from stn_cli.coloc.search.vocabulary import Shares, Vocabulary, cell_margins
from stn_cli.encoders import Encoder


class WordsScorer(nn.Module):
    """margin(crop) = the mean of its cells' margins, less half of the mean in a ring around it; a cell has the margin of its word.

    Args:
        encoder: gives the cells.
        words: K.
        channels: C, of a cell.
    """

    kind = "words"
    centre: Tensor
    spread: Tensor
    words: Tensor
    inside_share: Tensor
    outside_share: Tensor
    guided: Tensor
    threshold: Tensor
    map_spread: Tensor

    def __init__(self, encoder: Encoder, words: int, channels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.register_buffer("words", torch.zeros(words, channels))
        self.register_buffer("inside_share", torch.zeros(words))
        self.register_buffer("outside_share", torch.zeros(words))
        self.register_buffer("guided", torch.zeros((), dtype=torch.bool))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("map_spread", torch.ones(()))

    @classmethod
    def of(cls, found: WordsResult, encoder: Encoder) -> WordsScorer:
        """The scorer of a finished search."""
        words = found.vocabulary.words
        scorer = cls(encoder, *words.shape).to(words.device)
        scorer.centre.copy_(found.vocabulary.centre)
        scorer.spread.copy_(found.vocabulary.spread)
        scorer.words.copy_(words)
        scorer.inside_share.copy_(found.shares.inside)
        scorer.outside_share.copy_(found.shares.outside)
        scorer.guided.fill_(found.guided)
        scorer.threshold.fill_(found.threshold)
        scorer.map_spread.fill_(found.spread)
        return scorer

    def score_map(self, scene: Scene) -> Tensor:
        """The score map in standard deviations above the threshold: (B, h, w)."""
        with torch.no_grad():
            vocabulary = Vocabulary(self.centre, self.spread, self.words)
            margins = Shares(self.inside_share, self.outside_share).margins()
            values = cell_margins(margins, vocabulary.assign(scene.appearance(self.encoder).cells))
            return (values - self.threshold) / self.map_spread

    def margins(self, scene: Scene, *crops: Crops) -> Tensor:
        """Margins of crops: the mean inside less half of the mean in a ring around.

        Args:
            scene: B images.
            crops: of these, R of each in all.

        Returns:
            (B, R).
        """
        return ring_margins(self.score_map(scene), crops)

    def laid_out(self, scene: Scene, crops: Crops) -> Tensor:
        """e of crops, as `lay_out_crops` has it, cells measured from the set's mean in its spreads.

        Args:
            scene: B images.
            crops: R of each.

        Returns:
            (B, R, D).
        """
        cells = scene.appearance(self.encoder).cells
        return lay_out_crops((cells - self.centre[:, None, None]) / self.spread[:, None, None], crops)
