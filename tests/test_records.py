"""What a notebook shows of a record."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from stn_cli.records import ImageRecord, Localisation, corners


def found(score: float, *box: float, file: str = "a.jpg") -> Localisation:
    x1, y1, x2, y2 = box
    return Localisation(file, 640, 480, (x1, y1, x2, y2), corners((x1, y1, x2, y2)), (), score)


def shown(record: ImageRecord | Localisation) -> Element:
    page: Element = fromstring(record._repr_html_())  # well-formed, or this fails
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
