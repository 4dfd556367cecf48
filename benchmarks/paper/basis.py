"""A basis B that is learned (paper, end of section 3.2: T_theta = M_theta B), beside affine and thin plate splines at equal parameters.

    python -m benchmarks.paper.basis [--steps 1000] [--seeds 3] [--quick]

E: digits bent by thin plate splines, as in table 1; `structured` with 4 bends. Waves: rows shifted by a sine of their height and columns by a
sine of their place, both by a random share; `structured` with 2 bends, which begin as the two smoothest there are. In
docs/figures/basis.png: the bends of B before and after learning waves, the two sines, and crops of drawn digits.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.paper.fitting import Schedule
from benchmarks.paper.mnist import elastic
from benchmarks.paper.networks import Fcn, Transformed, parameters
from benchmarks.paper.pictures import Picture, drawn_digits, grey, with_net, write_sheet
from benchmarks.paper.trials import compared, digit_task, options
from benchmarks.provenance import SAMPLER, begin, save
from stn_cli.stn import FcnLocalisation, SpatialTransformer, Structured, Transformation, base_grid, by_name, sample

BUDGET = 90_000
BENDS = {"E": 4, "waves": 2}


def sines(points: Tensor) -> Tensor:
    """(..., 2) -> (..., 2): a sine of y and a sine of x, one and a half waves across the image."""
    return torch.sin(1.5 * math.pi * points.flip(-1))


def waved(x: Tensor, g: torch.Generator) -> Tensor:
    """Read along waves of up to 4 pixels each way."""
    points = base_grid((28, 28))
    amount = (torch.rand(len(x), 1, 1, 2, generator=g) * 2 - 1) * (4 / 14)
    return sample(x, points + amount * sines(points))


DISTORT = {"E": elastic, "waves": waved}


def transforms(name: str) -> dict[str, Transformation | None]:
    """Those that are compared on a set."""
    return {
        "none": None,
        "affine": by_name("affine"),
        "thin plate spline": by_name("thin_plate_spline"),
        "structured, B as it begins": Structured(BENDS[name], learned=False),
        "structured, B learned": Structured(BENDS[name]),
    }


def network(name: str, what: str) -> nn.Module:
    """An FCN, behind a transformer of the kind."""
    transform = transforms(name)[what]
    if transform is None:
        return Fcn(28 * 28, BUDGET)
    transformer = SpatialTransformer(FcnLocalisation(transform, 28 * 28), transform, (28, 28), antialias=False)
    return Transformed(transformer, Fcn(28 * 28, BUDGET - parameters(transformer)))


def bends(transform: Structured) -> list[Picture]:
    """Every bend of B as a picture, black at its least and white at its greatest value."""
    values = transform.basis(base_grid((60, 60)).flatten(0, 1))[:, 3:].T.view(-1, 60, 60)
    return [grey((v - v.min()) / (v.max() - v.min()), 120) for v in values]


@torch.no_grad()
def picture(trained: nn.Module) -> None:
    """The bends of B before, after, and the truth; drawn digits in waves, where they are read, and the crops."""
    assert isinstance(trained, Transformed)
    transformer = trained.transformer
    assert isinstance(transformer.transform, Structured)
    truth = [grey((v + 1) / 2, 120) for v in sines(base_grid((60, 60))).permute(2, 0, 1)]
    x = waved(drawn_digits([2, 3, 4, 5, 7, 0]).float() / 255, torch.Generator().manual_seed(2))
    crops, theta = transformer(x)
    nets = transformer.transform.grid(theta, (21, 21))
    read = [with_net(grey(image[0], 120), net) for image, net in zip(x, nets, strict=True)]
    write_sheet(
        "basis", [[*bends(Structured(2)), *bends(transformer.transform), *truth], read, [grey(c[0], 120) for c in crops]]
    )


def main() -> None:
    given = options(__doc__, steps=1000)
    begin()
    counts = (500, 100) if given.quick else (20_000, 4000)
    rows = {}
    for name, distort in DISTORT.items():
        task = digit_task(lambda images, g, distort=distort: distort(images.float() / 255, g), *counts)
        builds = {what: partial(network, name, what) for what in transforms(name)}
        schedule = Schedule(given.steps, batch=16 if given.quick else 128, basis_lr=3)
        found, networks = compared(builds, task, schedule, given.seeds, f"{name}, ")
        rows |= found
    if not given.quick:
        picture(networks["structured, B learned"])
        save("paper_basis", {"rows": rows}, SAMPLER, seeds=range(given.seeds))


if __name__ == "__main__":
    main()
