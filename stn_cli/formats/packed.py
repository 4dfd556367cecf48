"""What a file says of many images, packed: boxes as columns, objects as bytes, and made into records when they are asked for."""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from stn_cli.on_demand import OnDemand
from stn_cli.records import ImageRecord, Localisation, PixelBox, corners

Item = TypeVar("Item")


class BoxColumns:
    """Boxes of images, 45 bytes each; those of an image side by side once `settle` is called.

    Attributes:
        places: of the images by their names, in the order in which they came.
    """

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self._image, self._box, self._number, self._flags = array("i"), array("d"), array("d"), array("b")
        self._since: dict[int, int] = {}
        self._order: npt.NDArray[np.int64] | None = None
        self._starts: npt.NDArray[np.int64] = np.zeros(1, np.int64)

    def place(self, name: str) -> int:
        """Where an image is; it is added where it is not there."""
        return self.places.setdefault(name, len(self.places))

    def add(self, place: int, box: PixelBox, number: float, flags: int = 0) -> None:
        """A box of an image, with a number and flags of its own."""
        self._image.append(place)
        self._box.extend(box)
        self._number.append(number)
        self._flags.append(flags)

    def drop(self, place: int) -> None:
        """Forget the boxes that an image has so far."""
        self._since[place] = len(self._image)

    def settle(self, *, ranked: bool = False) -> None:
        """No more come; of an image they follow each other as they came, or from the largest number on where they are `ranked`."""
        image, number = np.asarray(self._image), np.asarray(self._number)
        self._order = np.lexsort((-number, image) if ranked else (image,))
        if self._since:
            since = np.zeros(len(self.places), np.int64)
            since[list(self._since)] = list(self._since.values())
            self._order = self._order[self._order >= since[image[self._order]]]
        self._starts = np.searchsorted(image[self._order], np.arange(len(self.places) + 1))

    def of(self, place: int) -> Iterator[tuple[PixelBox, float, int]]:
        """The boxes of an image with their numbers and flags."""
        assert self._order is not None
        for n in self._order[self._starts[place] : self._starts[place + 1]].tolist():
            x1, y1, x2, y2 = self._box[4 * n : 4 * n + 4]
            yield (x1, y1, x2, y2), self._number[n], self._flags[n]


class ByName(Mapping[str, list[Item]], Generic[Item]):
    """What is known of images, by their names, made of columns when it is asked for.

    Args:
        columns: settled.
        make: of a box, its number and its flags.
    """

    def __init__(self, columns: BoxColumns, make: Callable[[PixelBox, float, int], Item]) -> None:
        self._columns, self._make = columns, make

    def __getitem__(self, name: str) -> list[Item]:
        return [self._make(*row) for row in self._columns.of(self._columns.places[name])]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.places)

    def __len__(self) -> int:
        return len(self._columns.places)

    def __contains__(self, name: object) -> bool:
        return name in self._columns.places


class PackedRecords(OnDemand[ImageRecord]):
    """Records of images, their objects best first, as bytes.

    Attributes:
        files: names of the images.
        masks: whether an object has one.
        objects: how many there are.
        one_kind: all objects are of the first kind, whatever was said.
    """

    def __init__(self) -> None:
        self.files: list[str] = []
        self.masks = self.one_kind = False
        self.objects = 0
        self._sides, self._reviewed = array("i"), bytearray()
        self._image, self._score, self._ends = array("i"), array("d"), array("q", [0])
        self._bytes = bytearray()
        self._order: npt.NDArray[np.int64] | None = None
        self._starts: npt.NDArray[np.int64] = np.zeros(1, np.int64)

    def add_image(self, file: str, width: int, height: int, *, reviewed: bool = False) -> int:
        """An image.

        Returns:
            Its place, from 0.
        """
        self.files.append(file)
        self._sides.extend((width, height))
        self._reviewed.append(reviewed)
        return len(self.files) - 1

    def add_object(self, place: int, found: Localisation) -> None:
        """An object of an image."""
        quad = None if found.quad == corners(found.box) else found.quad
        rest = (found.box, quad, tuple(found.theta), found.mask, found.kind, found.believed, found.source)
        self._bytes += marshal.dumps(rest)
        self._ends.append(len(self._bytes))
        self._image.append(place)
        self._score.append(found.score)
        self.masks = self.masks or found.mask is not None
        self.objects += 1

    def settle(self, order: Sequence[int] | None = None) -> None:
        """No more come.

        Args:
            order: the images' places in the order in which they are wanted; as they came when left out.
        """
        image, score = np.asarray(self._image), np.asarray(self._score)
        if order is not None:
            places = np.asarray(order)
            self.files = [self.files[at] for at in order]
            self._sides = array("i", np.asarray(self._sides, np.int32).reshape(-1, 2)[places].tobytes())
            self._reviewed = bytearray(np.asarray(self._reviewed)[places].tobytes())
            image = np.argsort(places)[image]
        self._order = np.lexsort((-score, image))
        self._starts = np.searchsorted(image[self._order], np.arange(len(self.files) + 1))

    def sides(self, place: int) -> tuple[int, int]:
        """Width and height of an image, 0 where they are not known."""
        return self._sides[2 * place], self._sides[2 * place + 1]

    def set_sides(self, place: int, width: int, height: int) -> None:
        """Width and height of an image, from its file."""
        self._sides[2 * place], self._sides[2 * place + 1] = width, height

    def __len__(self) -> int:
        return len(self.files)

    def make(self, place: int) -> ImageRecord:
        """The record of one image."""
        assert self._order is not None
        mine = self._order[self._starts[place] : self._starts[place + 1]].tolist()
        file, (width, height) = self.files[place], self.sides(place)
        objects = tuple(self._object(n, file, width, height) for n in mine)
        return ImageRecord(file, width, height, objects, bool(self._reviewed[place]))

    def _object(self, n: int, file: str, width: int, height: int) -> Localisation:
        rest: Any = marshal.loads(memoryview(self._bytes)[self._ends[n] : self._ends[n + 1]])
        box, quad, theta, mask, kind, believed, source = rest
        kind = 0 if self.one_kind else kind
        return Localisation(file, width, height, box, quad or corners(box), theta, self._score[n], mask, kind, believed, source)
