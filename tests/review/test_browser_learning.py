"""The button "Learn from these" in a real browser: what it shows meanwhile, what comes of it, and what is shown where it fails."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stn_cli.errors import InputError
from stn_cli.jobs.review import open_review
from stn_cli.review.learning import LearningWatch, Opening
from stn_cli.review.server import ReviewApplication
from stn_cli.review.session import ReviewSession
from tests.conftest import NEEDS_CHROMIUM
from tests.review.running import answering
from tests.review.sets import write_boxes, write_set
from tests.review.test_browser import PATIENCE, Window

pytestmark = NEEDS_CHROMIUM
BUTTON = "document.querySelector('#learn').textContent"


class Taught:
    """A review of eight images, and a learner that waits to be told how to end."""

    def __init__(self, folder: Path) -> None:
        self.first = write_set(folder / "set", 8)
        self.better = write_boxes(folder / "set" / "better", 8, seed=1)
        self.end, self.fault = threading.Event(), ""
        source = folder / "set" / "images"

        def learner(session: ReviewSession, watch: LearningWatch) -> Opening:
            watch.hear("regression: 25")
            assert self.end.wait(PATIENCE)
            if self.fault:
                raise InputError("train failed", None, self.fault)

            def opening() -> Any:
                shutil.copyfile(session.journal.path, self.better.with_name("review.jsonl"))
                return open_review(self.better, source, [])

            return opening

        self.application = ReviewApplication(*open_review(self.first, source, []), learner)


@pytest.fixture
def taught(tmp_path: Path) -> Iterator[Taught]:
    found = Taught(tmp_path)
    yield found
    found.end.set()


def test_better_boxes_come_while_one_goes_on(browser: Any, taught: Taught) -> None:
    with answering(taught.application) as address:
        window = Window(browser, address)
        learn = window.page.get_by_role("button", name="Learn from these")
        assert learn.is_disabled()  # nothing was said yet
        window.shows_thumbnails(8)
        window.press("x")
        window.saved()
        learn.click()
        window.until(f"{BUTTON}.startsWith('Learning…')")
        window.until("document.querySelector('#learning').textContent === 'regression: 25'")
        assert window.page.locator("#learn").is_disabled()
        window.press("Enter")  # one goes on: an image is open when the better boxes come
        window.shown()
        window.press("ArrowRight")
        window.shown()  # what nobody saw is not judged
        window.press("x")
        window.saved()
        window.shown()
        name = window.text("#name")
        taught.end.set()
        window.page.wait_for_selector("#banner:not([hidden])")
        assert window.text("#banner").startswith(
            "Note: these boxes were found anew after your corrections; the earlier ones stay in"
        )
        assert str(taught.first) in window.text("#banner")
        window.shown()
        assert window.text("#name") == name  # the same image, with its new boxes
        window.page.get_by_role("button", name="Dismiss").click()
        assert not window.page.locator("#banner").is_visible()
        window.press("a")
        window.saved()
        window.press("Escape")
        assert window.text("#progress") == "3 of 8 reviewed"
        assert learn.is_enabled()
        window.close()
        marks = {image.file: image.mark for image in taught.application.session.state.images}
        assert [mark.status for mark in marks.values()].count("none") == 2
        assert marks[name].status == "accepted"
        assert taught.application.session.boxes == taught.better


def test_a_failure_is_shown_until_it_is_dismissed(browser: Any, taught: Taught) -> None:
    taught.fault = "no space left"
    taught.end.set()
    with answering(taught.application) as address:
        window = Window(browser, address)
        window.shows_thumbnails(8)
        window.press("x")
        window.saved()
        for _ in range(2):  # and again where it fails again
            window.page.get_by_role("button", name="Learn from these").click()
            window.page.wait_for_selector("#banner:not([hidden])")
            assert window.text("#banner").startswith("Nothing was learnt: train failed (no space left).")
            window.until(f"{BUTTON} === 'Learn from these'")
            assert window.text("#progress") == "1 of 8 reviewed"
            window.page.get_by_role("button", name="Dismiss").click()
            window.page.wait_for_selector("#banner", state="hidden")
        window.close()
