"""The project's own encoder: a small network trained without boxes, whose weights are part of the package."""

from __future__ import annotations

import copy
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.encoders.gradient import GradientEncoder
from stn_cli.encoders.interface import Appearance
from stn_cli.encoders.pretrained import MEAN, STD
from stn_cli.encoders.small_network import FEATURES, STRIDE, WIDTHS, Objectness, SmallNetwork, fused
from stn_cli.encoders.weights import fill
from stn_cli.errors import CheckpointError
from stn_cli.files import write_bytes
from stn_cli.reading import read_plain
from stn_cli.runs.container import Damaged, pack, unpack

FILE = "encoder.safetensors"
"""Name of the weights in a folder that `stn-coloc pretrain` made."""
MOST_ENCODER_BYTES = 1 << 28
"""Of the weights: two million in half precision."""
SHIPPED = "small.safetensors"
ARCHITECTURE = "small-1"
BUILDS = {True: "small", False: "small-headless"}
"""What a run calls the encoder, with and without the head that knows objects: wherever its weights came from, the run holds them."""


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
    _quick: tuple[tuple[Any, ...], SmallNetwork, Objectness | None, torch.dtype] | None
    dense = True
    patch = GradientEncoder.patch
    stride = GradientEncoder.stride
    spread = GradientEncoder.spread

    def __init__(self, folder: Path | None = None, *, loaded: bool = True, objectness: bool = True) -> None:
        super().__init__()
        self.edges = GradientEncoder()
        self.network = SmallNetwork()
        self.head: Objectness | None = Objectness(FEATURES + WIDTHS[-1])
        self.facts: dict[str, Any] = {}
        object.__setattr__(self, "_quick", None)  # not a part: it has no weights of its own
        if loaded:
            self._load(folder)
        elif not objectness:
            self.head = None
        self.name = BUILDS[self.head is not None]
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def _quick_parts(self) -> tuple[SmallNetwork, Objectness | None, torch.dtype]:
        """Network and head as they are used, and what they compute in: made anew whenever the network's weights were loaded or moved."""
        if torch.compiler.is_compiling():  # a graph has no packed weights, and one precision on every machine
            return self.network, self.head, torch.float32
        weight = next(self.network.parameters())
        now = (weight.device, weight.data_ptr(), weight._version)
        if self._quick is None or self._quick[0] != now:
            dtype = torch.bfloat16 if quick_halves(weight.device) else torch.float32
            head = None if self.head is None else copy.deepcopy(self.head).to(dtype).to(memory_format=torch.channels_last)
            object.__setattr__(self, "_quick", (now, fused(self.network, dtype), head, dtype))
        assert self._quick is not None
        return self._quick[1:]

    def __getstate__(self) -> dict[str, Any]:
        """Without the quick parts: packed weights cannot be copied."""
        return {**self.__dict__, "_quick": None}

    def _load(self, folder: Path | None) -> None:
        path = Path(str(resources.files("stn_cli.encoders") / SHIPPED)) if folder is None else folder / FILE
        tensors, self.facts = read_encoder(path)
        if not any(name.startswith("head.") for name in tensors):
            self.head = None
        fill(self, {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}, "small", path)

    def structure(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 12, (H - 8) / 4 + 1, (W - 8) / 4 + 1)."""
        return self.edges.structure(images)

    def appearance(self, images: Tensor, pad: int = 0, objectness: bool = True) -> Appearance:
        """(B, 3, H, W) -> cells (B, 256, H / 8, W / 8) and their objectness.

        The first half is the features, which know what things are, the second the stage before, which knows how they look; both normalised.

        Args:
            images: in [0, 1].
            pad: pixels, a multiple of 16, by which images are mirrored outwards while they are looked at. A network sees where a
                picture ends, and a search that may choose anything would take that for evidence.
            objectness: whether it is wanted; it costs a fifth of the features.
        """
        if pad:
            images = F.pad(images, (pad,) * 4, mode="reflect")
        standard = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        quick, head, dtype = self._quick_parts()
        features, local, last = quick(standard.to(dtype))
        odds = None if head is None or not objectness else head(features, last).float()
        cells = torch.cat([F.normalize(features.float(), dim=1), F.normalize(local.float(), dim=1)], 1)
        if pad:
            k = pad // STRIDE
            cells = cells[..., k:-k, k:-k]
            odds = None if odds is None else odds[..., k:-k, k:-k]
        return Appearance(cells, odds)


def quick_halves(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 faster than in float32.

    Args:
        device: to work on.

    Returns:
        True where it does.
    """
    if device.type == "cpu":
        known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return torch.backends.mkldnn.is_available() and any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return device.type == "cuda"


def write_encoder(path: Path, network: SmallNetwork, head: Objectness | None, facts: dict[str, Any]) -> None:
    """Write weights in half precision.

    Args:
        path: of the file.
        network: whose weights.
        head: that knows objects; None where there is none.
        facts: about how the weights came to be.

    Raises:
        OutputError: the file cannot be written.
    """
    state = {f"network.{name}": t for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    if head is not None:
        state |= {f"head.{name}": t for name, t in head.state_dict().items()}
    write_bytes(path, pack({name: t.half() for name, t in state.items()}, {"architecture": ARCHITECTURE, **facts}))


def read_encoder(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_encoder` wrote.

    Args:
        path: of the file.

    Returns:
        Tensors by names, and the facts.

    Raises:
        CheckpointError: missing, damaged, or of another architecture.
    """
    try:
        tensors, facts = unpack(read_plain(path, MOST_ENCODER_BYTES))
    except OSError as error:
        raise CheckpointError("no encoder", path, error.strerror, "Make one with stn-coloc pretrain") from error
    except Damaged as error:
        raise CheckpointError("damaged encoder", path, error, "Train it again with stn-coloc pretrain") from error
    if facts.get("architecture") != ARCHITECTURE:
        why = f"{facts.get('architecture')}, this version reads {ARCHITECTURE}"
        raise CheckpointError("encoder of another version", path, why, "Train it again with stn-coloc pretrain")
    return tensors, facts
