"""Sampling kernels k(d; phi) of equation 3, as functions of the distance to a pixel's centre; phi may be learned.

A kernel is any object with a `name`, the number of `taps` along an axis that it can touch, whether its weights are `normalised` to sum to 1
at every place, and `weight(d)`, whose derivative autograd takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from stn_cli.errors import UsageError


class Kernel(Protocol):
    """A separable kernel."""

    name: str
    taps: int
    """How many pixels along an axis it can touch: those whose centres are within taps / 2."""
    normalised: bool
    """Whether the weights of a place are divided by their sum: for kernels that do not sum to 1 by themselves."""

    def weight(self, distance: Tensor) -> Tensor:
        """The kernel k.

        Args:
            distance: (...) d = x - m, from the pixels' centres to the place, in pixels.

        Returns:
            (...) k(d); differentiable where k is.
        """


class Integer:
    """k(d) = delta(floor(d + 0.5)): the nearest pixel, halves upward (equation 4)."""

    name = "integer"
    taps = 1
    normalised = False

    def weight(self, distance: Tensor) -> Tensor:
        """1 for the pixel that was picked; its gradient with respect to the place is 0."""
        return torch.ones_like(distance)


class Bilinear:
    """`k(d) = max(0, 1 - |d|)` (equation 5); sub-gradients of equation 7: -1 right of the pixel, 1 left of it and on it, 0 from 1 on."""

    name = "bilinear"
    taps = 2
    normalised = False

    def weight(self, distance: Tensor) -> Tensor:
        """`max(0, 1 - |d|)`."""
        slope = torch.where(distance > 0, 1 - distance, 1 + distance)
        return torch.where(distance.abs() < 1, slope, torch.zeros_like(distance))


@dataclass(frozen=True)
class Bicubic:
    """Cubic convolution (Keys 1981).

    Args:
        a: slope at distance 1; -0.75 as in torch and OpenCV, -0.5 is Catmull-Rom and exact for quadratics.
    """

    a: float = -0.75
    name = "bicubic"
    taps = 4
    normalised = False

    def weight(self, distance: Tensor) -> Tensor:
        """Cubic pieces on [0, 1] and [1, 2]."""
        a, d = self.a, distance.abs()
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


@dataclass(frozen=True)
class Lanczos:
    """`k(d) = sinc(d) sinc(d / lobes)` for `|d| < lobes`; normalised, so that a constant stays one.

    Args:
        lobes: 2 or 3 are usual.
    """

    lobes: int = 3
    name = "lanczos"
    normalised = True

    def __post_init__(self) -> None:
        if not 1 <= self.lobes <= 16:
            raise UsageError("lobes of the Lanczos kernel must be 1 to 16", self.lobes)

    @property
    def taps(self) -> int:
        """Twice the lobes."""
        return 2 * self.lobes

    def weight(self, distance: Tensor) -> Tensor:
        """The windowed sinc."""
        inside = distance.abs() < self.lobes
        return torch.where(inside, torch.sinc(distance) * torch.sinc(distance / self.lobes), torch.zeros_like(distance))


class Gaussian(nn.Module):
    """k(d; sigma) = exp(-d^2 / (2 sigma^2)), normalised; sigma is learned with the network unless it is fixed.

    A wide sigma reads from afar: the sampler then has gradients where a bilinear one sees flat ground.

    Args:
        sigma: at the start, pixels.
        radius: pixels on either side that are read.
        learned: whether sigma is a parameter.
    """

    name = "gaussian"
    normalised = True
    log_sigma: Tensor

    def __init__(self, sigma: float = 0.7, radius: int = 2, *, learned: bool = True) -> None:
        super().__init__()
        if not sigma > 0 or radius < 1:
            raise UsageError("the Gaussian kernel needs sigma > 0 and radius >= 1", f"{sigma:g}, {radius}")
        self.taps = 2 * radius
        start = torch.tensor(float(sigma)).log()
        if learned:
            self.log_sigma = nn.Parameter(start)
        else:
            self.register_buffer("log_sigma", start)

    def weight(self, distance: Tensor) -> Tensor:
        """exp(-d^2 / (2 sigma^2))."""
        return torch.exp(-0.5 * (distance / self.log_sigma.exp().to(distance.dtype)).square())


@dataclass(frozen=True)
class Custom:
    """Any k(d): a differentiable function of the distance.

    Args:
        function: distances (...) -> weights (...).
        taps: how many pixels along an axis it can touch.
        normalised: whether weights are divided by their sum.
    """

    function: Callable[[Tensor], Tensor]
    taps: int
    normalised: bool = False
    name: str = "custom"

    def weight(self, distance: Tensor) -> Tensor:
        """The function."""
        return self.function(distance)


KERNELS: dict[str, Callable[[], Any]] = {
    "integer": Integer,
    "bilinear": Bilinear,
    "trilinear": Bilinear,
    "bicubic": Bicubic,
    "lanczos": Lanczos,
    "gaussian": Gaussian,
}


def kernel_by_name(name: str) -> Kernel:
    """The kernel called `name`.

    Args:
        name: of KERNELS; bilinear and trilinear are one, as the sampler takes the dimensions from the picture.

    Returns:
        A new kernel with its usual settings.

    Raises:
        UsageError: no kernel has that name.
    """
    if name not in KERNELS:
        raise UsageError("unknown sampling kernel", name, f"known: {', '.join(KERNELS)}")
    return KERNELS[name]()
