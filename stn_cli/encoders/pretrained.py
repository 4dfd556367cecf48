"""Networks with published weights: torchvision's by name, DINO's from a file."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cli.encoders.dino import URLS, VITS, VisionTransformer
from stn_cli.encoders.interface import Appearance
from stn_cli.encoders.weights import fill, read_weights
from stn_cli.errors import ResourceError, UsageError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's: what most published networks are trained with."""
PIXELS_AT_ONCE = 2 << 20
"""What a network reads at once: its first stages hold some hundred numbers for each pixel on the way through."""


class PretrainedEncoder(nn.Module):
    """A published network, its last map of stride 16 taken for dense features.

    Args:
        name: the network's name in torchvision (`resnet18`, `convnext_tiny`, `efficientnet_b0`, `swin_t`, `vit_b_16`), or
            `dino_vits16`, `dino_vitb16`, `dino_resnet50`.
        weights: a file with the network's state dict; torchvision's published weights when left out.
        layer: name of the module whose output is taken; the last one of stride 16 when left out.
        pretrained: False builds the network without weights, to load a run's own into.

    Raises:
        UsageError: no such network, or no such layer.
        ResourceError: the weights cannot be downloaded.
        CheckpointError: the file is not this network's weights.
    """

    dense = True
    patch = 64
    stride = 16
    spread = 1

    def __init__(self, name: str, weights: Path | None = None, layer: str = "", *, pretrained: bool = True) -> None:
        super().__init__()
        self.name = name
        self.network = _network(name, weights, pretrained).eval().requires_grad_(False)
        mean, std = published_preprocessing(name)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.fixed_side = int(getattr(self.network, "image_size", 0))  # torchvision's ViT reads pictures of one size only
        self._taken: list[Tensor] = []
        self.layer = ""
        if not isinstance(self.network, VisionTransformer):
            self.layer = layer or _last_layer_of_stride(self.network, self.stride, self.fixed_side)
            modules = dict(self.network.named_modules())
            if self.layer not in modules:
                raise UsageError("--layer names no layer of the network", self.layer, name)
            modules[self.layer].register_forward_hook(partial(_keep, self._taken))  # copied and pickled with the list it fills
            if layer:
                with torch.no_grad():
                    self.maps(torch.zeros(1, 3, *(self.fixed_side or self.stride * 8,) * 2))
        elif layer:
            raise UsageError("--layer is not for this encoder: it gives the keys of its last layer", name)

    def structure(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H / 16, W / 16), not negative."""
        return F.relu(self.maps(images))

    def maps(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w) of the layer that was chosen, h and w a sixteenth of what the network reads."""
        h, w = images.shape[-2:]
        size = (self.fixed_side,) * 2 if self.fixed_side else (_multiple(h), _multiple(w))
        if size != (h, w):
            images = F.interpolate(images, size, mode="bilinear", antialias=size[0] < h, align_corners=False)
        at_once = max(1, PIXELS_AT_ONCE // (size[0] * size[1]))
        return torch.cat([self._read(part, size) for part in images.split(at_once)])

    def _read(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """`maps` of as many images as the network reads at once."""
        self._taken.clear()
        out = self.network((images - self.mean) / self.std)  # type: ignore[operator]
        if isinstance(self.network, VisionTransformer):
            return cast(Tensor, out)
        if not self._taken:
            raise UsageError("--layer names a part that is not used", self.layer, self.name)
        return as_map(self._taken.pop(), (size[0] // self.stride, size[1] // self.stride), self.layer)

    def appearance(self, images: Tensor, pad: int = 0, objectness: bool = True) -> Appearance:
        """Cells of the network's map, read at twice the size, each normalised.

        Args:
            images: (B, 3, H, W) in [0, 1].
            pad: pixels by which they are mirrored outwards while they are looked at.
            objectness: not used; published networks do not know it.

        Returns:
            Cells (B, C, H / 8, W / 8).
        """
        h, w = images.shape[-2:]
        if pad:
            images = F.pad(images, (pad,) * 4, mode="reflect")
        large = F.interpolate(images, scale_factor=2.0, mode="bilinear", align_corners=False)
        cells = self.maps(large)
        if pad:  # the map is cut where the image ends, which need not be where a cell does
            k = (1.0 - 2 * pad / images.shape[-1]), (1.0 - 2 * pad / images.shape[-2])
            theta = torch.tensor([[k[0], 0.0, 0.0], [0.0, k[1], 0.0]], device=images.device).expand(len(images), 2, 3)
            size = [len(images), 1, max(1, round(h / 8)), max(1, round(w / 8))]
            cells = F.grid_sample(cells, F.affine_grid(theta, size, align_corners=False), align_corners=False)
        return Appearance(F.normalize(cells, dim=1))


def _keep(taken: list[Tensor], _module: nn.Module, _inputs: Any, output: Tensor) -> None:
    taken.append(output)


def _multiple(side: int) -> int:
    return max(1, round(side / 16)) * 16


def as_map(output: Any, size: tuple[int, int], layer: str) -> Tensor:
    """A layer's output as a map: maps stay, Swin's (B, h, w, C) are turned, ViT's tokens (B, 1 + h w, C) are laid out.

    Args:
        output: of the layer.
        size: (h, w) of the map.
        layer: its name, for the message.

    Returns:
        (B, C, h, w).

    Raises:
        UsageError: it is none of these.
    """
    h, w = size
    if isinstance(output, Tensor):
        if output.ndim == 4 and output.shape[1:3] == size and output.shape[2:] != size:
            return output.movedim(-1, 1)
        if output.ndim == 4:
            return output
        if output.ndim == 3 and output.shape[1] == 1 + h * w:
            return output[:, 1:].transpose(1, 2).unflatten(2, size)
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise UsageError("--layer must give a map (B, C, h, w)", layer, f"it gives {shape}")


def published_preprocessing(name: str) -> tuple[list[float], list[float]]:
    """Mean and spread of the channels that a network's published weights were trained with.

    Args:
        name: of the network.

    Returns:
        Three numbers each, of red, green and blue in [0, 1].
    """
    if name in URLS:
        return list(MEAN), list(STD)
    import torchvision

    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return list(getattr(preset, "mean", MEAN)), list(getattr(preset, "std", STD))


def known_network(name: str) -> bool:
    """Whether a network can be built.

    Args:
        name: of the network.

    Returns:
        True where it can.
    """
    import torchvision

    return name in URLS or name in torchvision.models.list_models(module=torchvision.models)


def _network(name: str, weights: Path | None, pretrained: bool) -> nn.Module:
    import torchvision

    if name in VITS:
        network: nn.Module = VisionTransformer(*VITS[name])
    elif name in URLS:
        network = torchvision.models.get_model(name.removeprefix("dino_"), weights=None)
        network.fc = nn.Identity()
    elif pretrained and weights is None:
        return _downloaded(name)
    else:
        network = _unfilled(name)
    if not pretrained:
        return network
    if weights is None:
        todo = f"Download {URLS[name]} and pass it with --weights, or use --encoder small, which needs nothing"
        raise ResourceError("weights of this encoder are read from a file", name, None, todo)
    fill(network, read_weights(weights), name, weights, ("head.", "fc.") if name in URLS else ())
    return network


def numbers_of(name: str) -> int:
    """How many numbers a network has, without making it.

    Args:
        name: of the network.

    Returns:
        Weights and running means together.
    """
    with torch.device("meta"):
        network = _network(name, None, pretrained=False)
    return sum(t.numel() for t in network.state_dict().values())


def _unfilled(name: str) -> nn.Module:
    import torchvision

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # two networks say how they will begin one day: weights are loaded into them
        network: nn.Module = torchvision.models.get_model(name, weights=None)
    return network


def _downloaded(name: str) -> nn.Module:
    import torchvision

    try:
        network: nn.Module = torchvision.models.get_model(name, weights="DEFAULT")
    except OSError as error:
        url = torchvision.models.get_model_weights(name).DEFAULT.url
        todo = f"Download {url} elsewhere and pass it with --weights, or use --encoder small, which needs nothing"
        raise ResourceError("cannot download the weights of encoder", name, error, todo) from error
    return network


def _last_layer_of_stride(network: nn.Module, stride: int, fixed_side: int) -> str:
    """The name of the last whole stage whose output is a map at 1/stride of the input's size, or tokens of one.

    A module that is called several times (a shared activation) counts by its last call.
    """
    side = fixed_side or stride * 8
    cells = (side // stride,) * 2
    fits: dict[str, bool] = {}
    hooks = []

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            fits.pop(name, None)
            shape = tuple(output.shape) if isinstance(output, Tensor) else ()
            as_cells = len(shape) == 4 and cells in (shape[-2:], shape[1:3])
            fits[name] = as_cells or (len(shape) == 3 and shape[1] == 1 + cells[0] * cells[1])

        return hook

    for name, module in network.named_modules():
        if name:
            hooks.append(module.register_forward_hook(watch(name)))
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError("this network cannot read pictures of any size", type(network).__name__, error) from error
    finally:
        for handle in hooks:
            handle.remove()
    found = [name for name, fit in fits.items() if fit]
    if not found:
        raise UsageError("this network has no map of stride 16; name a layer with --layer", type(network).__name__)
    outermost = min(name.count(".") for name in found)
    return [name for name in found if name.count(".") == outermost][-1]


def standardise(images: Tensor) -> Tensor:
    """Images as networks want them, by ImageNet's mean and spread.

    Args:
        images: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 3, H, W).
    """
    mean, std = images.new_tensor(MEAN).view(3, 1, 1), images.new_tensor(STD).view(3, 1, 1)
    return (images - mean) / std
