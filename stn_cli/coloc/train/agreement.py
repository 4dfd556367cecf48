"""How well a finder agrees with the search that it learns from."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.coloc.model.finder import predict
from stn_cli.coloc.scene import sample_indices
from stn_cli.coloc.score.kinds import Kind
from stn_cli.coloc.train.context import Context
from stn_cli.coloc.train.settings import REGRESSION
from stn_cli.coloc.train.state import RunState
from stn_cli.geometry import box_iou


@torch.no_grad()
def agreement(context: Context, state: RunState, number: int, depth: int | None = None) -> float:
    """Mean IoU of a finder's boxes with the search's, each of the search's with the nearest.

    Args:
        context: `cache`, `device`, `config.search_images` and `config.seed` are used.
        state: has the finders, and what the search found.
        number: of the kind.
        depth: how many levels of the finder look; all of them when left out.

    Returns:
        0 to 1; 0 where the search believes in no object.
    """
    kind = state.kinds[number]
    index = probe(context, kind)
    found = predict(state.finders[number], context.cache, context.device, index, depth).boxes()  # (n, R, 4)
    at = index.to(context.device)
    wanted, present = kind.crops()[at].boxes(), kind.present[at]
    overlap = box_iou(wanted[:, :, None], found[:, None]).amax(-1)
    return float(overlap[present].mean()) if bool(present.any()) else 0.0


def probe(context: Context, kind: Kind) -> Tensor:
    """Some images of the set, enough to see how a finder does: of more than the search looked at, random ones that hold an object.

    Args:
        context: `cache`, `config.search_images` and `config.seed` are used.
        kind: where the search believes in objects.

    Returns:
        Indices (n,) in rising order, always the same ones.
    """
    count = len(context.cache)
    if count <= context.config.search_images:
        return torch.arange(count)[: REGRESSION.probed]
    held = kind.present.any(1).nonzero()[:, 0].cpu()
    held = held if len(held) else torch.arange(count)
    return held[sample_indices(len(held), REGRESSION.probed, context.config.seed)]
