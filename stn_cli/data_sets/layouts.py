"""What lies where in a data set: one class for each way, all used alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from stn_cli.data_sets.entry import Entry
from stn_cli.data_sets.names import plain_label
from stn_cli.data_sets.pictures import write_file
from stn_cli.data_sets.split import SPLITS
from stn_cli.errors import ColocError, printable
from stn_cli.formats import yolo
from stn_cli.formats.coco import CocoResultsWriter, CocoWriter
from stn_cli.formats.csv import CsvWriter
from stn_cli.formats.label_studio import LabelStudioWriter, labelling_interface
from stn_cli.formats.parquet import ParquetWriter
from stn_cli.formats.voc import voc_xml
from stn_cli.formats.writer import Writer
from stn_cli.records import ImageRecord


@dataclass(frozen=True, slots=True)
class Making:
    """A data set that is being made.

    Attributes:
        folder: that is written into now.
        final: absolute path of the folder that it will be.
        names: of the kinds of objects.
        splits: that the set has, in their order; one empty name where it has none.
        info: for files that tell where they are from.
    """

    folder: Path
    final: str
    names: Sequence[str]
    splits: Sequence[str]
    info: dict[str, Any]


class LabelFiles(Protocol):
    """Takes the entries of a data set, and finishes."""

    def add(self, entry: Entry, /) -> None:
        """Write one image's labels."""

    def close(self) -> None:
        """Write what is written last."""

    def abandon(self) -> None:
        """Leave no open file: an error ended the call."""


class PerSplit:
    """COCO: `annotations/instances_SPLIT.json`, names relative to the split's pictures; with `results` also `results/SPLIT.json`.

    Args:
        making: the data set.
        results: also write lists of results, whose ids are those of the annotations.
    """

    def __init__(self, making: Making, results: bool = False) -> None:
        self._writers: dict[str, list[Writer[ImageRecord]]] = {}
        makers: list[tuple[str, Callable[[Path], Writer[ImageRecord]]]] = [
            ("annotations/instances_{}.json", lambda path: CocoWriter(path, making.info, making.names))
        ]
        if results:
            makers.append(("results/{}.json", CocoResultsWriter))
        for split in making.splits:
            for form, make in makers:
                path = making.folder / form.format(split or "all")
                path.parent.mkdir(exist_ok=True)
                self._writers.setdefault(split, []).append(make(path))

    def add(self, entry: Entry) -> None:
        """Write one image."""
        name = entry.record.file if entry.picture is None else entry.picture.rpartition("/")[2]
        for writer in self._writers[entry.split]:
            writer.add(replace(entry.record, file=name))

    def close(self) -> None:
        """Put the files in place."""
        for writer in self._all():
            writer.close()

    def abandon(self) -> None:
        """Remove what is open."""
        for writer in self._all():
            with suppress(OSError, ColocError):
                writer.abandon()

    def _all(self) -> list[Writer[ImageRecord]]:
        return [writer for writers in self._writers.values() for writer in writers]


@dataclass(frozen=True, slots=True)
class Yolo:
    """YOLO: `labels/SPLIT/STEM.txt` beside `images/SPLIT`, and `data.yaml`.

    Attributes:
        making: the data set.
        lines: of a label file.
    """

    making: Making
    lines: Callable[[ImageRecord], str]

    def add(self, entry: Entry) -> None:
        """Write one label file, empty where there is no object."""
        path = self.making.folder / "labels" / entry.split / f"{entry.stem}.txt"
        write_file(path, self.lines(entry.record).encode("ascii"))

    def close(self) -> None:
        """Write data.yaml; every split's folder is there, and validation is training where there is none."""
        splits = self.making.splits
        for kind in ("images", "labels"):
            for split in splits:
                (self.making.folder / kind / split).mkdir(parents=True, exist_ok=True)
        folders = {split: f"images/{split}" for split in splits}
        folders.setdefault("train", f"images/{splits[0]}")
        folders.setdefault("val", folders["train"])
        ordered = {split: folders[split] for split in SPLITS if split in folders}
        text = yolo.data_yaml(printable(self.making.final), ordered, self.making.names)
        write_file(self.making.folder / "data.yaml", text.encode("utf-8"))

    def abandon(self) -> None:
        """Nothing is open."""


