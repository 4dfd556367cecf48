"""What is known of each image of a review: what the model found, and what a person made of it.

A line of the journal holds whole states of images, not changes of them: the last line that names an image says all about it, so that the
journal also fits boxes that were found anew. Boxes are (x1, y1, x2, y2) in pixels of the upright image, never rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stn_cli.formats.coco_file import CocoBox, CocoFile, Id
from stn_cli.formats.json_file import as_id, corner_box, number
from stn_cli.records import PixelBox, sureness
from stn_cli.review.journal import Line

UNREVIEWED, ACCEPTED, CORRECTED, NONE = "unreviewed", "accepted", "corrected", "none"
STATUSES = (UNREVIEWED, ACCEPTED, CORRECTED, NONE)
KEPT = ("quad", "theta", "segmentation", "iscrowd")
"""What else the model said of a box; it stays true only while nobody moves it."""


@dataclass(frozen=True, slots=True)
class ReviewObject:
    """One box of an image.

    Attributes:
        box: (x1, y1, x2, y2), pixels.
        kind: id of its category.
        score: the model's; None of a box that a person drew.
        human: a person drew, moved or renamed it.
        kept: what else the model said of it, by COCO's keys.
    """

    box: PixelBox
    kind: Id
    score: float | None = None
    human: bool = False
    kept: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As the journal has it."""
        said = {"box": list(self.box), "kind": self.kind, "source": "human" if self.human else "model"}
        return said | ({} if self.score is None else {"score": self.score}) | self.kept


@dataclass(frozen=True, slots=True)
class Mark:
    """The state of an image.

    Attributes:
        status: one of `STATUSES`.
        objects: its boxes.
        rejected: boxes of the model that a person took away: no box that is left lies there.
        seq: number of the line that says so; 0 where none does.
        origin: number of the action that made it so: after an undo that of the action which is in force again.
    """

    status: str
    objects: tuple[ReviewObject, ...]
    rejected: tuple[PixelBox, ...] = ()
    seq: int = 0
    origin: int = 0


@dataclass(slots=True)
class ReviewImage:
    """An image: its name as results have it, its upright size in pixels, the model's boxes (best first), and its state."""

    file: str
    width: int
    height: int
    model: tuple[ReviewObject, ...]
    mark: Mark

    @property
    def doubt_score(self) -> float:
        """How sure the model's boxes are: lowest first is most doubtful first."""
        return sureness(1.0 if o.score is None else o.score for o in self.model)


@dataclass(slots=True)
class Done:
    """An action that was done: on whose page, its images' states before it, and whether it was undone."""

    page: str
    before: dict[int, Mark]
    undone: bool = False


class ReviewState:
    """All images of a review. Lines of the journal are applied in their order.

    Args:
        coco: the boxes that are looked at.

    Attributes:
        images: in the order of the file.
        categories: names of kinds by id.
        actions: what was done, by number.
        unknown: names in the journal that the boxes do not have.
        resized: names of images that had another size when they were reviewed: their corrections are not used.
    """

    def __init__(self, coco: CocoFile) -> None:
        self.categories = dict(coco.categories) or {1: "object"}
        first = next(iter(self.categories))
        boxes: dict[Id, list[ReviewObject]] = {key: [] for key in coco.images}
        for box in coco.boxes:
            if box.row.get("believed") is False:  # to take these away from every image would be most of the work
                continue
            boxes[box.image].append(_of_the_model(box, first))
        self.images: list[ReviewImage] = []
        for key, image in coco.images.items():
            model = tuple(sorted(boxes[key], key=lambda o: -(o.score or 0.0)))
            self.images.append(ReviewImage(image.file, image.width, image.height, model, Mark(UNREVIEWED, model)))
        for kind in {o.kind for i in self.images for o in i.model} - set(self.categories):
            self.categories[kind] = str(kind)
        self.index = {image.file: number for number, image in enumerate(self.images)}
        self.actions: dict[int, Done] = {}
        self.unknown: set[str] = set()
        self.resized: set[str] = set()

    def apply(self, lines: Iterable[Line]) -> int:
        """Take over what the journal says.

        Args:
            lines: new ones, in their order.

        Returns:
            How many lines could not be understood.
        """
        strange = 0
        for line in lines:
            try:
                self._apply(line)
            except (KeyError, TypeError, ValueError, AttributeError):  # somebody wrote into the journal by hand
                strange += 1
        return strange

    def _apply(self, line: Line) -> None:
        seq = int(line["seq"])
        if "labels" in line:
            self.name_kinds([str(name) for name in line["labels"]])
            return
        undone = self.actions.get(line["undoes"]) if "undoes" in line else None
        marks = {}
        for row in line["images"]:
            place = self.index.get(row["file"])
            if place is None:
                self.unknown.add(str(row["file"]))
                continue
            image = self.images[place]
            if [image.width, image.height] != row["size"]:
                self.resized.add(image.file)
                continue
            mark = mark_from_json(row, image, seq)
            if undone is not None and place in undone.before:
                mark = replace(mark, origin=undone.before[place].origin)
            marks[place] = mark
        if undone is None:
            self.actions[seq] = Done(str(line.get("page", "")), {place: self.images[place].mark for place in marks})
        else:
            undone.undone = True
        for place, mark in marks.items():
            self.images[place].mark = mark

    def name_kinds(self, labels: Sequence[str]) -> None:
        """Give kinds their names, in the order of their keys; more names are more kinds.

        Args:
            labels: the names.
        """
        for kind, name in zip(tuple(self.categories), labels, strict=False):
            self.categories[kind] = name
        for name in labels[len(self.categories) :]:
            self.categories[1 + max(k for k in (0, *self.categories) if isinstance(k, int))] = name

    def last_of(self, page: str) -> int | None:
        """The last action of a page that is in force.

        Args:
            page: its id.

        Returns:
            The action's number; None where there is none.
        """
        return next(
            (seq for seq in reversed(self.actions) if self.actions[seq].page == page and not self.actions[seq].undone), None
        )


def _of_the_model(found: CocoBox, kind: Id) -> ReviewObject:
    kept = {key: found.row[key] for key in KEPT if found.row.get(key)}
    return ReviewObject(found.box, kind if found.category is None else found.category, found.score, kept=kept)


def row_of(image: ReviewImage, mark: Mark) -> dict[str, Any]:
    """An image's state as a line of the journal holds it.

    Args:
        image: the image.
        mark: its new state.

    Returns:
        What JSON holds of it.
    """
    row: dict[str, Any] = {"file": image.file, "size": [image.width, image.height], "status": mark.status}
    if mark.status != UNREVIEWED:
        row |= {"objects": [o.as_json() for o in mark.objects], "rejected": [list(box) for box in mark.rejected]}
    return row


def mark_from_json(row: dict[str, Any], image: ReviewImage, seq: int) -> Mark:
    """What `row_of` wrote.

    Args:
        row: of an image, from the journal.
        image: the image.
        seq: number of the line.

    Returns:
        The state.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    if row["status"] not in STATUSES:
        raise ValueError(row["status"])
    if row["status"] == UNREVIEWED:
        return Mark(UNREVIEWED, image.model, (), seq, seq)
    objects = tuple(
        ReviewObject(
            corner_box(o["box"]),
            as_id(o["kind"]),
            number(o["score"]) if "score" in o else None,
            o["source"] == "human",
            {key: o[key] for key in KEPT if key in o},
        )
        for o in row["objects"]
    )
    return Mark(row["status"], objects, tuple(corner_box(box) for box in row["rejected"]), seq, seq)
