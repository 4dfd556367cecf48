"""A trained run, ready to use on images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.bounds import shown
from stn_cli.coloc.crops import Crops
from stn_cli.coloc.model.architecture import read_architecture
from stn_cli.coloc.model.fast import FastLook
from stn_cli.coloc.model.fast_learning import fast_way
from stn_cli.coloc.model.found import cut_full, records_of
from stn_cli.coloc.model.kind_model import KindModel, find, tensors_of
from stn_cli.coloc.model.many import images_per_call, localise_many
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.settings import OBJECTS
from stn_cli.encoders import make_encoder
from stn_cli.errors import CheckpointError, UsageError, out_of_memory
from stn_cli.geometry import Frame
from stn_cli.media.cache import Letterbox, load_letterbox, place
from stn_cli.media.decode import MAX_PIXELS, Pixels
from stn_cli.media.given import Picture, as_pixels
from stn_cli.media.scan import ImageFile
from stn_cli.records import ImageRecord, ImageRecords, Localisation, Skipped
from stn_cli.runs import checkpoint
from stn_cli.runtime.device import pick_device, survive_forks
from stn_cli.runtime.ordered import ordered_map
from stn_cli.runtime.progress import Remarks, Reporter, Silent
from stn_cli.runtime.threads import default_workers
from stn_cli.stn import Transformation

IMAGES_PER_CALL = 64
"""Images that the network looks at in one call unless the caller says otherwise."""
TRIAL_SIDE = 96
"""Side of the picture that a model is tried out on when it is loaded, pixels."""


@dataclass(slots=True)
class Localiser:
    """Finds the object of a run in new images.

    Attributes:
        run: the run folder.
        letterbox: longer side at which images are looked at, pixels.
        coarse: longer side at which finders look, pixels; `letterbox` where nothing looks more closely.
        facts: what model.safetensors says of itself.
        device: that it works on.
        parts: a model for each kind of object.
        fast_look: how it looks where it was asked to be fast; None for the run's own path.
    """

    run: Path
    letterbox: int
    coarse: int
    facts: dict[str, Any]
    device: torch.device
    parts: list[KindModel]
    fast_look: FastLook | None = None

    @classmethod
    def load(cls, run: str | os.PathLike[str] = "stn-coloc-run", device: str = "auto") -> Localiser:
        """Load a run folder.

        Args:
            run: the folder that `stn-coloc train` wrote.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

        Returns:
            A localiser, tried out on a small picture of noise.

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
            parts = [KindModel.empty(built, kind, encoder) for kind in built.kinds]
        except (ValueError, UsageError) as error:
            todo = "Train again with this version"
            raise CheckpointError("model of another architecture", folder / checkpoint.MODEL, error, todo) from error
        expected = tensors_of(encoder, parts)
        checkpoint.check_fit(expected, tensors, folder / checkpoint.MODEL)
        for name, value in expected.items():
            value.copy_(tensors[name])
        found = cls(folder, built.closely or built.letterbox, built.letterbox, facts, torch.device("cpu"), parts)
        found._settle()
        found._try_out()
        found.device = target
        found._settle()
        return found

    def _settle(self) -> None:
        """Move everything to the device, for use alone."""
        for part in self.parts:
            for module in (part.finder, part.scorer, part.calibration, part.proposer, part.background):
                if module is not None:
                    module.to(self.device).eval().requires_grad_(False)

    def _try_out(self) -> None:
        """See that parts fit together and give numbers, on a small picture of noise; weights may be of any origin.

        Raises:
            CheckpointError: they do not.
        """
        noise = torch.rand((1, 3, TRIAL_SIDE, TRIAL_SIDE), generator=torch.Generator().manual_seed(0))
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

    @property
    def least(self) -> float:
        """The score below which a box is taken for no object; 0 where the run has its objects in every image."""
        return OBJECTS.absent if any(part.proposer is not None for part in self.parts) else 0.0

    def way(self) -> dict[str, Any]:
        """In which of its ways it looks at images, for files of results."""
        return {"way": "exact"} if self.fast_look is None else self.fast_look.facts()

    @torch.inference_mode()
    def look(self, scene: Scene) -> list[tuple[Crops, Tensor]]:
        """Find every object in a batch of images.

        Args:
            scene: B images on letterboxes, on the localiser's device; any side will do, `letterbox` is what it was trained at.

        Returns:
            For each kind its crops, R of each image, the best one among them whatever its score, and scores (B, R), below 0 for no crop.
        """
        if self.fast_look is not None:
            return self.fast_look.find(scene, self.parts)
        reduced = scene
        if self.coarse < scene.images.shape[-1] == self.letterbox:
            reduced = Scene(F.interpolate(scene.images, (self.coarse, self.coarse), mode="area"), scene.rectangles)
        return [find(part, reduced, scene) for part in self.parts]

    def fast(self, more: Sequence[ImageFile] = (), reporter: Reporter | None = None) -> Localiser:
        """The same run with one cheap look at each image, by a small network that learns what the run finds and is kept in its folder.

        Args:
            more: images to learn from, too, as `localise_files` takes them: best those that are to be localised.
            reporter: is told of progress, and how well both ways agree on images that were not learnt from.

        Returns:
            The fast localiser; this one where the run has nothing to gain, or where the small network does not agree with it well enough.

        Raises:
            CheckpointError: what is kept is damaged, or the run has no list of images.
        """
        return fast_way(self, more, reporter or Silent())

    def localise(self, image: Picture, file: str = "") -> Localisation:
        """Find the object in one image: the best one, where the run looks for several.

        Args:
            image: a path, a Pillow image, or (H, W, 3) uint8 RGB. What OpenCV reads is BGR: give `image[..., ::-1]`.
            file: name for the record; the path's when left out.

        Returns:
            The object: its box and quad in the image's pixels, its score in [0, 1].

        Raises:
            InputError: the file cannot be used.
            UsageError: something else than a picture was given.
        """
        return self.localise_all(image, file).objects[0]

    def localise_all(self, image: Picture, file: str = "") -> ImageRecord:
        """Find every object in one image.

        Args:
            image: as `localise` takes it.
            file: name for the record; the path's when left out.

        Returns:
            A record with the objects, best first.

        Raises:
            InputError: the file cannot be used.
            UsageError: something else than a picture was given.
        """
        named = file or (os.path.basename(os.fspath(image)) if isinstance(image, str | os.PathLike) else "")
        return self.records([self._letterbox(image, named)])[0]

    def localise_batch(self, images: Sequence[Picture]) -> ImageRecords:
        """Find every object in several images at once, for instance in frames of a video.

        Args:
            images: B of them, each as `localise` takes it.

        Returns:
            B records without a file's name, their objects best first.

        Raises:
            InputError, UsageError: as `localise`.
        """
        return ImageRecords(self.records([self._letterbox(image, "") for image in images]) if len(images) else [])

    def _letterbox(self, image: Picture, file: str) -> Letterbox:
        pixels = as_pixels(image)
        frame = Frame(pixels.shape[1], pixels.shape[0], self.letterbox)
        return Letterbox(ImageFile("", file), frame, place(pixels, frame))

    def record(self, letterbox: Letterbox) -> ImageRecord:
        """Find every object in an image that is on its letterbox already."""
        return self.records([letterbox])[0]

    def localise_files(
        self,
        files: Iterable[ImageFile],
        *,
        min_score: float | None = None,
        batch: int = IMAGES_PER_CALL,
        workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
        warn: Callable[[str], None] = lambda _: None,
    ) -> Iterator[ImageRecord | Skipped]:
        """Find the object in many files, in their order; decoding runs in threads ahead of the model.

        Args:
            files: from `stn_cli.media.scan.scan`.
            min_score: objects below it are left out, and the others believed; by default those below `least` are left out.
            batch: images per call of the network; halved when the device runs out of memory.
            workers: decoding threads.
            max_pixels: images with more are skipped.
            warn: called with each note on an image.

        Yields:
            A record per image, or why it was skipped.

        Raises:
            ResourceError: not even one image fits into the memory.
        """
        batch = images_per_call(self.letterbox, batch)
        loaded = ordered_map(lambda f: load_letterbox(f, self.letterbox, max_pixels), files, workers or default_workers())
        remarks = Remarks(warn)
        for item, record in localise_many(self, loaded, min_score, batch, warn):
            if isinstance(item, Letterbox) and item.note:
                remarks.add(item.file.name, item.note)
            yield record
        remarks.close()

    def records(self, letterboxes: Sequence[Letterbox]) -> list[ImageRecord]:
        """Find every object in images that are on their letterboxes already, in one call of the network."""
        pixels = torch.from_numpy(np.stack([c.pixels for c in letterboxes])).to(self.device)
        rectangles = torch.tensor([c.frame.rectangle for c in letterboxes], device=self.device)
        found = self.look(Scene(pixels.permute(0, 3, 1, 2).float() / 255, rectangles))
        self._check_numbers(found)
        return records_of(letterboxes, found)

    def crop(self, image: Pixels, found: Localisation, side: int = 256) -> Pixels:
        """Cut the pose-normalised crop out of an image at full resolution.

        Args:
            image: (H, W, 3) uint8, the one that the record is of.
            found: an object in it.
            side: longer side of the crop, pixels; the other one follows from the quad.

        Returns:
            (H', W', 3) uint8.
        """
        return cut_full(image, self._crops_of(found), side)

    def _crops_of(self, found: Localisation) -> Crops:
        """A record's crop, in the image's normalised coordinates: theta is M_theta row by row."""
        rows = self.transform.matrix(self.transform.identity()).shape[-2]
        return Crops(self.transform, torch.tensor(found.theta, device="cpu").view(1, 1, rows, -1))
