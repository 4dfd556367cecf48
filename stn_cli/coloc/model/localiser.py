"""A trained run, ready to use on images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from stn_cli.bounds import shown
from stn_cli.coloc.crops import Crops, cut
from stn_cli.coloc.model.architecture import Architecture, KindFacts, read_architecture
from stn_cli.coloc.model.finder import Finder
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.calibration import Calibration
from stn_cli.coloc.score.scorers import DenseScorer, Scorer, encoder_state, make_scorer, own_state
from stn_cli.encoders import Encoder, make_encoder
from stn_cli.errors import CheckpointError, ResourceError, UsageError, out_of_memory
from stn_cli.geometry import Frame, clip_boxes, image_to_part, normalised_to_pixels, overlap, points_to_box
from stn_cli.media.cache import Letterbox, default_workers, load_letterbox, ordered_map, place
from stn_cli.media.decode import MAX_PIXELS, Pixels
from stn_cli.media.given import Picture, as_pixels
from stn_cli.media.scan import ImageFile
from stn_cli.records import ImageRecord, Localisation, Point, Skipped
from stn_cli.runs import checkpoint
from stn_cli.runtime.device import pick_device, survive_forks
from stn_cli.runtime.progress import Remarks
from stn_cli.stn import Transformation, by_name

BATCH = 64
TRIAL = 96
"""Side of the picture that a model is tried out on when it is loaded, pixels."""
MOST_AT_ONCE = 1 << 28
"""Pixels of a batch: 3 GB as the network sees them."""
SAME_OBJECT = 0.5
"""IoU above which two crops have found one object."""


@dataclass(slots=True)
class Part:
    """What finds and judges one kind of object."""

    finder: Finder
    scorer: Scorer
    calibration: Calibration


@dataclass(slots=True)
class Localiser:
    """Finds the object of a run in new images.

    Attributes:
        run: the run folder.
        letterbox: longer side at which images are looked at, pixels.
        facts: what model.safetensors says of itself.
        device: that it works on.
        parts: one for each kind of object.
    """

    run: Path
    letterbox: int
    facts: dict[str, Any]
    device: torch.device
    parts: list[Part]

    @classmethod
    def load(cls, run: str | os.PathLike[str] = "stn-coloc-run", device: str = "auto") -> Localiser:
        """Load a run folder.

        Raises:
            CheckpointError: no model there, damaged, or of another version.
            ResourceError: no such device.
        """
        folder = Path(run)
        survive_forks()
        target = pick_device(device)
        tensors, facts = checkpoint.load_model(folder)
        try:
            built = read_architecture(facts, tensors)
            encoder = make_encoder(built.encoder, None, built.layer, pretrained=False)
            parts = [_empty_part(built, kind, encoder) for kind in built.kinds]
        except (ValueError, UsageError) as error:
            todo = "Train again with this version"
            raise CheckpointError("model of another architecture", folder / checkpoint.MODEL, error, todo) from error
        expected = encoder_state(encoder)
        for number, part in enumerate(parts):
            states = part.finder.state_dict(), own_state(part.scorer), part.calibration.state_dict()
            for name, state in zip(("finder", "scorer", "calibration"), states, strict=True):
                expected |= {f"{number}.{name}.{k}": v for k, v in state.items()}
        checkpoint.check_fit(expected, tensors, folder / checkpoint.MODEL)
        for name, value in expected.items():
            value.copy_(tensors[name])
        found = cls(folder, built.letterbox, facts, torch.device("cpu"), parts)
        found._settle()
        found._try_out()
        found.device = target
        found._settle()
        return found

    def _settle(self) -> None:
        """Move everything to the device, for use alone."""
        for part in self.parts:
            for module in (part.finder, part.scorer, part.calibration):
                module.to(self.device).eval().requires_grad_(False)

    def _try_out(self) -> None:
        """See that parts fit together and give numbers, on a small picture of noise; weights may be of any origin.

        Raises:
            CheckpointError: they do not.
        """
        noise = torch.rand((1, 3, TRIAL, TRIAL), generator=torch.Generator().manual_seed(0))
        try:
            found = self.look(Scene(noise, torch.tensor([[-1.0, -1.0, 1.0, 1.0]])))
        except (RuntimeError, ValueError, IndexError, UsageError) as error:
            if out_of_memory(error):
                raise
            raise self._unusable(shown(" ".join(str(error).split()))) from error
        self._check_numbers(found)

    def _check_numbers(self, found: list[tuple[Crops, Tensor]]) -> None:
        if not all(bool(c.matrix.isfinite().all()) and bool(scores.isfinite().all()) for c, scores in found):
            raise self._unusable("what it finds is no number")

    def _unusable(self, why: str) -> CheckpointError:
        return CheckpointError("model cannot be used", self.run / checkpoint.MODEL, why, "Train again with this version")

    @property
    def transform(self) -> Transformation:
        """T_theta of the run."""
        return self.parts[0].finder.transformer().transform

    @torch.inference_mode()
    def look(self, scene: Scene) -> list[tuple[Crops, Tensor]]:
        """Find every object in a batch of images.

        Returns:
            For each kind of object its crops, R of each image, and their scores (B, R).
        """
        found = []
        for part in self.parts:
            crops = part.finder(scene)
            found.append((crops, part.calibration(part.scorer.margins(scene, crops))))
        return found

    def localise(self, image: Picture, file: str = "") -> Localisation:
        """Find the object in one image: the best one, where the run looks for several.

        Args:
            image: a path, a Pillow image, or (H, W, 3) uint8 RGB. What OpenCV reads is BGR: give `image[..., ::-1]`.
            file: name for the record; the path's when left out.

        Raises:
            InputError: the file cannot be used.
            UsageError: something else than a picture was given.
        """
        return self.localise_all(image, file).objects[0]

    def localise_all(self, image: Picture, file: str = "") -> ImageRecord:
        """Find every object in one image, best first; as `localise` otherwise."""
        if not file and isinstance(image, str | os.PathLike):
            file = os.path.basename(os.fspath(image))
        return self._records([self._letterbox(image, file)])[0]

    def localise_batch(self, images: Sequence[Picture]) -> list[ImageRecord]:
        """Find every object in several images at once, frames of a video for instance; each as `localise` takes it."""
        return self._records([self._letterbox(image, "") for image in images]) if len(images) else []

    def _letterbox(self, image: Picture, file: str) -> Letterbox:
        pixels = as_pixels(image)
        frame = Frame(pixels.shape[1], pixels.shape[0], self.letterbox)
        return Letterbox(ImageFile("", file), frame, place(pixels, frame))

    def record(self, letterbox: Letterbox) -> ImageRecord:
        """Find every object in an image that is on its letterbox already."""
        return self._records([letterbox])[0]

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
        batch = max(1, min(batch, MOST_AT_ONCE // self.letterbox**2))
        loaded = ordered_map(lambda f: load_letterbox(f, self.letterbox, max_pixels), files, workers or default_workers())
        remarks = Remarks(warn)
        while chunk := list(islice(loaded, batch)):
            letterboxes = [c for c in chunk if isinstance(c, Letterbox)]
            records: list[ImageRecord] = []
            at = 0
            while at < len(letterboxes):
                try:
                    records += self._records(letterboxes[at : at + batch])
                    at += batch
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error):
                        raise
                    if batch == 1:
                        raise ResourceError("out of memory", todo="Close other programs; of a GPU, use --device cpu") from error
                    torch.cuda.empty_cache()
                    batch //= 2
                    warn(f"out of memory: going on with batches of {batch}")
            found = iter(records)
            for item in chunk:
                if isinstance(item, Skipped):
                    yield item
                    continue
                if item.note:
                    remarks.add(item.file.name, item.note)
                record = next(found)
                yield _above(record, min_score)
        remarks.close()

    def _records(self, letterboxes: list[Letterbox]) -> list[ImageRecord]:
        pixels = torch.from_numpy(np.stack([c.pixels for c in letterboxes])).to(self.device)
        rectangles = torch.tensor([c.frame.rectangle for c in letterboxes], device=self.device)
        found = self.look(Scene(pixels.permute(0, 3, 1, 2).float() / 255, rectangles))
        self._check_numbers(found)
        objects: list[list[Localisation]] = [[] for _ in letterboxes]
        for crops, scores in found:
            for mine, more in zip(objects, _objects(letterboxes, crops, scores), strict=True):
                mine += more
        return [
            ImageRecord(c.file.name, c.frame.width, c.frame.height, best_apart(mine))
            for c, mine in zip(letterboxes, objects, strict=True)
        ]

    def crop(self, image: Pixels, found: Localisation, side: int = 256) -> Pixels:
        """Cut the pose-normalised crop out of the record's image at any size: (H, W, 3) uint8 -> (side', side'', 3) uint8.

        Its longer side has `side` pixels, its shape is the quad's.
        """
        crops = self._crops_of(found)
        quad = normalised_to_pixels(crops.quads()[0, 0], image.shape[:2])
        width, height = float((quad[1] - quad[0]).norm()), float((quad[3] - quad[0]).norm())
        longest = max(width, height, 1e-6)
        size = max(1, round(side * height / longest)), max(1, round(side * width / longest))
        reach = normalised_to_pixels(crops.points((16, 16), 16 / 15)[0, 0].flatten(0, 1), image.shape[:2])
        part = _clear_of(points_to_box(reach), image)
        x1, y1, x2, y2 = part
        pixels = torch.from_numpy(np.ascontiguousarray(image[y1:y2, x1:x2])).permute(2, 0, 1)[None].float()
        crop = cut(pixels, crops.after(image_to_part(image.shape[:2], part)), size)[0, 0]
        return cast(Pixels, crop.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy())

    def _crops_of(self, found: Localisation) -> Crops:
        """A record's crop, in the image's normalised coordinates: theta is M_theta row by row."""
        rows = self.transform.matrix(self.transform.identity()).shape[-2]
        return Crops(self.transform, torch.tensor(found.theta, device="cpu").view(1, 1, rows, -1))


def _empty_part(built: Architecture, kind: KindFacts, encoder: Encoder) -> Part:
    """What a kind of object is found by, to load its weights into."""
    scorer = make_scorer(kind.kind, kind.scorer, encoder)
    reader = scorer if isinstance(scorer, DenseScorer) else None
    transform = by_name(built.transform, **kind.options)
    return Part(Finder(transform, kind.objects, built.cascade, reader), scorer, Calibration())


def _clear_of(box: Tensor, image: Pixels) -> tuple[int, int, int, int]:
    """The pixels that a crop can touch, at least one."""
    h, w = image.shape[:2]
    x1, y1 = min(w - 1, max(0, int(box[0]) - 2)), min(h - 1, max(0, int(box[1]) - 2))
    return x1, y1, max(x1 + 1, min(w, int(box[2]) + 3)), max(y1 + 1, min(h, int(box[3]) + 3))


def _objects(letterboxes: list[Letterbox], crops: Crops, scores: Tensor) -> list[list[Localisation]]:
    """Records of R crops (B, R, d, k) and scores (B, R) of each letterbox; all at once, because small tensors cost more than they compute."""
    frames = [letterbox.frame for letterbox in letterboxes]
    sizes = torch.tensor([[f.height, f.width] for f in frames], dtype=torch.float64)[:, None]  # (B, 1, 2)
    on_letterbox = Crops(crops.transform, crops.matrix.cpu().double())
    moved = on_letterbox.after(torch.stack([f.letterbox_to_image() for f in frames])[:, None])
    quads = normalised_to_pixels(moved.quads(), sizes[:, :, None])  # (B, R, 4, 2)
    boxes = clip_boxes(normalised_to_pixels(moved.boxes().unflatten(-1, (2, 2)), sizes[:, :, None]).flatten(-2), sizes)
    columns = boxes.tolist(), quads.tolist(), moved.matrix.flatten(2).tolist(), scores.cpu().double().clamp(0, 1).tolist()
    return [
        [
            Localisation(
                letterbox.file.name,
                letterbox.frame.width,
                letterbox.frame.height,
                cast(tuple[float, float, float, float], tuple(box)),
                cast(tuple[Point, Point, Point, Point], tuple((x, y) for x, y in quad)),
                tuple(theta),
                score,
            )
            for box, quad, theta, score in zip(*rows, strict=True)
        ]
        for letterbox, *rows in zip(letterboxes, *columns, strict=True)
    ]


def best_apart(objects: list[Localisation]) -> tuple[Localisation, ...]:
    """Objects by falling score, without those that lie on a better one."""
    kept: list[Localisation] = []
    for found in sorted(objects, key=lambda o: -o.score):
        if all(overlap(found.box, other.box) <= SAME_OBJECT for other in kept):
            kept.append(found)
    return tuple(kept)


def _above(record: ImageRecord, min_score: float) -> ImageRecord:
    kept = tuple(found for found in record.objects if found.score >= min_score)
    return ImageRecord(record.file, record.width, record.height, kept)
