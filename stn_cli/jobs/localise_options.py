"""What is wanted of `stn-coloc localise`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stn_cli.bounds import check_shared
from stn_cli.coloc.model.localiser import IMAGES_PER_CALL
from stn_cli.errors import UsageError
from stn_cli.formats.labels import check_labels
from stn_cli.formats.parquet import require_pyarrow
from stn_cli.formats.writer import FORMATS
from stn_cli.media.decode import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class LocaliseOptions:
    """What is wanted.

    Attributes:
        min_score: objects below it are left out of all files. Where none is given, of each kind the best object of an image stays and
            beside it those that score at least 0.5; the others are in boxes.json alone, marked there as not believed.
        formats: formats beside COCO.
        crops, overlay: also write pictures.
        crop_size: longer side of a crop, pixels.
        batch: images per call of the network.
        workers: decoding threads; one per core when left out.
        max_pixels: images with more are skipped.
        masks: also find out which pixels are the objects', and write them as pictures, too.
        labels: what the objects are called, a name for each kind that the run looks for.
        report: also write a page that shows what was found, most doubtful first.
        fast: look at each image once, by a small network that learnt what the run finds, where that agrees with the run well enough.
    """

    min_score: float | None = None
    formats: tuple[str, ...] = ()
    crops: bool = False
    crop_size: int = 256
    overlay: bool = False
    batch: int = IMAGES_PER_CALL
    workers: int | None = None
    max_pixels: int | None = None
    masks: bool = False
    labels: tuple[str, ...] = ()
    report: bool = False
    fast: bool = False

    def __post_init__(self) -> None:
        check_shared(
            min_score=self.min_score,
            crop_size=self.crop_size,
            batch=self.batch,
            workers=self.workers,
            max_pixels=self.max_pixels,
        )
        for name in self.formats:
            if name not in FORMATS and name != "coco":
                others = "For a data set that can be trained with, use stn-coloc export"
                raise UsageError("unknown --format", name, f"known: coco, {', '.join(FORMATS)}", others)
        if "parquet" in self.formats:
            require_pyarrow()
        check_labels(self.labels)

    def of_records(self) -> dict[str, Any]:
        """Those that records and pictures depend on."""
        return {
            "min_score": self.min_score,
            "crops": self.crops,
            "crop_size": self.crop_size,
            "overlay": self.overlay,
            "batch": self.batch,
            "max_pixels": self.max_pixels or MAX_PIXELS,
            **({"masks": True} if self.masks else {}),
        }
