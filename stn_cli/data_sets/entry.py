"""The images of a data set, as the formats take them: each is made when it is asked for, of what little is kept of it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from stn_cli.data_sets.alike import Thumbnail
from stn_cli.data_sets.look import LookedAt, within
from stn_cli.data_sets.pictures import PicturePlan
from stn_cli.formats.packed import PackedRecords
from stn_cli.records import ImageRecord


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a data set.

    Attributes:
        record: its objects, cut to the image; `file` is its name in the source.
        stem: its name in the data set, without an extension.
        picture: its file in the data set, relative with `/`; None where there is none.
        split: the part that it belongs to; empty where the set has no parts.
        plan: what becomes of its file; None where that was not looked at.
    """

    record: ImageRecord
    stem: str
    picture: str | None
    split: str
    plan: PicturePlan | None = None


class LookedAtImages:
    """The images that can be used.

    Args:
        records: of all images; those that are looked at get the size of their file.

    Attributes:
        looks: of images that are compared.
    """

    def __init__(self, records: PackedRecords) -> None:
        self.looks: list[Thumbnail] = []
        self._records, self._places, self._plans = records, array("i"), list[PicturePlan | None]()
        self._known: dict[PicturePlan | None, PicturePlan | None] = {}

    def add(self, place: int, item: LookedAt, plan: PicturePlan | None) -> None:
        """One of them, and what becomes of its file."""
        self._places.append(place)
        self._plans.append(self._known.setdefault(plan, plan))  # a few plans are those of all
        self._records.set_sides(place, item.record.width, item.record.height)
        if item.look is not None:
            self.looks.append(item.look)

    def files(self) -> list[str]:
        """Their names."""
        return [self._records.files[place] for place in self._places]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[ImageRecord, PicturePlan | None]]:
        """Their records, boxes cut to the image, and what becomes of their files."""
        for place, plan in zip(self._places, self._plans, strict=True):
            yield within(self._records[place])[0], plan


@dataclass(frozen=True, slots=True)
class SetEntries(Collection[Entry]):
    """The images of a data set.

    Attributes:
        seen: the images.
        stems: their names in the data set.
        parts: that they belong to.
        pictures: the folder of a part's pictures; None where there are none.
        left: what is kept of a record's objects.
    """

    seen: LookedAtImages
    stems: Sequence[str]
    parts: Sequence[str]
    pictures: str | None
    left: Callable[[ImageRecord], ImageRecord]

    def __len__(self) -> int:
        return len(self.seen)

    def __iter__(self) -> Iterator[Entry]:
        for (record, plan), stem, part in zip(self.seen, self.stems, self.parts, strict=True):
            picture = None
            if self.pictures is not None and plan is not None:
                picture = "/".join(filter(None, [*self.pictures.format(part).split("/"), f"{stem}{plan.extension}"]))
            yield Entry(self.left(record), stem, picture, part, plan)

    def __contains__(self, entry: object) -> bool:
        return any(entry == other for other in self)
