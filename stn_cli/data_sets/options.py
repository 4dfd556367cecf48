"""What is wanted of `stn-coloc export`, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from stn_cli.bounds import check_shared
from stn_cli.data_sets.layouts import FORMS, Form
from stn_cli.data_sets.pictures import WAYS
from stn_cli.errors import UsageError
from stn_cli.formats.labels import check_labels
from stn_cli.formats.parquet import require_pyarrow
from stn_cli.records import Skipped

GROUPINGS = ("alike", "folder", "file")
DEFAULT_SPLIT = (0.8, 0.2)


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is wanted.

    Attributes:
        format: one of `FORMS`.
        split: shares of training, validation and test, see `parse_split`; None for the format's own: .8 and .2 for trainers, else no parts.
        min_score: objects below it are left out, and images of which none is left; None keeps all but those that are marked as not
            believed.
        images: `copy`, `link` or `none`; None for the format's own: `copy` for trainers, else `none`.
        labels: what the objects are called: one name for all, or one for each kind.
        source: the folder of the images; None for the one that the file names, or its own.
        group_by: what is never parted: images that look `alike`, those of a `folder`, or each `file` by itself.
        crop_size: side of a crop, pixels.
        workers: decoding threads; one per core when left out.
        max_pixels: images with more are skipped.
    """

    format: str
    split: tuple[float, ...] | None = None
    min_score: float | None = None
    images: str | None = None
    labels: tuple[str, ...] = ()
    source: Path | None = None
    group_by: str = "alike"
    crop_size: int = 256
    workers: int | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        check_shared(min_score=self.min_score, crop_size=self.crop_size, workers=self.workers, max_pixels=self.max_pixels)
        if self.format not in FORMS:
            raise UsageError("unknown --format", self.format, f"known: {', '.join(FORMS)}")
        if self.images is not None and self.images not in WAYS:
            raise UsageError("unknown --images", self.images, f"known: {', '.join(WAYS)}")
        if self.group_by not in GROUPINGS:
            raise UsageError("unknown --group-by", self.group_by, f"known: {', '.join(GROUPINGS)}")
        if self.format == "crops" and self.images is not None:
            raise UsageError("--images is not for crops, which are pictures themselves", self.images)
        if self.format == "parquet":
            require_pyarrow()
        check_labels(self.labels)

    @property
    def form(self) -> Form:
        """The format."""
        return FORMS[self.format]

    @property
    def way(self) -> str:
        """What is done with the images' files."""
        if self.format == "crops":
            return "none"
        return self.images or ("copy" if self.form.trains else "none")

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the parts; none where the set is not parted."""
        return self.split or (DEFAULT_SPLIT if self.form.trains else ())


@dataclass(slots=True)
class ExportSummary:
    """What came of it.

    Attributes:
        out: the data set's folder.
        images: of each part by its name.
        objects: in all of them.
        below: objects below `min_score`, or not believed, left out.
        doubtful: images that were left out because all of their objects are.
        doubt: why, in words.
        empty: images without a box.
        groups: of images that are never parted; 0 where nothing was parted.
        rewritten: pictures whose upright pixels were written, because the file as it is would be read in different ways.
        cut: boxes that reached out of their image by more than a pixel, and were cut to it.
        skipped: images and boxes that could not be used.
        seconds: of the whole call.
    """

    out: Path
    images: Counter[str] = field(default_factory=Counter)
    objects: int = 0
    below: int = 0
    doubtful: int = 0
    doubt: str = "below --min-score"
    empty: int = 0
    groups: int = 0
    rewritten: int = 0
    cut: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0
