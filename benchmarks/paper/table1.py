"""Distorted MNIST (paper, table 1): does a transformer before a classifier help, at equal parameter counts?

    python -m benchmarks.paper.table1 [ROW ...] [--device cpu] [--epochs 8] [--seeds 1] [--quick]

Rows are R, RTS, P, E and TC. Every distortion is drawn anew for every training image; the 10,000 test images are drawn once. A cell that
an earlier run measured with the same number of epochs is not measured again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.paper.fitting import Schedule, error, fit
from benchmarks.paper.mnist import SIZES, distorted, load
from benchmarks.paper.networks import build, parameters
from benchmarks.paper.reported import TABLE1
from benchmarks.provenance import SAMPLER, begin, earlier, save

BUDGET = {28: 120_000, 42: 180_000, 60: 300_000}
TRANSFORMS = ("affine", "projective", "thin_plate_spline")
NAME = "paper_table1"


def measure(row: str, column: str, epochs: float, seed: int, device: torch.device, quick: bool) -> dict[str, float]:
    """Train and test one network."""
    images, labels = load("train", device, 2000 if quick else None)
    x_test, y_test = load("test", device, 500 if quick else None)
    side = SIZES[row]
    torch.manual_seed(seed)
    kind, _, transform = column.partition(" ")
    network = build(kind, transform, side, BUDGET[side]).to(device)
    schedule = Schedule(steps=max(1, int(len(images) * epochs / 256)), seed=seed)

    def batch(g: torch.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.randint(len(images), (n,), generator=g).to(device)
        return distorted(images[index], row, g), labels[index]

    seconds = fit(network, batch, schedule)
    test = torch.Generator().manual_seed(10_000)
    parts = [distorted(part, row, test) for part in x_test.split(500)]
    wrong = error(network, torch.cat(parts), y_test)
    return {
        "error": round(wrong, 2),
        "epochs": epochs,
        "parameters": parameters(network),
        "share_of_paper": round(schedule.share, 4),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("rows", nargs="*", default=[])
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--epochs", type=float, default=8)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--quick", action="store_true", help="2,000 images, one epoch, nothing saved")
    options = arguments.parse_args()
    device = torch.device(options.device)
    done: list[str] = []
    table = {} if options.quick else earlier(NAME, "rows")
    begin()
    print(f"{'':4} {'network':26} {'error %':>8} {'paper':>6} {'epochs':>7} {'parameters':>11} {'seconds':>8}")
    for row in options.rows or TABLE1:
        cells = table.setdefault(row, {})
        for column, paper in TABLE1[row].items():
            epochs = 1.0 if options.quick else options.epochs
            if cells.get(column, {}).get("epochs") != epochs:
                done = list(dict.fromkeys([*done, row]))
                cells[column] = measure(row, column, epochs, options.seed, device, options.quick)
                if not options.quick:
                    save(NAME, {"device": options.device, "rows": table}, SAMPLER, rows=done, seeds=(options.seed,))
            c = cells[column]
            print(
                f"{row:4} {column:26} {c['error']:8.2f} {paper:6.1f} {c['epochs']:7g} {c['parameters']:11,} {c['seconds']:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
