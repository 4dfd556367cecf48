"""Co-localisation (paper, table 5): T and TC, ten digits each, with the paper's encoder and with ours.

    python -m benchmarks.paper.table5 [SET ...] [--quick]

The paper's e() is a network that was trained to classify digits, with their labels; its crops are told the digits' true size, as the
paper's are (the size rule is made for the scale of our embeddings). Ours here is `gradient`, which knows nothing and finds the size.
What is scored are the crops of the search; the last column is a whole run's transformer, from the results of benchmarks.digits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.common import SHARED, need, parser
from benchmarks.paper.mnist import load
from benchmarks.paper.reported import TABLE5
from benchmarks.provenance import LEARNING, begin, earlier, save
from stn_cli.coloc.score.kinds import find_kinds
from stn_cli.encoders import GRID, Appearance, Encoder, GradientEncoder, embed_crops
from stn_cli.geometry import box_iou
from stn_cli.media.cache import build_cache, letterbox_side
from stn_cli.media.scan import scan
from stn_cli.runs.config import TrainConfig


class DigitEncoder(nn.Module):
    """The paper's own kind of e(): a convolutional digit classifier, trained with labels; its last map, 4 x 4 cells to a digit."""

    name = "digit classifier"
    dense = False
    patch = 28
    stride = 4
    spread = 2

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, channels, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.head = nn.Linear(channels * GRID * GRID, 10)
        self.plain = GradientEncoder()

    def structure(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 32, H / 4, W / 4)."""
        out: Tensor = self.body(images.mean(1, keepdim=True))
        return out

    def appearance(self, images: Tensor, pad: int = 0, objectness: bool = True) -> Appearance:
        """As the gradient encoder's; not used by a search for rigid things."""
        return self.plain.appearance(images, pad, objectness)

    def forward(self, images: Tensor) -> Tensor:
        """Digits (B, 3, 28, 28) -> logits (B, 10)."""
        out: Tensor = self.head(embed_crops(self, images))
        return out


def trained(steps: int) -> DigitEncoder:
    """The classifier, trained on MNIST's 60,000."""
    torch.manual_seed(0)
    encoder = DigitEncoder()
    images, labels = load("train", torch.device("cpu"))
    optimiser = torch.optim.Adam(encoder.parameters(), lr=2e-3)
    g = torch.Generator().manual_seed(0)
    for _ in range(steps):
        index = torch.randint(len(images), (128,), generator=g)
        x = images[index].float().div(255).expand(-1, 3, -1, -1)
        x = F.pad(x, (2, 2, 2, 2))  # a little off the centre, as crops are
        dx, dy = torch.randint(5, (2,), generator=g).tolist()
        optimiser.zero_grad()
        F.cross_entropy(encoder(x[..., dy : dy + 28, dx : dx + 28]), labels[index]).backward()
        optimiser.step()
    with torch.no_grad():
        x, y = load("test", torch.device("cpu"))
        logits = torch.cat([encoder(part.float().div(255).expand(-1, 3, -1, -1)) for part in x.split(1000)])
        print(f"the classifier's own error: {100 * float((logits.argmax(1) != y).float().mean()):.1f} %")
    return encoder.eval().requires_grad_(False)


@torch.no_grad()
def searched(name: str, encoder: Encoder, size: tuple[float, float] = (0.0, 0.0)) -> float:
    """CorLoc of the search, percent; `size` is told to it, (0, 0) lets it find out."""
    folder = SHARED / "data" / "digits" / name
    files = scan(folder / "images").images
    truth = json.loads((folder / "boxes.json").read_text())
    cache = build_cache(files, letterbox_side(files, 128))
    (kind,) = find_kinds(cache, encoder, TrainConfig(search="rigid", size=size), torch.device("cpu"))
    right = 0
    for frame, file, box in zip(cache.frames, cache.names, kind.crops().boxes()[:, 0], strict=True):
        right += bool((box_iou(frame.boxes_from_letterbox(box), torch.tensor(truth[file]).float()) > 0.5).any())
    return 100 * right / len(cache)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("sets", nargs="*", default=[])
    arguments.add_argument("--quick", action="store_true", help="two sets, 100 steps of the classifier, nothing saved")
    options = arguments.parse_args()
    need(SHARED / "data" / "digits")
    names = options.sets or (["T3", "TC3"] if options.quick else [f"{kind}{d}" for kind in TABLE5 for d in range(10)])
    begin()
    classifier = trained(100 if options.quick else 1500)
    runs = earlier("digits")
    rows: dict[str, dict[str, float | str | None]] = {}
    print(f"{'set':5} {'paper':>6} {'search, digit classifier':>25} {'search, gradient':>17} {'whole run, gradient':>20}")
    for name in names:
        kind = name.rstrip("0123456789")
        row = {
            "paper": TABLE5[kind],
            "classifier": searched(name, classifier, (28 / 84, 28 / 84)),
            "gradient": searched(name, GradientEncoder()),
        }
        rows[name] = {**row, "run": runs.get(name, {}).get("corloc")}
        run = rows[name]["run"] or ""
        print(f"{name:5} {row['paper']:>6} {row['classifier']:25.0f} {row['gradient']:17.0f} {run:>20}", flush=True)
        if not options.quick:
            save("paper_table5", {"rows": rows}, LEARNING)


if __name__ == "__main__":
    main()
