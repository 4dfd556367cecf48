"""Seconds of a forward pass of ViT-S/16 on each photograph at full size: what LOST and TokenCut need at least.

    python -m benchmarks.vit FOLDER [--images 8]

DINO's network (patches of 16 pixels, 384 channels, 12 blocks, 6 heads) with random weights, up to the keys of its last block, which is what
LOST reads. As there, images keep their size and are padded with zeros to a multiple of 16. Timed on some images that are spread over the
folder, after one that is not timed; decoding does not count. It prints the mean, with which more images can be extrapolated.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import parser, spread
from stn_cli.encoders.dino import PATCH, VITS, VisionTransformer
from stn_cli.runtime.device import pick_device

SAMPLE = 8
"""Images that are timed."""


def padded(path: Path) -> torch.Tensor:
    """An image at full size (1, 3, H, W), padded with zeros on the right and below to a multiple of the patch."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % PATCH, 0, -height % PATCH))


def seconds_per_image(images: Iterable[torch.Tensor]) -> float:
    """Mean seconds of a forward pass; the first image is passed once more before."""
    device = pick_device("auto")
    torch.manual_seed(0)
    network = VisionTransformer(*VITS["dino_vits16"]).eval().to(device)
    seconds = list[float]()
    with torch.inference_mode():
        for image in images:
            on_device = image.to(device)
            for _ in range(1 if seconds else 2):
                begun = time.perf_counter()
                network(on_device).sum().item()  # waits for a GPU
                last = time.perf_counter() - begun
            seconds.append(last)
    return sum(seconds) / len(seconds)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--images", type=int, default=SAMPLE)
    given = options.parse_args()
    files = sorted(path for path in given.folder.iterdir())
    print(seconds_per_image(padded(path) for path in spread(files, given.images)))


if __name__ == "__main__":
    main()
