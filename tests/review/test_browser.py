"""The page in a real browser: thumbnails, mouse and keyboard, a server that is killed, several windows, a phone."""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NEEDS_CHROMIUM, make_image, write_image
from tests.review.running import Running, running
from tests.review.sets import reviewed, write_boxes, write_set

MANY = 5000
DIFFERENT = 25
PATIENCE = 20
"""Seconds until something that must happen counts as not happening, on a busy machine."""

pytestmark = NEEDS_CHROMIUM


class Window:
    """A window of the browser that looks at a review; whatever the page complains of fails the test at the end."""

    def __init__(self, browser: Any, address: str, **how: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **how})
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.set_default_timeout(PATIENCE * 1000)
        self.page.goto(address)
        self.page.wait_for_selector(".cell.here")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def until(self, script: str, argument: Any = None) -> None:
        """Wait until a script says so; Playwright's own way would need `eval`, which the page forbids."""
        end = time.monotonic() + PATIENCE
        while not self.page.evaluate(script, argument):
            assert time.monotonic() < end, script
            self.page.wait_for_timeout(20)

    def saved(self) -> None:
        """Wait until all that was done is confirmed."""
        self.until("[...document.querySelectorAll('.saved')].every((node) => node.textContent === 'saved')")

    def shown(self) -> None:
        """Wait until the large image is there."""
        self.until("!document.querySelector('#accept').disabled")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where on the screen a point of the large image is, from where the picture is."""
        frame = self.page.locator("#picture").bounding_box()
        size = self.page.evaluate(
            "[document.querySelector('#picture').naturalWidth, document.querySelector('#picture').naturalHeight]"
        )
        return frame["x"] + x * frame["width"] / size[0], frame["y"] + y * frame["height"] / size[1]

    def drag(self, start: tuple[float, float], end: tuple[float, float], **how: Any) -> None:
        mouse = self.page.mouse
        mouse.move(*self.place(*start))
        mouse.down(**how)
        mouse.move(*self.place((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
        mouse.move(*self.place(*end))
        mouse.up(**how)

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def close(self) -> None:
        self.context.close()
        assert self.faults == []


def most_doubtful(boxes: Path, count: int) -> list[str]:
    from stn_cli.formats.coco import read_coco

    found = sorted(read_coco(boxes), key=lambda record: min((o.score for o in record.objects), default=0.0))
    return [record.file for record in found[:count]]


def model_box(boxes: Path, name: str) -> tuple[float, float, float, float]:
    from stn_cli.formats.coco import read_coco

    return next(record.objects[0].box for record in read_coco(boxes) if record.file == name)


def corners_of(row: dict[str, Any]) -> list[float]:
    x, y, w, h = row["bbox"]
    return [x, y, x + w, y + h]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five thousand images, a few of them different."""
    folder = tmp_path_factory.mktemp("many")
    for n in range(MANY):
        path = folder / "images" / f"{n:03d}.png"
        if n < DIFFERENT:
            write_image(path, make_image(n)[0])
        else:
            os.link(folder / "images" / f"{n % DIFFERENT:03d}.png", path)
    return write_boxes(folder, MANY)


