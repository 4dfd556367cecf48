"""MNIST addition (paper, table 4): the sum of two digits, each in a channel of its own, each turned, scaled and moved by itself.

    python -m benchmarks.paper.table4 [--device cpu] [--epochs 18] [--quick]

One transformer must choose between the two; two in parallel take one each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.paper.fitting import Schedule, error, fit
from benchmarks.paper.mnist import load, rotated_translated_scaled
from benchmarks.paper.networks import Fcn, build, parameters
from benchmarks.paper.reported import TABLE4
from benchmarks.provenance import SAMPLER, begin, save
from stn_cli.stn import CnnLocalisation, ParallelTransformers, SpatialTransformer, by_name

BUDGET = 400_000
BATCH = 128
SIDE = 42


class TwoTransformed(nn.Module):
    """Two transformers side by side; their crops, both channels of each, go to one classifier."""

    def __init__(self, transform: str) -> None:
        super().__init__()
        self.transformer = ParallelTransformers([_transformer(transform) for _ in range(2)])
        self.classifier = Fcn(4 * 28 * 28, BUDGET - parameters(self.transformer), classes=19)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, 42, 42) -> logits (B, 19)."""
        crops, _ = self.transformer(x)  # (B, 2, 2, 28, 28)
        logits: Tensor = self.classifier(crops.flatten(1, 2))
        return logits


def _transformer(name: str) -> SpatialTransformer:
    transform = by_name(name)
    return SpatialTransformer(CnnLocalisation(transform, channels=2), transform, (28, 28), antialias=False)


def network(column: str) -> nn.Module:
    """The network of a column of the table."""
    kind, _, transform = column.rpartition(" ") if " " in column else (column, "", "")
    if kind == "2 x ST-FCN":
        return TwoTransformed(transform)
    if kind == "ST-FCN":
        transformer = _transformer(transform)
        return nn.Sequential(_First(transformer), Fcn(2 * 28 * 28, BUDGET - parameters(transformer), classes=19))
    return build(kind, transform, SIDE, BUDGET, channels=2, classes=19)


class _First(nn.Module):
    def __init__(self, transformer: SpatialTransformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, x: Tensor) -> Tensor:
        crop: Tensor = self.transformer(x)[0]
        return crop


def pairs(images: Tensor, labels: Tensor, n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """n images (n, 2, 42, 42) of two digits, and their sums."""
    index = torch.randint(len(images), (2 * n,), generator=g).to(images.device)
    x = rotated_translated_scaled(images[index].float() / 255, g)
    return torch.cat([x[:n], x[n:]], 1), labels[index[:n]] + labels[index[n:]]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("columns", nargs="*", default=[])
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--epochs", type=float, default=18)
    arguments.add_argument("--quick", action="store_true", help="2,000 images, one epoch, nothing saved")
    options = arguments.parse_args()
    device = torch.device(options.device)
    images, labels = load("train", device, 2000 if options.quick else None)
    x_test, y_test = load("test", device, 500 if options.quick else None)
    epochs = 1.0 if options.quick else options.epochs
    rows = {}
    begin()
    print(f"{'network':30} {'error %':>8} {'paper':>6} {'parameters':>11} {'seconds':>8}")
    for column in options.columns or TABLE4:
        torch.manual_seed(0)
        model = network(column).to(device)
        schedule = Schedule(steps=max(1, int(len(images) * epochs / BATCH)), batch=BATCH, lr=1e-3)
        seconds = fit(model, lambda g, n: pairs(images, labels, n, g), schedule)
        g = torch.Generator().manual_seed(10_000)
        test = [pairs(x_test, y_test, 500, g) for _ in range(len(x_test) // 500)]
        wrong = error(model, torch.cat([x for x, _ in test]), torch.cat([y for _, y in test]))
        rows[column] = {
            "error": round(wrong, 2),
            "parameters": parameters(model),
            "seconds": round(seconds, 1),
            "epochs": epochs,
            "share_of_paper": round(schedule.share, 4),
        }
        r = rows[column]
        print(f"{column:30} {r['error']:8.2f} {TABLE4[column]:6.1f} {r['parameters']:11,} {r['seconds']:8.0f}", flush=True)
        if not options.quick:
            save("paper_table4", {"device": options.device, "rows": rows}, SAMPLER)


if __name__ == "__main__":
    main()
