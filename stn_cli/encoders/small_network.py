"""The project's own small network: residual stages and a top-down step, dense features of stride 8."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

WIDTHS = (32, 64, 128, 256)
"""Channels of the four stages."""
BLOCKS = (1, 2, 2, 1)
"""Residual blocks of each stage."""
FEATURES = 128
"""Channels of the features."""
STRIDE = 8
"""Pixels to a cell of the features."""

Network = TypeVar("Network", bound=nn.Module)
"""Of `Convolution`s, the stem first."""


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2015, arXiv 1512.03385); the shortcut of a reducing block averages (ResNet-D).

    `inner` is how many channels there are between the two; as many as outputs when left out.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, inner: int | None = None) -> None:
        super().__init__()
        between = outputs if inner is None else inner
        self.first = Convolution(inputs, between, 3, stride)
        self.second = Convolution(between, outputs, 3)
        pool: list[nn.Module] = [nn.AvgPool2d(2, ceil_mode=True)] if stride > 1 else []
        self.shortcut = nn.Sequential(*pool, Convolution(inputs, outputs, 1)) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        return self.second(self.first(x, relu=True), self.shortcut(x), relu=True)


class Convolution(nn.Sequential):
    """A convolution and its batch norm; what is to be added to it and the ReLU after it, where there are any."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride), the size of `add`."""
        for part in self:
            x = part(x)
        x = x if add is None else x + add
        return F.relu(x) if relu else x


class PackedConvolution(nn.Module):
    """A convolution on the CPU whose weights are laid out once as oneDNN wants them, and not in each call.

    Adding and ReLU are done in the same pass. The operators are those that torch's own compiler calls.

    Raises:
        AttributeError, RuntimeError: this build of torch has no such operators.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        of = convolution.padding, convolution.stride, convolution.dilation, convolution.groups
        # not buffers: packed weights cannot be moved or converted
        self._weight = torch.ops.aten.mkldnn_reorder_conv2d_weight(convolution.weight.detach().to_mkldnn(), *of)
        self._bias, self._of = convolution.bias, of

    def forward(self, x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
        """As `Convolution`; no gradients."""
        packed = torch.ops.mkldnn._convolution_pointwise
        if add is None:
            return packed(x, self._weight, self._bias, *self._of, "relu" if relu else "none", [], "")
        return packed.binary(x, add, self._weight, self._bias, *self._of, "add", 1.0, "relu" if relu else None, [], "")


class SmallNetwork(nn.Module):
    """1.8 million parameters.

    The stages reduce by 2, 4, 8 and 16; what the last one knows of the whole is added to the third, so that the features are
    both local and of objects (a feature pyramid of one step, Lin et al. 2017, arXiv 1612.03144).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, WIDTHS[0], 3, 2)
        stages, before = [], WIDTHS[0]
        for number, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS, strict=True)):
            stage = []
            for block in range(blocks):
                stage.append(Residual(before, width, 2 if number and not block else 1))
                before = width
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)
        self.lateral = Convolution(WIDTHS[2], FEATURES, 1)
        self.top = Convolution(WIDTHS[3], FEATURES, 1)
        self.out = Convolution(FEATURES, FEATURES, 3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Standardised images (B, 3, H, W) -> features (B, 128, H/8, W/8), third stage (B, 128, H/8, W/8), last (B, 256, H/16, W/16)."""
        x = self.stem(images, relu=True)
        for stage in self.stages[:3]:
            x = stage(x)
        last = self.stages[3](x)
        top = F.interpolate(self.top(last), x.shape[-2:], mode="bilinear", align_corners=False)
        return self.out(self.lateral(x, top, relu=True), relu=True), x, last


def fused(network: Network, dtype: torch.dtype) -> Network:
    """A copy for looking at images: batch norms folded into their convolutions; half the time on a CPU. No gradients go through it.

    Args:
        network: to copy.
        dtype: of its weights.

    Returns:
        The copy.
    """
    out = copy.deepcopy(network).eval().requires_grad_(False)
    for module in out.modules():
        if isinstance(module, Convolution):
            conv, norm = module[0], module[1]
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            module[0], module[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    out = out.to(dtype).to(memory_format=torch.channels_last)
    if next(out.parameters()).device.type == "cpu" and torch.backends.mkldnn.is_available():
        with suppress(AttributeError, RuntimeError):  # another build of torch may lack the operators
            _pack(out)
    return out


def _pack(network: nn.Module) -> None:
    """Pack the convolutions of a network, all of them or none, after one of them has been used."""
    packed = []
    for module in network.modules():
        for name, part in module.named_children():
            if isinstance(part, Convolution):
                assert isinstance(part[0], nn.Conv2d)
                packed.append((module, name, PackedConvolution(part[0])))
    weight, (_, _, stem) = next(network.parameters()), packed[0]
    x = weight.new_zeros((1, weight.shape[1], 8, 8)).contiguous(memory_format=torch.channels_last)
    stem(x, stem(x))
    for module, name, part in packed:
        setattr(module, name, part)


class Objectness(nn.Module):
    """How much a cell looks like part of an object: a head on the network's features, with a look at the whole image.

    Args:
        inputs: channels of the features and of the last stage together.
    """

    def __init__(self, inputs: int, width: int = 64) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, width, 1)
        self.whole = nn.Linear(inputs, width)
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.read = nn.Conv2d(width, 1, 1)

    def forward(self, features: Tensor, last: Tensor) -> Tensor:
        """Features (B, 128, h, w) and last stage (B, 256, h/2, w/2) -> logits (B, h, w)."""
        x = torch.cat([features, F.interpolate(last, features.shape[-2:], mode="bilinear", align_corners=False)], 1)
        x = F.relu(self.reduce(x) + self.whole(x.mean((2, 3)))[..., None, None])
        return self.read(F.relu(self.mix(x)))[:, 0]