class Voc:
    """Pascal VOC: `Annotations/STEM.xml`, and `ImageSets/Main/SPLIT.txt` with the stems.

    Args:
        making: the data set.
    """

    def __init__(self, making: Making) -> None:
        self._making = making
        self._stems: dict[str, list[str]] = {split: [] for split in making.splits}

    def add(self, entry: Entry) -> None:
        """Write one annotation."""
        xml = voc_xml(entry.record, f"{entry.stem}.jpg", self._making.names)
        write_file(self._making.folder / "Annotations" / f"{entry.stem}.xml", xml)
        self._stems[entry.split].append(entry.stem)

    def close(self) -> None:
        """Write the image sets, `trainval` among them, and the names of the kinds, without which datumaro takes no other than VOC's own."""
        learnt = [stem for split in ("train", "val") for stem in self._stems.get(split, [])]
        for split, stems in {**self._stems, "trainval": learnt}.items():
            text = "".join(f"{stem}\n" for stem in sorted(stems))
            write_file(self._making.folder / "ImageSets" / "Main" / f"{split}.txt", text.encode("utf-8"))
        names = [name.replace(":", "_") for name in self._making.names]
        table = "# label:color_rgb:parts:actions\nbackground:0,0,0::\n" + "".join(f"{name}:::\n" for name in names)
        write_file(self._making.folder / "labelmap.txt", table.encode("utf-8"))

    def abandon(self) -> None:
        """Nothing is open."""


class OneTable:
    """CSV or Parquet: one file for all, with a column `split` where the set has parts.

    Args:
        making: the data set.
        kind: the writer.
        name: of the file.
    """

    def __init__(self, making: Making, kind: type[CsvWriter] | type[ParquetWriter], name: str) -> None:
        self._parts = making.splits != ("",)
        self._writer = kind(making.folder / name, making.names, "split" if self._parts else None)

    def add(self, entry: Entry) -> None:
        """Write the rows of one image."""
        record = replace(entry.record, file=entry.picture or entry.record.file)
        self._writer.add(record, *([entry.split] if self._parts else []))

    def close(self) -> None:
        """Put the file in place."""
        self._writer.close()

    def abandon(self) -> None:
        """Remove what is open."""
        self._writer.abandon()


class LabelStudio:
    """Label Studio: `tasks.json` to import, and `labelling.xml`, the interface that the project needs.

    Args:
        making: the data set.
    """

    def __init__(self, making: Making) -> None:
        self._making = making
        self._writer = LabelStudioWriter(making.folder / "tasks.json", making.names)

    def add(self, entry: Entry) -> None:
        """Write one task."""
        record = replace(entry.record, file=entry.picture or entry.record.file)
        self._writer.add(record, **({"split": entry.split} if entry.split else {}))

    def close(self) -> None:
        """Put the files in place."""
        self._writer.close()
        write_file(self._making.folder / "labelling.xml", labelling_interface(self._making.names).encode("utf-8"))

    def abandon(self) -> None:
        """Remove what is open."""
        self._writer.abandon()


@dataclass(frozen=True, slots=True)
class NoLabels:
    """Crops: the folders that they lie in say it all.

    Attributes:
        making: the data set.
    """

    making: Making

    def add(self, entry: Entry) -> None:
        """Its crops were cut when its pixels were read."""

    def close(self) -> None:
        """Make the folder of each kind in each split: readers number the kinds by them."""
        for split in self.making.splits:
            for name in self.making.names:
                (self.making.folder / split / plain_label(name)).mkdir(parents=True, exist_ok=True)

    def abandon(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class Form:
    """A format of data sets.

    Attributes:
        make: its layout.
        names: of the files beside the folders of labels and pictures.
        labels: the name of an image's own label file; empty where it has none.
        pictures: the folder of a split's pictures.
        trains: it is for trainers: pictures and a split are wanted unless told otherwise.
        jpeg: pictures must be JPEG files.
        masks: it is of no use without masks.
    """

    make: Callable[[Making], LabelFiles]
    names: tuple[str, ...] = ()
    labels: str = ""
    pictures: str = "images/{}"
    trains: bool = True
    jpeg: bool = False
    masks: bool = False


_YOLO = ("data.yaml",), "labels/{split}/{stem}.txt"
FORMS: dict[str, Form] = {
    "coco": Form(PerSplit, ("annotations",)),
    "coco-results": Form(lambda making: PerSplit(making, results=True), ("annotations", "results")),
    "yolo": Form(lambda making: Yolo(making, yolo.box_lines), *_YOLO),
    "yolo-segment": Form(lambda making: Yolo(making, yolo.outline_lines), *_YOLO, masks=True),
    "yolo-obb": Form(lambda making: Yolo(making, yolo.corner_lines), *_YOLO),
    "voc": Form(Voc, ("ImageSets", "labelmap.txt"), "Annotations/{stem}.xml", "JPEGImages", jpeg=True),
    "label-studio": Form(LabelStudio, ("tasks.json", "labelling.xml"), trains=False),
    "csv": Form(lambda making: OneTable(making, CsvWriter, "boxes.csv"), ("boxes.csv",), trains=False),
    "parquet": Form(lambda making: OneTable(making, ParquetWriter, "boxes.parquet"), ("boxes.parquet",), trains=False),
    "crops": Form(NoLabels, SPLITS, pictures=""),
}
"""By the name of `--format`."""
