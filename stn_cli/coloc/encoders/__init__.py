"""Where embeddings come from: no weights, our own small network, published ones."""

from __future__ import annotations

from pathlib import Path

from stn_cli.coloc.encoders.gradient import GradientEncoder
from stn_cli.coloc.encoders.interface import GRID, Appearance, Encoder, embed_crops, embed_windows
from stn_cli.coloc.encoders.pretrained import PretrainedEncoder, known_network
from stn_cli.coloc.encoders.small import BUILDS, FILE, SmallEncoder
from stn_cli.errors import UsageError

__all__ = [
    "GRID",
    "Appearance",
    "Encoder",
    "GradientEncoder",
    "PretrainedEncoder",
    "SmallEncoder",
    "embed_crops",
    "embed_windows",
    "make_encoder",
]


def make_encoder(name: str, weights: Path | None = None, layer: str = "", *, pretrained: bool = True) -> Encoder:
    """The encoder called `name`, ready on the CPU.

    Args:
        name: `small`, `gradient`, a published network's name, or a folder that `stn-coloc pretrain` made.
        weights: file with a published network's weights.
        layer: of a published network.
        pretrained: False builds a network without weights, to load a run's own into.

    Raises:
        UsageError: no such encoder.
        ResourceError: weights that cannot be downloaded.
        CheckpointError: weights that do not fit, or are damaged.
    """
    if name == GradientEncoder.name:
        return GradientEncoder()
    if not pretrained and name in BUILDS.values():
        return SmallEncoder(loaded=False, objectness=name == BUILDS[True])
    if name == "small":
        return SmallEncoder()
    if known_network(name):
        return PretrainedEncoder(name, weights, layer, pretrained=pretrained)
    folder = Path(name)
    if folder.is_dir() or (folder / FILE).is_file():
        return SmallEncoder(folder)
    raise UsageError(
        "unknown encoder", name, "known: small, gradient, torchvision's networks, dino_*, a folder of stn-coloc pretrain"
    )