def test_five_thousand_thumbnails_three_corrections_and_a_kill(browser: Any, many: Path) -> None:
    first, second, third = most_doubtful(many, 4)[1:]  # before them is the one in which nothing was found
    with running(many, "--port", 0) as review:
        window = Window(browser, review.address)
        page = window.page
        assert window.text("#progress") == "0 of 5,000 reviewed"
        all_in_sight_are_loaded(window)
        assert page.locator(".cell").count() < 150
        assert sum("thumbnail" in url for url in window.requests) < 150  # nothing is loaded that is not seen
        for share in (0.25, 0.5, 0.75, 1):
            page.evaluate(
                "(share) => { const s = document.querySelector('#scroller'); s.scrollTop = share * s.scrollHeight }", share
            )
            all_in_sight_are_loaded(window)
            assert page.locator(".cell").count() < 150
        assert page.locator(f".cell[data-at='{MANY - 1}']").count() == 1
        page.evaluate("document.querySelector('#scroller').scrollTop = 0")

        window.press("Home", "ArrowRight", "Enter")  # by mouse: an edge, and a box that is moved
        window.shown()
        assert window.text("#name") == first
        x1, y1, x2, y2 = model_box(many, first)
        window.drag((x2, (y1 + y2) / 2), (x2 - 7.5, (y1 + y2) / 2))
        window.saved()

        window.press("ArrowRight")  # by mouse: a new box, where there was none
        window.shown()
        window.press("Delete")
        window.saved()
        window.drag((5, 4), (33, 29))
        window.saved()

        window.press("ArrowRight")  # by keyboard alone
        window.shown()
        before = model_box(many, third)
        window.press("Shift+ArrowRight", "Shift+ArrowDown", "Control+ArrowLeft")
        window.saved()
        assert window.text("#state") == "✎ corrected"

        review.process.kill()
        window.press("ArrowRight")
        window.page.wait_for_selector("#banner:not([hidden])")
        assert "Start stn-coloc review again" in window.text("#banner")
        window.press("Escape", "x")
        window.until("document.querySelector('#banner').textContent.includes('One action is not saved yet')")
        window.close()

    with running(many, "--port", 0) as review:
        window = Window(browser, review.address)
        assert window.text("#progress") == "3 of 5,000 reviewed"
        window.page.get_by_role("button", name="Corrected 3").click()
        assert sorted(window.page.locator(".cell").evaluate_all("(cells) => cells.map((cell) => cell.title)")) == sorted(
            [first, second, third]
        )
        window.close()
        review.end()
    found = reviewed(many)
    assert corners_of(found[first][1][0]) == pytest.approx([x1, y1, x2 - 7.5, y2], abs=0.15)
    assert corners_of(found[first][1][0])[:2] == [x1, y1]  # edges that nobody touched keep their last bit
    assert corners_of(found[second][1][0]) == pytest.approx([5, 4, 33, 29], abs=0.15)
    moved = corners_of(found[third][1][0])
    steps = [now - then for now, then in zip(moved, before, strict=True)]
    assert steps[0] == pytest.approx(steps[1]) == pytest.approx(steps[3])
    assert steps[2] == pytest.approx(0, abs=1e-9)
    assert 0 < steps[0] < 0.2  # less than a pixel of the image: nothing snaps
    assert {found[name][1][0]["source"] for name in (first, second, third)} == {"human"}


def all_in_sight_are_loaded(window: Window) -> None:
    window.until(
        """() => {
          const { top, bottom } = document.querySelector('#scroller').getBoundingClientRect();
          const where = (cell) => cell.getBoundingClientRect();
          const seen = [...document.querySelectorAll('.cell')].filter((cell) => where(cell).top < bottom && where(cell).bottom > top);
          return seen.length > 12 && seen.every((cell) => cell.querySelector('img')?.naturalWidth > 0);
        }"""
    )


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Running]:
    write_set(tmp_path / "set", 8)
    with running(tmp_path / "set", "--port", 0, "--labels", "cup,mug") as found:
        yield found


def boxes_of(tmp_path: Path) -> Path:
    return tmp_path / "set" / "boxes.json"


def test_a_page_is_accepted_by_one_key_and_undone_by_one(browser: Any, review: Running, tmp_path: Path) -> None:
    window = Window(browser, review.address)
    all_loaded = "[...document.querySelectorAll('.cell img')].every((picture) => picture.naturalWidth > 0)"
    window.until(all_loaded)
    window.press("x")  # the most doubtful one, in which nothing was found
    window.press("Shift+A")
    window.saved()
    assert window.text("#progress") == "8 of 8 reviewed"
    assert window.text("#empty") == "All images are reviewed."
    assert len(boxes_of(tmp_path).with_name("review.jsonl").read_bytes().splitlines()) == 3  # its labels, and two actions
    window.press("z")
    window.saved()
    assert window.text("#progress") == "1 of 8 reviewed"
    window.page.reload()  # undo goes on in the same window
    window.page.wait_for_selector(".cell.here")
    window.press("z")
    window.saved()
    assert window.text("#progress") == "0 of 8 reviewed"
    window.press("z")
    window.until("document.querySelector('#toast').textContent === 'nothing to undo in this window'")
    window.close()


