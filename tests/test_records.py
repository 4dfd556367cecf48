"""What a notebook shows of a record, and what supervision makes of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from defusedxml.ElementTree import fromstring

from stn_cli.errors import ResourceError
from stn_cli.records import ImageRecord, ImageRecords, Localisation, TrackedFrame, TrackedObject, corners
from stn_cli.run_lengths import encode_mask


def found(score: float, *box: float, file: str = "a.jpg") -> Localisation:
    x1, y1, x2, y2 = box
    return Localisation(file, 640, 480, (x1, y1, x2, y2), corners((x1, y1, x2, y2)), (), score)


def shown(record: ImageRecord | ImageRecords | Localisation) -> Element:
    page: Element = fromstring(f"<body>{record._repr_html_()}</body>")  # well-formed, or this fails
    return page


def test_boxes_are_drawn_where_they_are_the_best_one_last_and_thick() -> None:
    page = shown(ImageRecord("a.jpg", 640, 480, (found(0.9, 10, 20, 110, 220), found(0.25, 300, 0, 640, 480))))
    (svg,) = page.iter("svg")
    assert (svg.get("viewBox"), svg.get("width"), svg.get("height")) == ("0 0 640 480", "320", "240")
    other, best = page.iter("polygon")
    assert best.get("points") == "10.0,20.0 110.0,20.0 110.0,220.0 10.0,220.0"
    assert float(best.get("stroke-width") or 0) == 2 * float(other.get("stroke-width") or 0) == 4  # two pixels of the screen
    assert [text.text for text in page.iter("text")] == ["0.25", "0.90"]
    assert [caption.text for caption in page.iter("figcaption")] == ["a.jpg (640 x 480): 2 objects"]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (found(0.5, 0, 0, 9, 9), "a.jpg (640 x 480): 1 object"),
        (ImageRecord("a.jpg", 640, 480, ()), "a.jpg (640 x 480): no objects"),
        # a name from a stranger is text
        (ImageRecord("<script>x</script>&.png", 9, 9, ()), "<script>x</script>&.png (9 x 9): no objects"),
    ],
)
def test_what_is_said_below(record: ImageRecord | Localisation, said: str) -> None:
    assert [caption.text for caption in shown(record).iter("figcaption")] == [said]


@pytest.mark.parametrize(("count", "drawn", "said"), [(0, 0, []), (3, 3, []), (63, 60, ["and 3 more"])])
def test_records_of_several_images_stand_side_by_side(count: int, drawn: int, said: list[str]) -> None:
    page = shown(ImageRecords(ImageRecord(f"{n}.jpg", 640, 480, (found(0.9, 0, 0, 9, 9),)) for n in range(count)))
    assert len(list(page.iter("svg"))) == drawn
    assert [text.text for text in page.iter("p")] == said


def test_detections_of_supervision() -> None:
    pixels = np.zeros((480, 640), bool)
    pixels[20:200, 10:100] = True
    mask = encode_mask(pixels, (0, 0), (480, 640))
    both = replace(found(0.9, 10, 20, 110, 220), mask=mask), replace(found(0.25, 300, 0, 640, 480), kind=2, mask=mask)
    detections = ImageRecord("a.jpg", 640, 480, both).to_supervision()
    assert detections.xyxy.tolist() == [[10, 20, 110, 220], [300, 0, 640, 480]]
    assert detections.confidence == pytest.approx([0.9, 0.25])
    assert detections.class_id.tolist() == [0, 2]
    assert detections.data["quad"][0].tolist() == [[10, 20], [110, 20], [110, 220], [10, 220]]
    assert detections.mask.shape == (2, 480, 640)
    assert (detections.mask[1] == pixels).all()
    assert ImageRecord("a.jpg", 640, 480, (found(0.9, 0, 0, 9, 9), both[1])).to_supervision().mask is None  # not of all
    assert len(ImageRecord("a.jpg", 640, 480, ()).to_supervision()) == 0
    tracked = TrackedObject(7, (1.0, 2.0, 3.0, 4.0), 0.5, corners((1.0, 2.0, 3.0, 4.0)))
    assert TrackedFrame(0, 0.0, (tracked,)).to_supervision().tracker_id.tolist() == [7]


def test_without_supervision_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ResourceError, match=r"'supervision'. pip install supervision"):
        ImageRecord("a.jpg", 640, 480, ()).to_supervision()
