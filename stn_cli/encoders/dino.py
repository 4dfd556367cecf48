"""DINO's networks (Caron et al. 2021, arXiv 2104.14294), from files of weights as published.

`dino_vits16` and `dino_vitb16`: the vision transformer's dense features are the keys of its last attention layer, as in LOST
(Siméoni et al. 2021, arXiv 2109.14279). `dino_resnet50` is torchvision's ResNet-50 without its classifier.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PUBLISHED = "https://dl.fbaipublicfiles.com/dino/"
URLS = {
    "dino_vits16": PUBLISHED + "dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth",
    "dino_vitb16": PUBLISHED + "dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
    "dino_resnet50": PUBLISHED + "dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
}
VITS = {"dino_vits16": (384, 6), "dino_vitb16": (768, 12)}
"""Channels and heads."""
PATCH = 16


class SelfAttention(nn.Module):
    """Multi-head self-attention; queries, keys and values in one matrix."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, T, C / heads)
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed

    def keys(self, x: Tensor) -> Tensor:
        """The keys (B, T, C) of all heads."""
        return self.qkv(x).chunk(3, -1)[1]


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """SelfAttention and MLP, each behind a layer norm and around a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    """Patches of 16 x 16 pixels as vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)


class VisionTransformer(nn.Module):
    """A vision transformer whose module names are those of DINO's published weights.

    Args:
        width: channels of a token.
        heads: of the attention.
        depth: blocks.
        trained_side: patches along a side of the pictures that it was trained on.
    """

    def __init__(self, width: int, heads: int, depth: int = 12, trained_side: int = 14) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + trained_side**2, width))
        self.patch_embed = PatchEmbedding(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.trained_side = trained_side

    def forward(self, images: Tensor) -> Tensor:
        """Standardised images (B, 3, H, W), sides multiples of 16 -> keys of the last layer (B, C, H / 16, W / 16)."""
        x = self.patch_embed.proj(images)
        h, w = x.shape[-2:]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1) + self.positions((h, w))
        for block in self.blocks[:-1]:
            x = block(x)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        return last.attn.keys(last.norm1(x))[:, 1:].transpose(1, 2).unflatten(2, (h, w))

    def positions(self, size: tuple[int, int]) -> Tensor:
        """The embeddings of places, read at another grid than the trained one: (1, 1 + h w, C)."""
        side = self.trained_side
        grid = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        if size != (side, side):
            grid = F.interpolate(grid, size, mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], 1)