def test_the_keys_of_the_large_view(browser: Any, review: Running, tmp_path: Path) -> None:
    names = most_doubtful(boxes_of(tmp_path), 8)
    window = Window(browser, review.address)
    window.press("Enter")
    window.shown()
    assert window.text("#name") == names[0]
    window.press("a")
    window.until("(name) => document.querySelector('#name').textContent === name", names[1])
    window.shown()
    window.press("2")  # the kind of its one box
    window.saved()
    window.press("x")
    window.until("(name) => document.querySelector('#name').textContent === name", names[2])
    window.shown()
    own = window.page.locator("#drawing g").count()
    for key, boxes, state in (
        ("n", own + 1, "✎ corrected"),
        ("+", own + 1, "✎ corrected"),
        ("0", own + 1, "✎ corrected"),
        ("Delete", own, "✓ accepted"),  # the model's boxes as they were
        ("z", own + 1, "✎ corrected"),
        ("r", own, "unreviewed"),
        ("z", own + 1, "✎ corrected"),
        ("z", own, "unreviewed"),
    ):
        window.press(*([key] * (2 if key == "n" else 1)))
        window.saved()
        assert (window.page.locator("#drawing g").count(), window.text("#state")) == (boxes, state), key
    window.press("z")  # what is undone is another image: it is shown
    window.until("(name) => document.querySelector('#name').textContent === name", names[1])
    window.shown()
    assert window.text("#state") == "✎ corrected"
    window.press("Escape")
    window.close()
    review.end()
    found = reviewed(boxes_of(tmp_path))
    assert [found[name][0].get("status") for name in names[:3]] == ["none", "corrected", None]
    assert [row["category_id"] for row in found[names[1]][1]] == [2]


def test_a_box_is_drawn_over_another(browser: Any, review: Running, tmp_path: Path) -> None:
    name = most_doubtful(boxes_of(tmp_path), 2)[1]
    x1, y1, x2, y2 = model_box(boxes_of(tmp_path), name)
    inside = ((x1 * 2 + x2) / 3, (y1 * 2 + y2) / 3), ((x1 + x2 * 2) / 3, (y1 + y2 * 2) / 3)
    window = Window(browser, review.address)
    window.press("ArrowRight", "Enter")
    window.shown()
    own = window.page.locator("#drawing g").count()
    window.press("n", "Escape")  # nothing after all, and the image stays
    window.press("n")
    window.drag(*inside)
    window.saved()
    assert window.page.locator("#drawing g").count() == own + 1
    window.page.keyboard.down("Shift")
    window.drag(*inside)
    window.page.keyboard.up("Shift")
    window.saved()
    assert window.page.locator("#drawing g").count() == own + 2
    window.drag(inside[0], (inside[0][0] - 2, inside[0][1] - 2))  # and without either it is changed
    window.saved()
    assert window.page.locator("#drawing g").count() == own + 2
    window.close()
    review.end()
    found = [corners_of(row) for row in reviewed(boxes_of(tmp_path))[name][1]]
    assert [x1, y1, x2, y2] in [pytest.approx(box, abs=1e-9) for box in found]  # the one below was not touched
    assert len(found) == own + 2


def test_two_windows_lose_nothing_of_each_other(browser: Any, review: Running, tmp_path: Path) -> None:
    name = most_doubtful(boxes_of(tmp_path), 2)[1]
    one, two = Window(browser, review.address), Window(browser, review.address)
    for window in (one, two):
        window.press("ArrowRight", "Enter")
        window.shown()
    # the second does not hear of the first before it acts
    two.page.route("**/changes*", lambda route: route.fulfill(status=200, json={"seq": 0, "images": [], "unsaved": ""}))
    one.press("x")
    one.saved()
    two.drag((1, 1), (20.5, 30))
    two.page.wait_for_selector("#banner:not([hidden])")
    assert f"{name} was changed in another window meanwhile" in two.text("#banner")
    assert two.text("#state") == "∅ no object"  # theirs is shown
    two.page.get_by_role("button", name="Use mine instead").click()
    two.saved()
    assert two.text("#state") == "✎ corrected"
    one.press("ArrowLeft")
    one.until("document.querySelector('#state').textContent === '✎ corrected'")  # it hears of it
    one.close()
    two.close()
    assert len(boxes_of(tmp_path).with_name("review.jsonl").read_bytes().splitlines()) == 3  # both are in the journal


