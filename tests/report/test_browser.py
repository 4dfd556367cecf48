"""The report in a real browser: its pages, their order, an image enlarged, a phone, and no script at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stn_cli.records import ImageRecord, Localisation, corners
from stn_cli.report.content import PageContent, render
from stn_cli.report.figures import data_url
from stn_cli.report.film import Film, pick_encoding
from stn_cli.report.sheet import SheetPicture, shapes_of
from stn_cli.report.verdict import Tally, band_of
from tests.conftest import NEEDS_CHROMIUM

COUNT = 100

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of many images; the doubtful ones have late names."""
    tally, pictures, url = Tally(), [], data_url(np.full((30, 60, 3), 90, np.uint8))
    for place in range(COUNT):
        name, score = f"image{COUNT - place}.jpg", place / COUNT
        box = (50.0, 20.0, 150.0, 80.0)
        record = ImageRecord(name, 200, 100, (Localisation(name, 200, 100, box, corners(box), (), score),))
        tally.add(record)
        pictures.append(SheetPicture(name, 200, 100, score, band_of(score), url, shapes_of(record), place + 1))
    long = "stn-coloc localise --model " + "/a/folder/with/a/long/name" * 8
    content = PageContent("Images", tally.verdict(), COUNT, pictures, [("Boxes", long)], [])
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(content))
    return path


def opened(browser: Any, path: Path, faults: list[str], **how: Any) -> Any:
    page = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **how}).new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.goto(path.as_uri())
    return page


def in_sight(page: Any) -> list[str]:
    return page.locator("#sheet figure:visible figcaption span").all_text_contents()  # type: ignore[no-any-return]


def test_pages_and_their_order(browser: Any, page_file: Path) -> None:
    faults: list[str] = []
    page = opened(browser, page_file, faults)
    assert in_sight(page) == [f"image{n}.jpg" for n in range(100, 52, -1)]
    assert page.locator("#where").text_content() == "1 to 48 of 100"
    assert page.locator("#pager").get_by_text("Previous").is_disabled()
    page.locator("#pager").get_by_text("Next").click()
    page.locator("#pager").get_by_text("Next").click()
    assert in_sight(page) == ["image4.jpg", "image3.jpg", "image2.jpg", "image1.jpg"]
    assert page.locator("#pager").get_by_text("Next").is_disabled()
    page.locator("#pager select").select_option("name")
    assert in_sight(page) == [f"image{n}.jpg" for n in range(1, 49)]  # 2 before 10
    page.locator("#pager select").select_option("sure")
    assert in_sight(page)[:2] == ["image1.jpg", "image2.jpg"]
    assert faults == []


def test_a_click_enlarges_and_keys_go_on_over_the_pages(browser: Any, page_file: Path) -> None:
    faults: list[str] = []
    page = opened(browser, page_file, faults)
    page.locator("#sheet .view:visible").last.click()
    caption = page.locator("#large .caption")
    assert caption.text_content() == "48 of 100 \u00b7 0.47 image53.jpg"
    page.keyboard.press("ArrowRight")
    assert caption.text_content() == "49 of 100 \u00b7 0.48 image52.jpg"
    stage, picture = (page.locator(f"#large .stage{part}").bounding_box() for part in ("", " img"))
    assert picture == stage  # as large as there is room
    drawn = page.locator("#large .box").bounding_box()  # half as wide as the image, in its middle
    scale = min(stage["width"] / 200, stage["height"] / 100)
    assert drawn["width"] == pytest.approx(100 * scale, abs=16)  # and its stroke
    assert drawn["x"] + drawn["width"] / 2 == pytest.approx(stage["x"] + stage["width"] / 2, abs=2)
    page.keyboard.press("Escape")
    assert not page.locator("#large").is_visible()
    page.locator(".first .view").last.click()
    assert caption.text_content() == "6 of 6 \u00b7 0.05 image95.jpg"
    page.keyboard.press("ArrowRight")  # there is none
    assert caption.text_content() == "6 of 6 \u00b7 0.05 image95.jpg"
    page.get_by_text("Close").click()
    assert not page.locator("#large").is_visible()
    assert faults == []


def test_thumbnails_are_of_one_size_and_a_phone_scrolls_one_way(browser: Any, page_file: Path) -> None:
    page = opened(browser, page_file, [], viewport={"width": 360, "height": 700}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    sizes = page.evaluate(
        "[...document.querySelectorAll('#sheet .view')].filter((v) => v.offsetWidth).map((v) => `${v.offsetWidth} x ${v.offsetHeight}`)"
    )
    assert len(sizes) == 48
    assert len(set(sizes)) == 1
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(20, 23, 28)"


def test_without_scripts_everything_is_shown(browser: Any, page_file: Path) -> None:
    page = opened(browser, page_file, [], java_script_enabled=False)
    assert page.locator("#sheet figure:visible").count() == COUNT
    assert not page.locator("#pager").is_visible()
    assert not page.locator("#large").is_visible()


def test_the_film_plays(browser: Any, tmp_path: Path) -> None:
    size = (60, 80)
    with Film(tmp_path / "video", pick_encoding(size, 25), size, 25) as film:
        for shade in range(50):
            film.add(np.full((*size, 3), 4 * shade, np.uint8))
    (tmp_path / "page.html").write_text(f'<video src="{film.path.name}" muted></video>')
    page = opened(browser, tmp_path / "page.html", [])
    if not page.evaluate("document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.42E01E\"')"):
        pytest.skip("this Chromium was built without H.264")
    played = page.evaluate(
        "async () => { const v = document.querySelector('video'); const end = new Promise((done) => v.addEventListener('ended', done));"
        " await v.play(); await end; return [v.videoWidth, v.videoHeight, v.duration, v.error]; }"
    )
    assert played == [80, 60, 2, None]
