"""A trained run, ready to use on images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from stn_cli.coloc import checkpoint
from stn_cli.coloc.calibration import Calibration
from stn_cli.coloc.device import pick_device
from stn_cli.coloc.encoder import make_encoder
from stn_cli.coloc.judge import Judge, make_judge
from stn_cli.coloc.network import build_transformer
from stn_cli.coloc.patches import cut
from stn_cli.errors import CheckpointError, ResourceError
from stn_cli.geometry import Frame, clip_boxes, matrix_to_quad, normalised_to_pixels, quad_to_box, theta_in_part
from stn_cli.media.cache import Canvas, default_workers, load_canvas, ordered_map, place
from stn_cli.media.decode import MAX_PIXELS, Pixels
from stn_cli.media.scan import ImageFile
from stn_cli.records import ImageRecord, Localisation, Point, Skipped
from stn_cli.stn import SpatialTransformer, by_name

BATCH = 64


@dataclass(slots=True)
class Localiser:
    """Finds the object of a run in new images.

    Attributes:
        run: the run folder.
        canvas: longer side at which images are looked at, pixels.
        facts: what model.safetensors says of itself.
    """

    run: Path
    canvas: int
    facts: dict[str, Any]
    device: torch.device
    transformer: SpatialTransformer
    judge: Judge
    calibration: Calibration

    @classmethod
    def load(cls, run: str | os.PathLike[str] = "stn-coloc-run", device: str = "auto") -> Localiser:
        """Load a run folder.

        Raises:
            CheckpointError: no model there, damaged, or of another version.
            ResourceError: no such device.
        """
        folder = Path(run)
        target = pick_device(device)
        tensors, facts = checkpoint.load_model(folder)
        try:
            transformer = build_transformer(by_name(facts["transform"]), facts["crop"])
            encoder = make_encoder(facts["encoder"], None, facts["layer"], pretrained=False)
            judge = make_judge(facts["kind"], facts["judge"], encoder)
            canvas = int(facts["canvas"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("model of another architecture", folder / checkpoint.MODEL, error) from error
        calibration = Calibration()
        modules = {"transformer": transformer, "judge": judge, "calibration": calibration}
        expected = {f"{p}.{k}": v for p, m in modules.items() for k, v in m.state_dict().items()}
        checkpoint.check_fit(expected, tensors, folder / checkpoint.MODEL)
        for prefix, module in modules.items():
            module.load_state_dict({k: tensors[f"{prefix}.{k}"] for k in module.state_dict()})
            module.to(target).eval()
        return cls(folder, canvas, facts, target, transformer, judge, calibration)

    @torch.inference_mode()
    def look(self, images: Tensor, rectangles: Tensor) -> tuple[Tensor, Tensor]:
        """Canvases (B, 3, S, S) in [0, 1] and outlines (B, 4) -> thetas (B, 2, 3) on the canvas and scores (B,)."""
        matrix = self.transformer.grid.matrix(self.transformer.localisation(images, rectangles))
        margin = self.judge.margins(images, rectangles, matrix[:, None])[:, 0]
        return matrix, self.calibration(margin)

    def localise(self, image: Pixels | str | os.PathLike[str], file: str = "") -> Localisation:
        """Find the object in one image.

        Args:
            image: (H, W, 3) uint8 RGB, or a path.
            file: name for the record; the path's when left out.

        Raises:
            Unusable: the file cannot be decoded.
        """
        if not isinstance(image, np.ndarray):
            from stn_cli.media.decode import load

            file = file or os.path.basename(os.fspath(image))
            image = load(image)
        frame = Frame(image.shape[1], image.shape[0], self.canvas)
        return self.localise_canvas(Canvas(ImageFile("", file), frame, place(image, frame)))

    def localise_canvas(self, canvas: Canvas) -> Localisation:
        """Find the object in an image that is on its canvas already."""
        return self._records([canvas])[0].objects[0]

    def localise_files(
        self,
        files: Iterable[ImageFile],
        *,
        min_score: float = 0.0,
        batch: int = BATCH,
        workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
        warn: Callable[[str], None] = lambda _: None,
    ) -> Iterator[ImageRecord | Skipped]:
        """Find the object in many files, in their order; decoding runs in threads ahead of the model.

        Args:
            files: from `stn_cli.media.scan.scan`.
            min_score: objects below it are left out; the image stays.
            batch: images per call of the network; halved when the device runs out of memory.
            workers: decoding threads.
            max_pixels: images with more are skipped.
            warn: told of notes.

        Yields:
            A record per image, or why it was skipped.
        """
        loaded = ordered_map(lambda f: load_canvas(f, self.canvas, max_pixels), files, workers or default_workers())
        while chunk := list(islice(loaded, batch)):
            canvases = [c for c in chunk if isinstance(c, Canvas)]
            records: list[ImageRecord] = []
            at = 0
            while at < len(canvases):
                try:
                    records += self._records(canvases[at : at + batch])
                    at += batch
                except torch.OutOfMemoryError as error:
                    if batch == 1:
                        raise ResourceError("out of memory on the device", todo="Use --device cpu") from error
                    torch.cuda.empty_cache()
                    batch //= 2
                    warn(f"out of memory: going on with batches of {batch}")
            found = iter(records)
            for item in chunk:
                if isinstance(item, Skipped):
                    yield item
                    continue
                if item.note:
                    warn(f"{item.file.name}: {item.note}")
                record = next(found)
                yield _above(record, min_score)

    def _records(self, canvases: list[Canvas]) -> list[ImageRecord]:
        pixels = torch.from_numpy(np.stack([c.pixels for c in canvases])).to(self.device)
        rectangles = torch.tensor([c.frame.rectangle for c in canvases], device=self.device)
        matrices, scores = self.look(pixels.permute(0, 3, 1, 2).float() / 255, rectangles)
        return [
            _record(c.file.name, c.frame, matrix, score)
            for c, matrix, score in zip(canvases, matrices.double().cpu(), scores.double().cpu().tolist(), strict=True)
        ]

    def crop(self, image: Pixels, found: Localisation, side: int = 256) -> Pixels:
        """Cut the pose-normalised crop out of the record's image at any size: (H, W, 3) uint8 -> (side', side'', 3) uint8.

        Its longer side has `side` pixels, its shape is the quad's.
        """
        theta = torch.tensor(found.theta).view(2, 3)
        quad = normalised_to_pixels(matrix_to_quad(theta), image.shape[:2])
        width, height = float((quad[1] - quad[0]).norm()), float((quad[3] - quad[0]).norm())
        longest = max(width, height, 1e-6)
        size = max(1, round(side * height / longest)), max(1, round(side * width / longest))
        x1, y1, x2, y2 = _clear_of(quad_to_box(quad), image)
        part = np.ascontiguousarray(image[y1:y2, x1:x2])
        tensor = torch.from_numpy(part).permute(2, 0, 1)[None].float()
        matrix = theta_in_part(theta, image.shape[:2], (x1, y1, x2, y2))
        crop = cut(tensor, matrix[None, None], size)[0, 0]
        return cast(Pixels, crop.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def _clear_of(box: Tensor, image: Pixels) -> tuple[int, int, int, int]:
    """The pixels that a crop can touch, at least one."""
    h, w = image.shape[:2]
    x1, y1 = min(w - 1, max(0, int(box[0]) - 2)), min(h - 1, max(0, int(box[1]) - 2))
    return x1, y1, max(x1 + 1, min(w, int(box[2]) + 3)), max(y1 + 1, min(h, int(box[3]) + 3))


def _record(name: str, frame: Frame, matrix: Tensor, score: float) -> ImageRecord:
    theta = frame.theta_to_image(matrix)
    quad = normalised_to_pixels(matrix_to_quad(theta), (frame.height, frame.width))
    box = clip_boxes(quad_to_box(quad), (frame.height, frame.width))
    corners = tuple((float(x), float(y)) for x, y in quad)
    found = Localisation(
        name,
        frame.width,
        frame.height,
        cast(tuple[float, float, float, float], tuple(box.tolist())),
        cast(tuple[Point, Point, Point, Point], corners),
        cast(tuple[float, float, float, float, float, float], tuple(theta.flatten().tolist())),
        min(1.0, max(0.0, score)),
    )
    return ImageRecord(name, frame.width, frame.height, (found,))


def _above(record: ImageRecord, min_score: float) -> ImageRecord:
    kept = tuple(found for found in record.objects if found.score >= min_score)
    return ImageRecord(record.file, record.width, record.height, kept)
