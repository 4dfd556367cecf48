"""Dense prediction through a transformer: the pixels of a digit in clutter, at a tenth of the pixels.

    python -m benchmarks.paper.segmentation [ROW ...] [--quick]

The images are those of TC (an MNIST digit anywhere in 60 x 60, among 16 pieces of other digits); what is asked for is the
digit's own pixels, at full resolution. One network of four 3x3 convolutions answers, trained on as many images in each row:

- whole image: it sees all 3,600 pixels;
- shrunk: it sees the image at 19 x 19, a tenth of the pixels, and its answer is enlarged again;
- through a transformer: f_loc chooses a crop, the network sees it at 19 x 19, and its answer is put back with `unwarp`. f_loc learns from the
  answer's loss alone.

IoU is that of the answers with the digits' pixels, over all pixels of the test images. Multiplications are those of one image, f_loc included.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.paper.fitting import Schedule, fit
from benchmarks.paper.mnist import among_clutter, load
from benchmarks.provenance import ROOT, SAMPLER, begin, earlier, save
from stn_cli.stn import CnnLocalisation, SpatialTransformer, Transformation, by_name, unwarp

SIDE, SMALL = 60, 19
PICTURE = ROOT / "docs" / "figures" / "segmentation.png"
ROWS = ("whole image", "shrunk", "through a transformer")
NOWHERE = -4.0
"""Logit outside of a crop."""


def scenes(digits: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """uint8 digits (N, 1, 28, 28) -> images (N, 1, SIDE, SIDE) in [0, 1], and which pixels are the digit's, 0 or 1."""
    x = digits.float() / 255
    images, where = among_clutter(x, g, side=SIDE)
    own = torch.zeros_like(images)
    for image, digit, (left, top) in zip(own, x, where.tolist(), strict=True):
        image[:, top : top + 28, left : left + 28] = digit > 0.3
    return images, own


def convolutions(width: int = 12) -> nn.Sequential:
    """(B, 1, h, w) -> logits (B, 1, h, w); it sees 15 pixels far."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=2, dilation=2), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, padding=4, dilation=4), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1)),
    )


class Shrunk(nn.Module):
    """The network on the whole image at SMALL x SMALL, or at its own size."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.network, self.side = convolutions(), side

    def forward(self, U: Tensor) -> Tensor:
        small = F.interpolate(U, self.side, mode="bilinear", antialias=True) if self.side != SIDE else U
        answer: Tensor = self.network(small)
        return F.interpolate(answer, SIDE, mode="bilinear") if self.side != SIDE else answer


class Through(nn.Module):
    """The network on a crop, its answer put back."""

    def __init__(self) -> None:
        super().__init__()
        self.transform: Transformation = by_name("attention")
        start = torch.tensor([0.8, 0.0, 0.0])
        f_loc = CnnLocalisation(self.transform, 1, start=start, cells=7)
        self.cut = SpatialTransformer(f_loc, self.transform, (SMALL, SMALL), sides=(0.3, 1.0), inside=True)
        self.network = convolutions()

    def forward(self, U: Tensor) -> Tensor:
        crops, theta = self.cut(U)
        answer = self.network(crops) - NOWHERE  # what unwarp leaves empty is NOWHERE
        return unwarp(self.transform, answer, theta, (SIDE, SIDE)) + NOWHERE


def built(row: str) -> nn.Module:
    return Through() if row == ROWS[2] else Shrunk(SIDE if row == ROWS[0] else SMALL)


def multiplications(network: nn.Module) -> int:
    """Of convolutions and linear layers, for one image."""
    total = 0

    def count(module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total
        weight: Tensor = module.weight  # type: ignore[assignment]
        total += weight.numel() * (output.shape[-1] * output.shape[-2] if output.ndim == 4 else 1)

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        network(torch.rand(1, 1, SIDE, SIDE))
    for hook in hooks:
        hook.remove()
    return total


def loss(answer: Tensor, own: Tensor) -> Tensor:
    """Cross-entropy of pixels, and how far the answers are from overlapping the digits (soft IoU), so that a digit's few pixels count."""
    p = answer.sigmoid()
    both, either = (p * own).sum((1, 2, 3)), (p + own - p * own).sum((1, 2, 3))
    return F.binary_cross_entropy_with_logits(answer, own) + (1 - both / either.clamp(min=1)).mean()


@torch.no_grad()
def iou(network: nn.Module, images: Tensor, own: Tensor) -> float:
    """Percent."""
    network.eval()
    answers = torch.cat([network(part) > 0 for part in images.split(250)])
    return 100 * float((answers & (own > 0)).sum() / (answers | (own > 0)).sum())


def picture(networks: dict[str, nn.Module], images: Tensor, own: Tensor) -> None:
    """Images, truth and each row's answer, one below the other; the crop's outline is drawn in the image."""
    with torch.no_grad():
        lines = [images, own, *(network(images).sigmoid() for network in networks.values())]
    tiles = [[cv2.resize(t[0].numpy(), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) for t in line] for line in lines]
    if isinstance(through := networks.get(ROWS[2]), Through):
        with torch.no_grad():
            corners = through.transform.corners(through.cut.regress(images))
        for tile, quad in zip(tiles[0], (corners + 1) * SIDE, strict=True):
            cv2.polylines(tile, [quad.round().int().numpy()], True, 1.0)
    sheet = np.concatenate([np.concatenate([np.pad(t, 2, constant_values=0.5) for t in line], 1) for line in tiles])
    cv2.imwrite(str(PICTURE), (255 * sheet).astype(np.uint8))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("names", nargs="*", metavar="ROW", choices=[*ROWS, []], help="all when left out")
    arguments.add_argument("--quick", action="store_true", help="few images and steps, nothing saved")
    options = arguments.parse_args()
    schedule = Schedule(steps=4, batch=8) if options.quick else Schedule(steps=600, batch=32, localisation_lr=1.0)
    train, test = (load(split, torch.device("cpu"), 200 if options.quick else None)[0] for split in ("train", "test"))
    images, own = scenes(test[:1000], torch.Generator().manual_seed(1))
    rows = {} if options.quick else earlier("paper_segmentation", "rows")
    networks: dict[str, nn.Module] = {}
    begin()
    for row in options.names or ROWS:
        torch.manual_seed(schedule.seed)
        networks[row] = network = built(row)

        def batch(g: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
            return scenes(train[torch.randint(len(train), (n,), generator=g)], g)

        seconds = fit(network, batch, schedule, loss)
        rows[row] = {
            "iou": round(iou(network, images, own), 1),
            "multiplications": multiplications(network),
            "pixels": SIDE**2 if row == ROWS[0] else SMALL**2,
        }
        print(
            f"{row:22} IoU {rows[row]['iou']:5.1f}  {rows[row]['multiplications']:9,} multiplications  {seconds:5.0f} s",
            flush=True,
        )
    if not options.quick:
        if len(networks) == len(ROWS):
            picture(networks, images[:10], own[:10])
        save("paper_segmentation", {"rows": rows}, SAMPLER, rows=options.names or ())


if __name__ == "__main__":
    main()
