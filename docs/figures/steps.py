"""The figure of "How it works": for two images of a run what is common, where the transformer reads, and the crop.

python docs/figures/steps.py RUN IMAGE IMAGE
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from stn_cli import Localiser
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.dense import DenseScorer
from stn_cli.geometry import normalised_to_pixels
from stn_cli.media.cache import Letterbox, load_letterbox
from stn_cli.media.scan import ImageFile
from stn_cli.stn import sample

HERE = Path(__file__).parent
SIDE, GAP, BAND = 210, 8, 24
NAMES = "an image", "the score map", "T_theta(G)", "the crop"
Picture = npt.NDArray[np.uint8]


def row(localiser: Localiser, path: Path) -> list[Picture]:
    """The four pictures of one image, of one height.

    Args:
        localiser: of a run whose object was found on dense features.
        path: the image.
    """
    small, large = (load_letterbox(ImageFile(str(path), path.name), side) for side in (localiser.letterbox, SIDE))
    assert isinstance(small, Letterbox), small
    assert isinstance(large, Letterbox), large
    pixels = torch.from_numpy(small.pixels).permute(2, 0, 1)[None].float() / 255
    scene = Scene(pixels, torch.tensor([small.frame.rectangle]))
    ((crops, _),) = localiser.look(scene)
    scorer = localiser.parts[0].scorer
    assert isinstance(scorer, DenseScorer)
    shown = torch.from_numpy(large.pixels).permute(2, 0, 1)[None].float()
    crop = sample(shown, crops.points((SIDE, SIDE))[:, 0], kernel="bicubic", padding="border")[0]
    left, top, w, h = large.frame.content
    inside = np.s_[top : top + h, left : left + w]
    pictures = [large.pixels, heat(large.pixels, scorer.seen(scene)[1][0]), net(large.pixels, crops.points((7, 7))[0, 0])]
    square = crop.clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
    return [*(p[inside] for p in pictures), cv2.resize(square, (h, h), interpolation=cv2.INTER_AREA)]


def heat(picture: Picture, score_map: torch.Tensor) -> Picture:
    """A picture, grey where a cell (h, w) of the map is like the rest and red where it is like the common thing."""
    share = cv2.resize(score_map.numpy(), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    share = np.clip((share + 0.5) / 2.5, 0, 1)
    grey = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    return np.asarray(0.6 * grey * (1 - share) + share * (0.4 * grey + np.array([150, 30, 20])), np.uint8)


def net(picture: Picture, points: torch.Tensor) -> Picture:
    """A picture with the lines (rows, columns, 2) that a crop is read along, normalised; its upper side is yellow."""
    out = picture.copy()
    pixels = normalised_to_pixels(points, out.shape[:2]).round().int().numpy()
    for line in [*pixels, *pixels.swapaxes(0, 1)]:
        cv2.polylines(out, [line[:, None]], False, (255, 255, 255), 1, cv2.LINE_AA)
    cv2.polylines(out, [pixels[0][:, None]], False, (250, 220, 40), 3, cv2.LINE_AA)
    return out


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=HERE / "steps.jpg")
    args = parser.parse_args()
    localiser = Localiser.load(args.run)
    rows = [row(localiser, path) for path in args.images]
    width = sum(p.shape[1] for p in rows[0]) + GAP * 3
    out = np.full((BAND + sum(r[0].shape[0] + GAP for r in rows) - GAP, width, 3), 255, np.uint8)
    y = BAND
    for number, pictures in enumerate(rows):
        x = 0
        for name, picture in zip(NAMES, pictures, strict=True):
            out[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
            if number == 0:
                cv2.putText(out, name, (x, BAND - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (60, 60, 60), 1, cv2.LINE_AA)
            x += picture.shape[1] + GAP
        y += pictures[0].shape[0] + GAP
    cv2.imwrite(str(args.out), out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


if __name__ == "__main__":
    main()
