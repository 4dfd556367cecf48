"""The project's own encoder: a small network trained without boxes, whose weights are part of the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.coloc.backbone import FEATURES, WIDTHS, Objectness, SmallNetwork
from stn_cli.coloc.container import Damaged, pack, unpack
from stn_cli.coloc.encoders.files import fill
from stn_cli.coloc.encoders.gradient import GradientEncoder
from stn_cli.coloc.encoders.interface import Appearance
from stn_cli.coloc.encoders.pretrained import MEAN, STD
from stn_cli.errors import CheckpointError
from stn_cli.files import write_bytes

FILE = "encoder.safetensors"
"""Name of the weights in a folder that `stn-coloc pretrain` made."""
SHIPPED = "small.safetensors"
ARCHITECTURE = "small-1"


class SmallEncoder(nn.Module):
    """Dense features of the small network for what things look like; edges in their places for what keeps its form.

    Structure is the gradient encoder's: a rigid layout of edges needs no learning.

    Args:
        folder: a folder that `stn-coloc pretrain` made; the package's own weights when left out.
        loaded: False builds the network without weights, to load a run's own into.
        objectness: whether an unloaded network has the head that knows objects.

    Raises:
        CheckpointError: no weights there, damaged, or of another architecture.
    """

    mean: Tensor
    std: Tensor
    patch = GradientEncoder.patch
    stride = GradientEncoder.stride
    spread = GradientEncoder.spread

    def __init__(self, folder: Path | None = None, *, loaded: bool = True, objectness: bool = True) -> None:
        super().__init__()
        self.name = "small" if folder is None else str(folder)
        self.edges = GradientEncoder()
        self.network = SmallNetwork()
        self.head: Objectness | None = Objectness(FEATURES + WIDTHS[-1])
        self.facts: dict[str, Any] = {}
        if loaded:
            self._load(folder)
        elif not objectness:
            self.head = None
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def _load(self, folder: Path | None) -> None:
        path = Path(str(resources.files("stn_cli.coloc.encoders") / SHIPPED)) if folder is None else folder / FILE
        tensors, self.facts = read_encoder(path)
        if not any(name.startswith("head.") for name in tensors):
            self.head = None
        fill(self, {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}, "small", path)

    def structure(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 12, (H - 8) / 4 + 1, (W - 8) / 4 + 1)."""
        return self.edges.structure(images)

    def appearance(self, images: Tensor) -> Appearance:
        """(B, 3, H, W) -> cells (B, 384, H / 8, W / 8): both kinds of features, each cell normalised; and their objectness."""
        features, last = self.dense(images)
        wide = F.interpolate(last, features.shape[-2:], mode="bilinear", align_corners=False)
        cells = torch.cat([F.normalize(features, dim=1), F.normalize(wide, dim=1)], 1)
        return Appearance(cells, None if self.head is None else self.head(features, last))

    def dense(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> features (B, 128, H / 8, W / 8) and the last stage (B, 256, H / 16, W / 16)."""
        standard = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=quick_halves(images.device)):
            features, _, last = self.network(standard)
        return features.float().contiguous(), last.float().contiguous()

    def groups(self, cells: Tensor) -> Tensor:
        """One scale for all channels: the network has already weighed them."""
        return cells.std().clamp(min=1e-6).expand(cells.shape[1])


def quick_halves(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 faster than in float32."""
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_device_supported())
    return device.type == "cuda"


def write_encoder(path: Path, network: SmallNetwork, head: Objectness | None, facts: dict[str, Any]) -> None:
    """Write weights in half precision, with facts about how they came to be."""
    state = {f"network.{name}": t for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    if head is not None:
        state |= {f"head.{name}": t for name, t in head.state_dict().items()}
    write_bytes(path, pack({name: t.half() for name, t in state.items()}, {"architecture": ARCHITECTURE, **facts}))


def read_encoder(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_encoder` wrote.

    Raises:
        CheckpointError: missing, damaged, or of another architecture.
    """
    try:
        tensors, facts = unpack(path.read_bytes())
    except OSError as error:
        raise CheckpointError("no encoder", path, error.strerror, "Make one with stn-coloc pretrain") from error
    except Damaged as error:
        raise CheckpointError("damaged encoder", path, error, "Train it again with stn-coloc pretrain") from error
    if facts.get("architecture") != ARCHITECTURE:
        why = f"{facts.get('architecture')}, this version reads {ARCHITECTURE}"
        raise CheckpointError("encoder of another version", path, why, "Train it again with stn-coloc pretrain")
    return tensors, facts
