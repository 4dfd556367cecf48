"""Learning from annotations while a review goes on: the page's button, the folders, and the end of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from stn_cli.errors import InputError
from stn_cli.jobs import relearn as job
from stn_cli.jobs.relearn import next_run, relearn, run_of
from stn_cli.jobs.review import open_review
from stn_cli.review.learning import LearningWatch
from stn_cli.review.server import ReviewApplication
from stn_cli.review.session import ReviewSession
from stn_cli.runs.annotations import read_run_annotations
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
    watch = LearningWatch()
    session.act("p", [{"i": 2, "base": 0, "status": "corrected", "objects": [{"box": [1.5, 2, 30, 20], "kind": 1}]}])
    session.act("p", [{"i": 4, "base": 0, "status": "none"}])
    better, _ = relearn(session, watch, lambda path: open_review(path, None, []))()
    try:
        assert better.boxes == tmp_path / "x-2-boxes" / "boxes.json"
        assert {image.file: len(image.boxes) for image in read_run_annotations(tmp_path / "x-2-run")} == {
            "002.png": 1,
            "004.png": 0,
        }
        assert (boxes / "boxes.json").read_bytes() == before
        marks = [image.mark for image in better.state.images]
        assert [mark.status for mark in marks].count("unreviewed") == len(marks) - 2
        assert marks[2].objects[0].box == (1.5, 2, 30, 20)
        assert better.journal.last == session.journal.last  # pages go on with the same numbers
        assert watch.note  # the last line of the last command
        assert run_of(better.boxes, better.data["info"]) == tmp_path / "x-2-run"
    finally:
        session.journal.close()
        better.journal.close()
        assert pictures is not None


def test_the_page_goes_on_with_what_was_learnt(tmp_path: Path) -> None:
    first, second = write_set(tmp_path / "a"), write_set(tmp_path / "b")
    application = ReviewApplication(
        *open_review(first, None, []), lambda session, watch: (watch.hear("half way"), lambda: open_review(second, None, []))[1]
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_program_is_said_too(tmp_path: Path) -> None:
    def fails(*_: object) -> Any:
        raise RuntimeError("a bug")

    application = ReviewApplication(*open_review(write_set(tmp_path / "a"), None, []), fails)
    page = client(application)
    ask(page, "act", images=[{"i": 0, "base": 0, "status": "none"}])
    assert ask(page, "learn").status_code == 200
    assert ended(page)["learning"]["fault"] == "a fault of this program (RuntimeError: a bug)"
    assert not application.close()


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("print('decode: 3', file=sys.stderr); print('error: no space left', file=sys.stderr); sys.exit(4)", "no space left"),
        ("print('decode: 3', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)", "stopped by signal 9"),
        ("print('decode: 3', file=sys.stderr); sys.exit(1)", "exit code 1"),
    ],
)
def test_why_a_training_failed_is_its_error_and_not_what_it_did_last(
    trained: Trained, tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch, does: str, why: str
) -> None:
    shutil.copytree(trained.run, tmp_path / "x-run")
    assert cli("localise", trained.images, "-m", tmp_path / "x-run", "-o", tmp_path / "x-boxes", "-q")[0] == 0
    session, _ = open_review(tmp_path / "x-boxes" / "boxes.json", None, [])
    monkeypatch.setattr(job, "PROGRAM", (sys.executable, "-c", f"import os, sys; {does}"))
    with pytest.raises(InputError) as failed:
        relearn(session, LearningWatch(), lambda path: open_review(path, None, []))
    assert failed.value.line() == f"train failed ({why})"
    session.journal.close()


def test_what_is_said_while_better_boxes_are_opened_is_said_of_them(tmp_path: Path) -> None:
    first, second = write_set(tmp_path / "a"), write_set(tmp_path / "b")
    asked, opens, go = threading.Event(), threading.Event(), threading.Event()

    def learner(session: ReviewSession, _: LearningWatch) -> Any:
        asked.wait(20)
        return partial(opening, session)

    def opening(session: ReviewSession) -> Any:
        shutil.copyfile(session.journal.path, second.with_name("review.jsonl"))
        opens.set()
        go.wait(20)
        return open_review(second, None, [])

    application = ReviewApplication(*open_review(first, None, []), learner)
    page = client(application)
    ask(page, "act", images=[{"i": 0, "base": 0, "status": "none"}])
    ask(page, "learn")
    asked.set()
    assert opens.wait(20)
    answers: list[int] = []
    said = [{"i": 1, "base": 0, "status": "none", "f": "001.png"}], [{"i": 2, "base": 0, "status": "accepted", "f": "002.png"}]
    threads = [
        threading.Thread(target=lambda rows=rows: answers.append(ask(page, "act", images=rows, boxes=str(first)).status_code))
        for rows in said
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.2)  # both wait for the journal
    go.set()
    for thread in threads:
        thread.join()
    ended(page)
    assert sorted(answers) == [200, 409]  # "no object" is so whatever the boxes; what nobody saw is not accepted
    marks = [image.mark.status for image in application.session.state.images]
    assert marks[:3] == ["none", "none", "unreviewed"]
    assert ask(page, "act", images=[{"i": 2, "base": 0, "status": "accepted"}], boxes=str(second)).status_code == 200
    application.close()
    assert len(second.with_name("review.jsonl").read_bytes().splitlines()) == 3
    assert len(first.with_name("review.jsonl").read_bytes().splitlines()) == 1


def test_what_is_learnt_ends_with_the_review(tmp_path: Path) -> None:
    begun: list[subprocess.Popen[str]] = []

    def learner(_: ReviewSession, watch: LearningWatch) -> Any:
        with (
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], text=True) as process,
            watch.during(process),
        ):
            begun.append(process)
            process.wait()
        raise InputError("train failed")

    application = ReviewApplication(*open_review(write_set(tmp_path / "a"), None, []), learner)
    page = client(application)
    ask(page, "act", images=[{"i": 0, "base": 0, "status": "none"}])
    ask(page, "learn")
    while not begun:
        time.sleep(0.01)
    assert application.close()
    assert begun[0].returncode == -15


def test_boxes_of_no_run_cannot_be_learnt_from(tmp_path: Path) -> None:
    boxes = write_set(tmp_path / "a")
    session, pictures = open_review(boxes, None, [])
    assert run_of(boxes, session.data["info"]) is None
    page = client(ReviewApplication(session, pictures))
    ask(page, "act", images=[{"i": 0, "base": 0, "status": "none"}])
    assert not page.get(f"{ROOT}/state").json()["learning"]["can"]
    assert ask(page, "learn").status_code == 409
    with pytest.raises(InputError, match="the run of these boxes is not there"):
        relearn(session, LearningWatch(), lambda path: open_review(path, None, []))
    session.journal.close()


def test_the_run_beside_the_boxes_is_known_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x-run").mkdir()
    (tmp_path / "x-run" / "state.pt").touch()
    (tmp_path / "else").mkdir()
    boxes = tmp_path / "x-boxes" / "boxes.json"
    for folder in (tmp_path, tmp_path / "else"):
        monkeypatch.chdir(folder)
        found = run_of(boxes, {"run": "x-run"})
        assert found is not None
        assert found.resolve() == tmp_path / "x-run"
    assert run_of(boxes, {"run": "y-run"}) is None


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
