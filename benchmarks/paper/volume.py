"""A digit in a volume (paper, appendix A.3): extruded, turned, anywhere in 60 x 60 x 60 voxels; found, turned back and flattened.

    python -m benchmarks.paper.volume [--device cpu] [--steps 1500] [--quick]

With the transformer: 3-D f_loc on the volume at a quarter of its size, affine3d, a crop of 28 x 28 x 28, its sum along z, a 2-D
CNN. Without: the sum of the whole volume along z, halved, and the same CNN with the parameters that f_loc had.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.paper.fitting import Schedule, error, fit
from benchmarks.paper.mnist import load
from benchmarks.paper.networks import Cnn, parameters
from benchmarks.provenance import SAMPLER, begin, save
from stn_cli.stn import Affine3d, SpatialTransformer, TrunkLocalisation, by_name, flatten_volume, sample

SIDE, DEPTH = 60, 10
BUDGET = 200_000


def rotation(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Rz Ry Rx (n, 3, 3) of angles (n,)."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)

    def around(a: Tensor, axis: int) -> Tensor:
        c, s = a.cos(), a.sin()
        rows = {
            0: (one, zero, zero, zero, c, -s, zero, s, c),
            1: (c, zero, s, zero, one, zero, -s, zero, c),
            2: (c, -s, zero, s, c, zero, zero, zero, one),
        }[axis]
        return torch.stack(rows, -1).view(-1, 3, 3)

    return around(z, 2) @ around(y, 1) @ around(x, 0)


def volumes(digits: Tensor, g: torch.Generator) -> Tensor:
    """Digits (n, 1, 28, 28) in [0, 1] -> volumes (n, 1, 60, 60, 60).

    Extruded by 10 voxels, turned by up to 45 degrees about x and y and 20 about z, 0.8 to 1.2 times the size.
    """
    n = len(digits)
    angle = (torch.rand(3, n, generator=g) * 2 - 1) * torch.tensor([[math.pi / 4], [math.pi / 4], [math.pi / 9]])
    scale = torch.rand(n, 1, 1, generator=g) * 0.4 + 0.8
    block = digits[:, :, None].expand(-1, -1, DEPTH, -1, -1)
    size = torch.tensor([28.0, 28.0, DEPTH])
    linear = rotation(*angle).transpose(1, 2) * (SIDE / (size[:, None] * scale))
    centre = (torch.rand(n, 3, 1, generator=g) * 2 - 1) * 0.25
    theta = torch.cat([linear, -linear @ centre], -1).flatten(1)
    return sample(block, Affine3d().grid(theta.to(digits.device), (SIDE,) * 3))


class Flattened(nn.Module):
    """Without a transformer: the sum along z, at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = Cnn(30, BUDGET)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 60, 60, 60) -> logits."""
        logits: Tensor = self.classifier(F.avg_pool2d(flatten_volume(x, "z"), 2) / DEPTH)
        return logits


class Found(nn.Module):
    """With a 3-D spatial transformer before the flattening."""

    def __init__(self) -> None:
        super().__init__()
        transform = by_name("affine3d")
        trunk = nn.Sequential(
            nn.AvgPool3d(4), nn.Conv3d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2),
            nn.Conv3d(16, 32, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        f_loc = TrunkLocalisation(transform, trunk, 32, cells=3, start=0.7 * transform.identity())
        self.transformer = SpatialTransformer(f_loc, transform, (28, 28, 28), kernel="trilinear")
        self.classifier = Cnn(28, BUDGET - parameters(self.transformer))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 60, 60, 60) -> logits."""
        crop, _ = self.transformer(x)
        logits: Tensor = self.classifier(flatten_volume(crop, "z") / DEPTH)
        return logits


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--steps", type=int, default=1500)
    arguments.add_argument("--quick", action="store_true", help="10 steps, 100 test volumes, nothing saved")
    options = arguments.parse_args()
    device = torch.device(options.device)
    images, labels = load("train", device)
    x_test, y_test = load("test", device, 100 if options.quick else 1000)
    steps = 10 if options.quick else options.steps
    g = torch.Generator().manual_seed(10_000)
    test = torch.cat([volumes(part.float() / 255, g).half() for part in x_test.split(50)])
    rows = {}
    begin()
    for name, build in (("flattened only", Flattened), ("found, turned and flattened", Found)):
        torch.manual_seed(0)
        model = build().to(device)

        def batch(g: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
            index = torch.randint(len(images), (n,), generator=g).to(device)
            return volumes(images[index].float() / 255, g), labels[index]

        seconds = fit(model, batch, Schedule(steps=steps, batch=24, lr=2e-3, localisation_lr=0.1))
        parts = [(x.float(), y) for x, y in zip(test.split(50), y_test.split(50), strict=True)]
        wrong = sum(error(model, x, y) * len(y) for x, y in parts) / len(y_test)
        rows[name] = {"error": round(wrong, 2), "parameters": parameters(model), "steps": steps, "seconds": round(seconds, 1)}
        print(f"{name:30} error {wrong:6.2f} %   {parameters(model):,} parameters   {seconds:.0f} s", flush=True)
        if not options.quick:
            save("paper_volume", {"device": options.device, "rows": rows}, SAMPLER)


if __name__ == "__main__":
    main()
