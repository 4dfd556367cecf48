"""Where embeddings come from: no weights, our own small network, published ones."""

from __future__ import annotations

import os
from pathlib import Path

from stn_cli.bounds import shown
from stn_cli.encoders.gradient import GradientEncoder
from stn_cli.encoders.interface import CELLS_ALONG, Appearance, Encoder, WindowMap, embed_crops, map_windows
from stn_cli.encoders.pretrained import PretrainedEncoder, known_network
from stn_cli.encoders.small import BUILDS, FILE, SmallEncoder
from stn_cli.errors import UsageError
from stn_cli.reading import is_plain

__all__ = [
    "CELLS_ALONG",
    "Appearance",
    "Encoder",
    "GradientEncoder",
    "PretrainedEncoder",
    "SmallEncoder",
    "WindowMap",
    "embed_crops",
    "make_encoder",
    "map_windows",
]


def make_encoder(name: str, weights: Path | None = None, layer: str = "", *, pretrained: bool = True) -> Encoder:
    """The encoder called `name`, ready on the CPU.

    Args:
        name: `small`, `gradient`, a published network's name, or a folder that `stn-coloc pretrain` made.
        weights: file with a published network's weights.
        layer: of a published network.
        pretrained: False builds a network without weights, to load a run's own into.

    Returns:
        The encoder, on the CPU.

    Raises:
        UsageError: no such encoder.
        ResourceError: weights that cannot be downloaded.
        CheckpointError: weights that do not fit, or are damaged.
    """
    if not pretrained and name in BUILDS.values():
        return SmallEncoder(loaded=False, objectness=name == BUILDS[True])
    own = {GradientEncoder.name: GradientEncoder, "small": SmallEncoder}.get(name)
    if own is None and known_network(name):
        return PretrainedEncoder(name, weights, layer, pretrained=pretrained)
    for flag, value in (("--weights", weights), ("--layer", layer)):
        if value and pretrained:
            raise UsageError(f"{flag} is for published networks", value, f"--encoder {name}", "Leave it out, or name one")
    if own is not None:
        return own()
    folder = Path(name)
    if name and (os.path.isdir(folder) or is_plain(folder / FILE)):
        return SmallEncoder(folder)
    raise UsageError(
        "unknown encoder", shown(name), "known: small, gradient, torchvision's networks, dino_*, a folder of stn-coloc pretrain"
    )
