"""e(): where embeddings come from.

An encoder gives two dense maps of a batch of images. `structure` has one value per kind of evidence, zero where there is
none: laid out over a window it is the rigid embedding e(crop) of appendix A.2. `appearance` says what a cell looks like:
pooled over a window it is the loose embedding for things that change their form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.coloc.features import blur, lab, opponent, orientation_bins, orientation_harmonics, pool_cells
from stn_cli.errors import CheckpointError, ResourceError, UsageError

GRID = 4
"""Cells along a side of a rigid window."""


class Encoder(Protocol):
    """The small interface that search, objective and localiser see."""

    name: str
    patch: int
    """Side of a crop that is embedded, pixels."""
    stride: int
    """Pixels between neighbouring cells of `structure`."""
    spread: int
    """Cells between neighbouring cells of a window: `GRID * spread * stride` is about `patch`."""

    def structure(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, C, h, w)."""

    def appearance(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, C', h', w'), cells of equal size that cover the image."""

    def groups(self, cells: Tensor) -> Tensor:
        """What each channel of appearance cells (M, C) is divided by, so that kinds of evidence weigh what they should (C,)."""

    def to(self, device: torch.device) -> Any:
        """Move to a device."""


def embed_crops(encoder: Encoder, crops: Tensor) -> Tensor:
    """e(crop): (B, 3, patch, patch) -> (B, D), the structure of 4 x 4 cells in their places."""
    cells = encoder.structure(crops)[..., :: encoder.spread, :: encoder.spread]
    return cells[..., :GRID, :GRID].flatten(1)


def embed_windows(encoder: Encoder, images: Tensor, most: int = 40) -> tuple[Tensor, Tensor]:
    """e of every window of `patch` pixels.

    Args:
        encoder: gives the structure.
        images: (B, 3, L, L).
        most: windows along a side; where there would be more, every second (third, ...) is taken.

    Returns:
        (B, P, D) row by row, and the windows' left edges along a side in pixels (sqrt P,).
    """
    cells = encoder.structure(images)
    along = cells.shape[-1] - (GRID - 1) * encoder.spread
    if along < 1:
        return cells.new_zeros((len(images), 0, cells.shape[1] * GRID * GRID)), cells.new_zeros(0)
    step = 1 + along // (most + 1)
    windows = F.unfold(cells, GRID, dilation=encoder.spread, stride=step)  # (B, C * 16, P)
    return windows.transpose(1, 2), torch.arange(0, along, step, device=images.device) * float(encoder.stride)


class GradientEncoder(nn.Module):
    """No weights, any machine: orientation energies and colour over cells of 8 pixels.

    Structure: 8 orientations and 4 opponent colours, root of the mean over a cell. The root keeps one strong edge from
    outweighing the rest. Appearance: mean and spread of Lab colour, and the 8 orientations.
    """

    name = "gradient"
    patch = 32
    stride = 4
    spread = 2
    colour_weight = 0.5

    def structure(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 12, (H - 8) / 4 + 1, (W - 8) / 4 + 1)."""
        energy = orientation_bins(pool_cells(orientation_harmonics(images.mean(1, keepdim=True)), 8, 4))
        colour = pool_cells(opponent(images), 8, 4)
        return torch.cat([(energy + 1e-9).sqrt(), self.colour_weight * (colour + 1e-9).sqrt()], 1)

    def appearance(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 14, H / 4, W / 4)."""
        colour = lab(images)
        mean = pool_cells(colour, 8, 4, pad=True)
        spread = (pool_cells(colour.square(), 8, 4, pad=True) - mean.square()).clamp(min=1e-6).sqrt()
        energy = orientation_bins(pool_cells(orientation_harmonics(images.mean(1, keepdim=True), 0.7), 8, 4, pad=True))
        return torch.cat([mean, spread, (energy + 1e-9).sqrt()], 1)

    def groups(self, cells: Tensor) -> Tensor:
        """Colour, its spread and the orientations are each scaled as a whole; colour counts twice."""
        parts = ((slice(0, 3), 2.0), (slice(3, 6), 1.0), (slice(6, 14), 1.0))
        out = cells.new_empty(cells.shape[1])
        for part, weight in parts:
            out[part] = cells[:, part].std().clamp(min=1e-6) / weight
        return out


class TorchvisionEncoder(nn.Module):
    """A torchvision classification network, its last map of stride 16 taken for dense features.

    Args:
        name: the network's name in torchvision (`resnet18`, `convnext_tiny`, `efficientnet_b0`).
        weights: a file with the network's state dict; torchvision's published weights when left out.
        layer: name of the module whose output is taken; the last one of stride 16 when left out.
        pretrained: False builds the network without weights, to load a run's own into.

    Raises:
        UsageError: no such network, or no such layer.
        ResourceError: the weights cannot be downloaded.
        CheckpointError: the file is not this network's weights.
    """

    patch = 64
    stride = 16
    spread = 1

    def __init__(self, name: str, weights: Path | None = None, layer: str = "", *, pretrained: bool = True) -> None:
        super().__init__()
        self.name = name
        self.network = _network(name, weights, pretrained).eval().requires_grad_(False)
        self.layer = layer or _last_layer_of_stride(self.network, self.stride)
        modules = dict(self.network.named_modules())
        if self.layer not in modules:
            raise UsageError("--layer names no layer of the network", self.layer, name)
        self._taken: list[Tensor] = []
        modules[self.layer].register_forward_hook(lambda _m, _i, output: self._taken.append(output))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def structure(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H / 16, W / 16), not negative."""
        self._taken.clear()
        self.network((images - self.mean) / self.std)  # type: ignore[operator]
        output = self._taken.pop()
        if output.ndim != 4:
            raise UsageError("--layer must give a map (B, C, h, w)", self.layer, f"it gives {tuple(output.shape)}")
        return F.relu(output)

    def appearance(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H / 8, W / 8): read at twice the size, each cell normalised."""
        large = F.interpolate(images, scale_factor=2.0, mode="bilinear", align_corners=False)
        return F.normalize(blur(self.structure(large), 0.5), dim=1)

    def groups(self, cells: Tensor) -> Tensor:
        """One scale for all channels: the network has already weighed them."""
        return cells.std().clamp(min=1e-6).expand(cells.shape[1])


def _network(name: str, weights: Path | None, pretrained: bool) -> nn.Module:
    import torchvision

    if name not in torchvision.models.list_models(module=torchvision.models):
        raise UsageError("unknown encoder", name, "known: gradient, and torchvision's classification networks")
    if not pretrained:
        return cast(nn.Module, torchvision.models.get_model(name, weights=None))
    if weights is None:
        try:
            network: nn.Module = torchvision.models.get_model(name, weights="DEFAULT")
        except OSError as error:
            url = torchvision.models.get_model_weights(name).DEFAULT.url
            todo = f"Download {url} elsewhere and pass it with --weights, or use --encoder gradient, which needs none"
            raise ResourceError("cannot download the weights of encoder", name, error, todo) from error
        return network
    network = torchvision.models.get_model(name, weights=None)
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError("cannot read weights", weights, type(error).__name__) from error
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        why = str(error).replace("\n", " ").replace("\t", " ")[:200]
        raise CheckpointError(f"weights do not fit {name}", weights, why) from error
    return network


def _last_layer_of_stride(network: nn.Module, stride: int) -> str:
    """The name of the last module whose output is a map at 1/stride of the input's size."""
    side = stride * 8
    found: list[str] = []
    hooks = []

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-2:] == (8, 8):
                found.append(name)

        return hook

    for name, module in network.named_modules():
        if name:
            hooks.append(module.register_forward_hook(watch(name)))
    with torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    for handle in hooks:
        handle.remove()
    if not found:
        raise UsageError("this network has no map of stride 16; name a layer with --layer", type(network).__name__)
    return found[-1]


def make_encoder(name: str, weights: Path | None = None, layer: str = "", *, pretrained: bool = True) -> Encoder:
    """The encoder called `name`, ready on the CPU; see `TorchvisionEncoder` for the arguments and errors."""
    if name == GradientEncoder.name:
        return GradientEncoder()
    return TorchvisionEncoder(name, weights, layer, pretrained=pretrained)
