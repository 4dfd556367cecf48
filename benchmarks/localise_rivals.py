"""`localise` on photographs beside what others must do for each image: images/s, and the ratio to ours, in one run.

    python -m benchmarks.localise_rivals [--set voc07_motorbike] [--run FOLDER] [--copies 4]

Ours goes from files to records, without the start of the process. Beside it, in turn, three times, the median of each:

- `localise --fast` with the same run, where its student, which is made before, is believed;
- decoding: the best loop that only decodes the same files, reduced by the decoder, in as many threads as we take;
- ViT-S/16 (DINO's; random weights) at 224 x 224, sixteen at once, and at full size, one by one: what LOST and TokenCut do at least;
- ssdlite320_mobilenet_v3_large of torchvision (random weights): a detector of the size that phones run, eight at once.

The networks are given decoded pictures: their decoding does not count. Some images that are spread over the set are passed through each.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks import vit
from benchmarks.common import PHOTOS, PROGRAM, need, parser, spread, timed
from benchmarks.decoding import best_flags, best_loop
from benchmarks.provenance import LOCALISING, begin, save
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.encoders.dino import VITS, VisionTransformer
from stn_cli.media.scan import scan

ROUNDS = 3
SIDE = 224


def rate(count: int, work: Callable[[], object]) -> float:
    """Images a second of work on so many."""
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def rivals(files: list[Path]) -> dict[str, tuple[int, Callable[[], object]]]:
    """How many images each network is given, and how."""
    torch.manual_seed(0)
    transformer = VisionTransformer(*VITS["dino_vits16"]).eval()
    detector = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    few, more = [vit.padded(path) for path in spread(files, 6)], [vit.padded(path) for path in spread(files, 16)]
    square = torch.cat([F.interpolate(image, (SIDE, SIDE), mode="area") for image in more])
    pictures = [image[0] for image in more]
    return {
        "ViT-S/16 at 224": (len(square), lambda: transformer(square)),
        "ViT-S/16 at full size": (len(few), lambda: [transformer(image) for image in few]),
        "ssdlite320": (len(pictures), lambda: [detector(pictures[i : i + 8]) for i in range(0, len(pictures), 8)]),
    }


def measure(run: Path, files: list[Path], copies: int) -> dict[str, Any]:
    """The result file's rows."""
    localiser = Localiser.load(run, "cpu")
    fast = localiser.fast()
    many = scan([str(path) for path in files]).images * copies
    flags = best_flags(files, localiser.letterbox)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "localise": (len(many), lambda: list(localiser.localise_files(many))),
        **({} if fast is localiser else {"localise --fast": (len(many), lambda: list(fast.localise_files(many)))}),
        **rivals(files),
    }
    rates = {name: list[float]() for name in ("decoding", *ways)}
    with torch.inference_mode():
        for _, work in ways.values():
            work()  # the first time is not timed
        for _ in range(ROUNDS):
            rates["decoding"].append(best_loop(files * copies, flags * copies))
            for name, (count, work) in ways.items():
                rates[name].append(rate(count, work))
    ours = median(rates["localise"])
    return {name: {"per_second": round(median(of), 2), "to_ours": round(median(of) / ours, 4)} for name, of in rates.items()}


def arguments() -> Namespace:
    options = parser(__doc__)
    options.add_argument("--set", default="voc07_motorbike")
    options.add_argument("--run", type=Path, metavar="FOLDER", help="of the set; it is trained when left out")
    options.add_argument("--copies", type=int, default=4, help="how often each image is localised")
    return options.parse_args()


def main() -> None:
    given = arguments()
    need(PHOTOS)
    begin()
    images = PHOTOS / given.set / "images"
    with tempfile.TemporaryDirectory() as temporary:
        run = given.run or Path(temporary) / "run"
        if given.run is None:
            timed([*PROGRAM, "train", str(images), "-q", "--no-report", "-o", str(run)])
        rows = measure(run, sorted(images.iterdir()), given.copies)
    for name, row in rows.items():
        print(f"{name}: {row['per_second']} images/s, {row['to_ours']} of ours")
    save("localise_rivals", {"set": given.set, "ways": rows}, LOCALISING, seeds=())


if __name__ == "__main__":
    main()
