"""Learning from what was said while a review goes on: the page's button, the folders, and the end of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from stn_cli.errors import InputError
from stn_cli.jobs.relearn import next_run, relearn, run_of
from stn_cli.jobs.review import open_review
from stn_cli.review.server import ReviewApplication
from stn_cli.runs.said import read_said_of_run
from tests.conftest import Trained
from tests.review.sets import write_set
from tests.review.test_server import PORT, ROOT, SITE, TOKEN

Call = Callable[..., tuple[int, str, str]]


def client(application: ReviewApplication) -> TestClient:
    return TestClient(application.guarded(TOKEN, PORT), base_url=SITE)


def ask(page: TestClient, path: str, **body: Any) -> Any:
    return page.post(f"{ROOT}/{path}", json={"page": "p", **body})


def ended(page: TestClient) -> dict[str, Any]:
    """What /changes says when nothing is being learnt any more."""
    for _ in range(600):
        said: dict[str, Any] = page.get(f"{ROOT}/changes?since=0").json()
        if not said["learning"]["works"]:
            return said
        time.sleep(0.1)
    raise AssertionError("it never ends")


def test_what_was_said_goes_along_to_better_boxes(trained: Trained, tmp_path: Path, cli: Call) -> None:
    run, boxes = tmp_path / "x-run", tmp_path / "x-boxes"
    shutil.copytree(trained.run, run)
    assert cli("localise", trained.images, "-m", run, "-o", boxes, "-q")[0] == 0
    session, pictures = open_review(boxes / "boxes.json", None, [])
    before = (boxes / "boxes.json").read_bytes()
    notes: list[str] = []
    session.act("p", [{"i": 2, "base": 0, "status": "corrected", "objects": [{"box": [1.5, 2, 30, 20], "kind": 1}]}])
    session.act("p", [{"i": 4, "base": 0, "status": "none"}])
    better, _ = relearn(session, notes.append, lambda path: open_review(path, None, []))
    try:
        assert better.boxes == tmp_path / "x-2-boxes" / "boxes.json"
        assert {image.file: len(image.boxes) for image in read_said_of_run(tmp_path / "x-2-run")} == {
            "002.png": 1,
            "004.png": 0,
        }
        assert (boxes / "boxes.json").read_bytes() == before
        marks = [image.mark for image in better.state.images]
        assert [mark.status for mark in marks].count("unreviewed") == len(marks) - 2
        assert marks[2].objects[0].box == (1.5, 2, 30, 20)
        assert better.journal.last == session.journal.last  # pages go on with the same numbers
        assert any(note.startswith("train: ") for note in notes)
        assert run_of(better.boxes, better.data["info"]) == tmp_path / "x-2-run"
    finally:
        session.journal.close()
        better.journal.close()
        assert pictures is not None


def test_the_page_goes_on_with_what_was_learnt(tmp_path: Path) -> None:
    first, second = write_set(tmp_path / "a"), write_set(tmp_path / "b")
    application = ReviewApplication(
        *open_review(first, None, []), lambda session, hear: (hear("half way"), open_review(second, None, []))[1]
    )
    page = client(application)
    assert page.get(f"{ROOT}/state").json()["learning"]["can"]
    assert ask(page, "learn").status_code == 409  # nothing was said yet
    assert ask(page, "act", images=[{"i": 0, "base": 0, "status": "none", "f": "000.png"}]).status_code == 200
    assert ask(page, "learn").status_code == 200
    said = ended(page)
    assert (said["boxes"], said["learning"]["fault"]) == (str(second), "")
    assert page.get(f"{ROOT}/state").json()["boxes"] == str(second)
    wrong = ask(page, "act", images=[{"i": 0, "base": 0, "status": "none", "f": "other.png"}])
    assert wrong.status_code == 409  # a page that has not loaded the new boxes yet
    application.session.journal.close()


def test_a_fault_is_said_and_the_review_stays(tmp_path: Path) -> None:
    def fails(*_: object) -> Any:
        raise InputError("train failed", None, "error: no such thing")

    boxes = write_set(tmp_path / "a")
    application = ReviewApplication(*open_review(boxes, None, []), fails)
    page = client(application)
    ask(page, "act", images=[{"i": 0, "base": 0, "status": "none"}])
    assert ask(page, "learn").status_code == 200
    said = ended(page)
    assert said["boxes"] == str(boxes)
    assert "no such thing" in said["learning"]["fault"]
    application.session.journal.close()


def test_boxes_of_no_run_cannot_be_learnt_from(tmp_path: Path) -> None:
    boxes = write_set(tmp_path / "a")
    session, pictures = open_review(boxes, None, [])
    assert run_of(boxes, session.data["info"]) is None
    page = client(ReviewApplication(session, pictures))
    ask(page, "act", images=[{"i": 0, "base": 0, "status": "none"}])
    assert not page.get(f"{ROOT}/state").json()["learning"]["can"]
    assert ask(page, "learn").status_code == 409
    with pytest.raises(InputError, match="the run of these boxes is not there"):
        relearn(session, print, lambda path: open_review(path, None, []))
    session.journal.close()


@pytest.mark.parametrize(
    ("run", "there", "new"),
    [
        ("x-run", [], "x-2-run"),
        ("x-2-run", [], "x-3-run"),
        ("x-run", ["x-2-run"], "x-3-run"),
        ("x-run", ["x-2-boxes"], "x-3-run"),
        ("cups", [], "cups-2"),
    ],
)
def test_new_runs_are_numbered(tmp_path: Path, run: str, there: list[str], new: str) -> None:
    for name in there:
        (tmp_path / name).mkdir()
    assert next_run(tmp_path / run) == tmp_path / new
