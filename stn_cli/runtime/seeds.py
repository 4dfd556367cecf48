"""Random numbers of single steps of a training: they depend on the seed and the step alone, so that a resumed run draws the same."""

from __future__ import annotations

import torch

SEED_STRIDE = 1_000_003
"""How far apart the generators of neighbouring seeds begin; a prime larger than any number of steps, so that no two of them meet."""
DRAW_STRIDE = 7919
"""How far apart the seeds of neighbouring steps are that draw variants of pictures; a prime."""


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator, on the CPU, of one step of a training.

    Args:
        seed: of the training.
        step: its number, from 0.

    Returns:
        A generator that no other step shares.
    """
    return torch.Generator().manual_seed(seed * SEED_STRIDE + step)
