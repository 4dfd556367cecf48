"""The layout of a rigid thing from examples: what a person boxed, in place of what is most alike in the set."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from stn_cli.coloc.annotations import Annotations
from stn_cli.coloc.crops import turned_crops
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.rigid import RigidResult, embed_cut
from stn_cli.coloc.search.searched import SearchedSet
from stn_cli.coloc.search.settings import RIGID


def like_examples(seen: SearchedSet, rigid: RigidResult, annotations: Annotations) -> RigidResult:
    """The layout and the size of what was boxed.

    Args:
        seen: the set.
        rigid: what its search found; where crops may be turned, its layout says how each example lies.
        annotations: with at least one box.

    Returns:
        The same with the examples' mean as its prototype, and their middle size.
    """
    parts, sides = list[Tensor](), list[Tensor]()
    for number, boxes in annotations.boxes.items():
        if not len(boxes):
            continue
        scene = Scene.of(seen.cache, torch.tensor([number]), seen.device)
        own = boxes.to(seen.device)
        half = ((own[:, 2:] - own[:, :2]).amax(1, keepdim=True) / (2 * RIGID.tighten)).clamp(max=1.0)
        centre = (own[:, :2] + own[:, 2:]) / 2
        squares = torch.cat([centre - half, centre + half], 1)[None]
        turns = [torch.full(squares.shape[:2], angle, device=seen.device) for angle in rigid.angles]
        e = torch.stack([embed_cut(seen.encoder, scene.images, turned_crops(squares, turn))[0] / rigid.scale for turn in turns])
        best = (e - rigid.prototype).square().sum(-1).argmin(0)  # (M,)
        parts.append(e[best, torch.arange(len(own), device=e.device)])
        sides.append(half[:, 0])
    return replace(rigid, prototype=torch.cat(parts).mean(0), side=float(torch.cat(sides).median()))