def test_a_full_disk_is_said_in_the_page_and_mended_by_itself(browser: Any, review: Running, tmp_path: Path) -> None:
    window = Window(browser, review.address)
    window.press("ArrowRight", "Enter")
    window.shown()
    size = boxes_of(tmp_path).with_name("review.jsonl").stat().st_size
    resource.prlimit(review.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    window.drag((2, 2), (30, 30))
    window.page.wait_for_selector("#banner:not([hidden])")
    assert re.search(r"Not saved: cannot write.*by itself\. One action is not saved yet", window.text("#banner"))
    assert window.text("#editor .saved") == "saving 1…"
    assert window.page.locator("#drawing g.waiting").count() >= 1  # drawn otherwise than what is done
    window.press("Escape", "ArrowRight")
    assert window.text("#progress") == "0 of 8 reviewed"
    resource.prlimit(review.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    window.page.get_by_role("button", name="Try again").click()
    window.saved()
    assert window.text("#progress") == "1 of 8 reviewed"
    window.close()


def test_what_a_page_could_not_save_is_offered_to_the_next_one(browser: Any, tmp_path: Path) -> None:
    boxes = write_set(tmp_path / "set", 8)
    name = most_doubtful(boxes, 2)[1]
    with running(boxes, "--port", 0) as review:
        window = Window(browser, review.address)
        window.until("document.querySelectorAll('.cell img').length === 8")
        window.until("[...document.querySelectorAll('.cell img')].every((picture) => picture.naturalWidth > 0)")
        review.process.kill()
        review.process.wait()
        window.press("ArrowRight", "x")
        window.page.wait_for_selector("#banner:not([hidden])")
    port = review.address.split(":")[2].split("/")[0]
    with running(boxes, "--port", port) as again:
        following = window.context.new_page()  # the same browser, the new address
        following.goto(again.address)
        following.wait_for_selector("#banner:not([hidden])")
        assert "One action of an earlier page could not be saved there." in following.locator("#banner").inner_text()
        assert following.locator("#progress").inner_text() == "0 of 8 reviewed"
        following.get_by_role("button", name="Do it now").click()
        following.get_by_text("1 of 8 reviewed").wait_for()
        again.end()
        window.close()
    assert reviewed(boxes)[name][0]["status"] == "none"


def test_an_image_that_is_gone_is_said_and_not_judged(browser: Any, review: Running, tmp_path: Path) -> None:
    name = most_doubtful(boxes_of(tmp_path), 2)[1]
    (tmp_path / "set/images" / name).unlink()
    window = Window(browser, review.address)
    window.until("document.querySelector('.cell .lost')?.textContent === 'vanished'")
    window.until("document.querySelectorAll('.cell img').length === 7")
    window.until(
        "[...document.querySelectorAll('.cell img')].every((picture) => picture.naturalWidth > 0)"
    )  # what nobody saw is not accepted
    window.press("Shift+A")
    window.saved()
    assert window.text("#progress") == "7 of 8 reviewed"
    window.press("Enter")
    window.page.wait_for_selector("#fault:not([hidden])")
    assert window.text("#fault") == "This image cannot be shown: vanished"
    window.press("a", "x")
    window.saved()
    window.press("Escape")
    assert window.text("#progress") == "7 of 8 reviewed"
    window.close()


def test_the_histogram_and_the_chips_filter(browser: Any, review: Running) -> None:
    window = Window(browser, review.address)
    bars = window.page.locator("#histogram button")
    counts = [int(re.search(r": (\d+) image", bars.nth(n).get_attribute("aria-label"))[1]) for n in range(20)]  # type: ignore[index]
    assert sum(counts) == 8
    first = next(n for n, count in enumerate(counts) if count)
    bars.nth(first).click()
    assert window.page.locator(".cell").count() == counts[first]
    bars.nth(19).click(modifiers=["Shift"])
    assert window.page.locator(".cell").count() == 8
    window.page.get_by_role("button", name="mug 0").click()
    assert window.text("#empty") == "No image is like that."
    window.page.get_by_role("button", name="Any kind").click()
    window.page.get_by_placeholder("part of a name").fill("003")
    assert window.page.locator(".cell").count() == 1
    window.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_and_takes_fingers(browser: Any, review: Running, scheme: str) -> None:
    window = Window(
        browser, review.address, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, color_scheme=scheme
    )
    assert window.page.evaluate("document.documentElement.scrollWidth") == 360
    background = window.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}[scheme]
    window.page.locator(".cell").nth(1).tap()
    window.shown()
    assert window.page.evaluate("document.documentElement.scrollWidth") == 360
    for button in window.page.locator("#editor button:visible").all():
        box = button.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["height"] >= 40
    window.page.get_by_role("button", name="Accept").tap()
    window.saved()
    window.page.get_by_role("button", name="Back to all images").tap()
    assert window.text("#progress") == "1 of 8 reviewed"
    window.close()


def test_the_focus_is_seen_and_help_opens_and_closes(browser: Any, review: Running) -> None:
    window = Window(browser, review.address)
    for _ in range(12):
        window.press("Tab")
        ring = window.page.evaluate(
            "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth"
        )
        if window.page.evaluate("document.activeElement !== document.body"):
            assert ring == "solid3px"
    window.press("?")
    assert window.page.locator("#help").is_visible()
    window.press("a")  # keys do nothing behind it
    window.press("Escape")
    assert not window.page.locator("#help").is_visible()
    assert window.text("#progress") == "0 of 8 reviewed"
    window.close()
