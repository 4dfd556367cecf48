"""The scorer of a rigid thing: margins of crops in the rigid embedding, 4 x 4 cells of structure in their places."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.rigid import RigidResult, embed_cut
from stn_cli.encoders import Encoder
from stn_cli.stn import Pyramid


class RigidScorer(nn.Module):
    """margin(crop) = mean_r |e - r|^2 - |e - p|^2: e the crop's embedding, p the mean of the objects', r those of random patches.

    Args:
        encoder: gives the structure.
        width: D, numbers of an embedding.
    """

    kind = "rigid"
    prototype: Tensor
    scale: Tensor
    random_mean: Tensor
    random_square: Tensor

    def __init__(self, encoder: Encoder, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("prototype", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("random_mean", torch.zeros(width))
        self.register_buffer("random_square", torch.zeros(()))

    @classmethod
    def of(cls, rigid: RigidResult, encoder: Encoder) -> RigidScorer:
        """The scorer of a finished search; its random patches come with `observe`."""
        scorer = cls(encoder, rigid.prototype.numel()).to(rigid.prototype.device)
        scorer.prototype.copy_(rigid.prototype)
        scorer.scale.fill_(rigid.scale)
        return scorer

    def embed(self, images: Tensor | Pyramid, crops: Crops) -> Tensor:
        """e of crops, divided by the set's scale.

        Args:
            images: (B, 3, S, S), or a pyramid of them.
            crops: R of each.

        Returns:
            (B, R, D).
        """
        return embed_cut(self.encoder, images, crops) / self.scale

    def observe(self, positive: Tensor, random: Tensor) -> None:
        """Learn what objects and random patches look like.

        Args:
            positive: (N, 1, D) embeddings of crops.
            random: (N, R, D) embeddings of random patches.
        """
        self.prototype.copy_(positive.mean((0, 1)))
        self.random_mean.copy_(random.mean((0, 1)))
        self.random_square.copy_(random.square().sum(-1).mean())

    def margin_of(self, e: Tensor) -> Tensor:
        """mean_r |e - r|^2 - |e - p|^2: embeddings (..., D) -> (...)."""
        away = -2 * e @ self.random_mean + self.random_square
        return away + 2 * e @ self.prototype - self.prototype.square().sum()

    def margins(self, scene: Scene, *crops: Crops) -> Tensor:
        """Margins of crops.

        Args:
            scene: B images.
            crops: of these, R of each in all.

        Returns:
            (B, R).
        """
        return torch.cat([self.margin_of(self.embed(scene.pyramid, part)) for part in crops], 1)

    def laid_out(self, scene: Scene, crops: Crops) -> Tensor:
        """e of crops, as the other scorers have it: (B, R, D)."""
        return self.embed(scene.pyramid, crops)
