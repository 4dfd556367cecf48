"""Sampling kernels k(d; phi) of equation 3, as functions of the distance to a pixel's centre."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Kernel(Protocol):
    """A separable kernel."""

    name: str
    taps: int
    """How many pixels along an axis it can touch."""

    def first_tap(self, x: Tensor) -> Tensor:
        """The first pixel (as a whole number in x's dtype) whose weight can differ from 0 at index x."""

    def weight(self, distance: Tensor) -> Tensor:
        """k(d) for distances x - m; differentiable where k is."""


class Integer:
    """k(d) = delta(floor(d + 0.5)): the nearest pixel, halves upward (equation 4)."""

    name = "integer"
    taps = 1

    def first_tap(self, x: Tensor) -> Tensor:
        """The nearest pixel."""
        return torch.floor(x.detach() + 0.5)

    def weight(self, distance: Tensor) -> Tensor:
        """1 for the pixel that was picked; its gradient with respect to the place is 0."""
        return torch.ones_like(distance)


class Bilinear:
    """k(d) = max(0, 1 - |d|) (equation 5), with the sub-gradients of equation 7."""

    name = "bilinear"
    taps = 2

    def first_tap(self, x: Tensor) -> Tensor:
        """The pixel at or left of x."""
        return torch.floor(x.detach())

    def weight(self, distance: Tensor) -> Tensor:
        """max(0, 1 - |d|)."""
        return (1 - distance.abs()).clamp(min=0)


KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in (Integer(), Bilinear())}
