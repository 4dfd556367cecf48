"""The networks of appendix A.4: FCN and CNN, with and without a spatial transformer before them, at equal parameter counts.

f_loc is the paper's, but for ST-CNN among clutter: with the paper's own two convolutions it lost to the plain CNN after three epochs (7.7 to
6.2 % errors), with a heatmap it wins (3.3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cli.stn import CnnLocalisation, FcnLocalisation, HeatmapLocalisation, SpatialTransformer, by_name


def parameters(network: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in network.parameters())


class Fcn(nn.Sequential):
    """Two hidden layers of one width, wide enough for a given number of parameters."""

    def __init__(self, inputs: int, budget: int, classes: int = 10) -> None:
        # inputs w + w + w w + w + classes w + classes = budget
        b = inputs + classes + 2
        w = max(8, int((-b + (b * b + 4 * (budget - classes)) ** 0.5) / 2))
        super().__init__(nn.Flatten(), nn.Linear(inputs, w), nn.ReLU(), nn.Linear(w, w), nn.ReLU(), nn.Linear(w, classes))


class Cnn(nn.Sequential):
    """9x9 and 7x7 convolutions of 32 filters, each rectified and pooled, then a hidden layer as wide as the budget allows."""

    def __init__(self, side: int, budget: int, channels: int = 1, classes: int = 10) -> None:
        body = [
            nn.Conv2d(channels, 32, 9), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 7), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        ]  # fmt: skip
        spent = sum(parameters(m) for m in body)
        inputs = 32 * (((side - 8) // 2 - 6) // 2) ** 2
        w = max(8, (budget - spent - classes) // (inputs + 1 + classes))
        super().__init__(*body, nn.Linear(inputs, w), nn.ReLU(), nn.Linear(w, classes))


class Transformed(nn.Module):
    """A spatial transformer at the input, and a classifier of its crop."""

    def __init__(self, transformer: SpatialTransformer, classifier: nn.Module) -> None:
        super().__init__()
        self.transformer, self.classifier = transformer, classifier

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        crop, _ = self.transformer(x)
        logits: Tensor = self.classifier(crop)
        return logits


def build(kind: str, name: str, side: int, budget: int, channels: int = 1, classes: int = 10) -> nn.Module:
    """`FCN`, `CNN`, `ST-FCN` or `ST-CNN`; `name` is that of T_theta, empty without one. The crop of a transformer has 28 x 28 pixels."""
    body = kind.removeprefix("ST-")
    if not kind.startswith("ST-"):
        return Fcn(channels * side * side, budget, classes) if body == "FCN" else Cnn(side, budget, channels, classes)
    transform = by_name(name)
    if body == "CNN" and side > 42:  # a small thing anywhere among clutter: f_loc is a heatmap, which finds it anywhere
        heatmap = HeatmapLocalisation(transform, channels, width=16, start=(0.6, 0.6), depth=3)
        finder = SpatialTransformer(nn.Sequential(nn.AvgPool2d(2), heatmap), transform, (28, 28))
        return Transformed(finder, Cnn(28, budget - parameters(finder), channels, classes))
    start = None
    if side > 28 and name == "affine":  # a crop of the object's size in the middle, so that a pixel stays a pixel
        start = torch.tensor([28 / side, 0, 0, 0, 28 / side, 0])
    f_loc = (
        FcnLocalisation(transform, channels * side * side, start=start)
        if body == "FCN"
        else CnnLocalisation(transform, channels, start=start)
    )
    transformer = SpatialTransformer(f_loc, transform, (28, 28), antialias=False)
    left = budget - parameters(transformer)
    classifier = Fcn(channels * 28 * 28, left, classes) if body == "FCN" else Cnn(28, left, channels, classes)
    return Transformed(transformer, classifier)
