"""`stn-coloc review` from its start to its end, and what it says of bad input."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stn_cli.jobs import review as job
from stn_cli.review import serving
from stn_cli.runs.folder import boxes_folder
from tests.conftest import Trained
from tests.review.running import running
from tests.review.sets import reviewed, write_boxes, write_set

Call = Callable[..., tuple[int, str, str]]


def ask(address: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def mark(address: str, place: int, status: str, base: int = 0) -> tuple[int, Any]:
    return ask(address, "act", {"page": "p", "images": [{"i": place, "base": base, "status": status}]})


def listeners(port: int) -> set[str]:
    """The addresses at which something listens on a port (Linux)."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_it_is_stopped_and_leaves_the_corrected_boxes(tmp_path: Path, number: int) -> None:
    boxes = write_set(tmp_path / "set")
    with running(boxes.parent, "--port", 0) as review:
        port = int(review.address.split(":")[2].split("/")[0])
        if Path("/proc/net/tcp").exists():
            assert listeners(port) == {"0100007F"}  # 127.0.0.1 alone
        assert mark(review.address, 0, "accepted")[0] == 200
        code, out, err = review.end(number)
    assert (code, out) == (0, f"{boxes.parent / 'reviewed.json'}\n")
    assert "1 of 8 images reviewed" in err
    assert reviewed(boxes)["000.png"][0]["status"] == "accepted"


def test_what_was_said_before_a_kill_is_there_after_the_next_start(tmp_path: Path) -> None:
    boxes = write_set(tmp_path / "set")
    addresses = set()
    for place in range(4):
        with running(boxes, "--port", 0) as review:
            addresses.add(review.address.split("/")[-2])
            state = ask(review.address, "state")[1]
            assert [image["st"] for image in state["images"]] == [3] * place + [0] * (8 - place)
            assert mark(review.address, place, "none")[0] == 200
            review.process.kill()
    assert len(addresses) == 4  # another token each time
    with running(boxes, "--port", 0) as review:
        review.end()
    assert sum(image["reviewed"] for image, _ in reviewed(boxes).values()) == 4


def test_the_corrected_boxes_follow_while_it_runs(tmp_path: Path) -> None:
    boxes = write_set(tmp_path / "set")
    with running(boxes, "--port", 0) as review:
        mark(review.address, 0, "none")
        until = time.monotonic() + 20
        while time.monotonic() < until and reviewed(boxes)["000.png"][1]:
            time.sleep(0.1)
        assert reviewed(boxes)["000.png"][1] == []


def test_a_disk_that_fills_up_while_it_runs(tmp_path: Path) -> None:
    boxes = write_set(tmp_path / "set")
    with running(boxes, "--port", 0) as review:
        assert mark(review.address, 0, "none")[0] == 200
        size = boxes.with_name("review.jsonl").stat().st_size
        resource.prlimit(review.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        status, said = mark(review.address, 1, "none")
        assert (status, "cannot write" in said["error"]) == (507, True)
        resource.prlimit(review.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert mark(review.address, 1, "none")[0] == 200
        assert review.end()[0] == 0
    assert sum(image["reviewed"] for image, _ in reviewed(boxes).values()) == 2


def test_a_folder_that_is_gone_at_the_end(tmp_path: Path) -> None:
    boxes = write_set(tmp_path / "set")
    with running(boxes, "--port", 0) as review:
        assert mark(review.address, 0, "none")[0] == 200
        shutil.rmtree(boxes.parent)
        assert mark(review.address, 1, "none")[0] == 507
        code, out, err = review.end()
    assert (code, out) == (4, "")
    assert err.splitlines()[-1].startswith("error: the review's journal has gone: '")


def test_two_processes_review_the_same_boxes(tmp_path: Path) -> None:
    boxes = write_set(tmp_path / "set")
    with running(boxes, "--port", 0) as first, running(boxes, "--port", 0) as second:
        for place in range(6):
            assert mark((first, second)[place % 2].address, place, "none")[0] == 200
        assert mark(first.address, 1, "accepted")[0] == 409
        first.end()
        second.end()
    assert sum(image["reviewed"] for image, _ in reviewed(boxes).values()) == 6


def test_a_port_that_is_taken(tmp_path: Path, cli: Call) -> None:
    boxes = write_set(tmp_path / "set")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = cli("review", boxes, "--no-browser", "--port", port)
        assert (code, err.splitlines()[-1]) == (
            7,
            f"error: the port cannot be had: '{port}' (another program uses it). Choose another --port, or leave it out",
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(job, "PORT", port)
            with job.listening(None) as other:  # nobody asked for that one
                assert other.getsockname()[1] != port
                assert other.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["no-such"], 3, "nothing to review: 'no-such' (not there)"),
        (["empty"], 3, "nothing to review: 'empty' (neither a run nor boxes)"),
        (["broken.json"], 3, "the file of boxes is not JSON: 'broken.json'"),
        (["list.json"], 3, "not a COCO detection file: 'list.json'"),
        (["none.json"], 3, "nothing to review: 'none.json' (it lists no images)"),
        (["twice.json"], 3, "two images have one name: 'twice.json' (a.png)"),
        (["odd.json"], 3, "not a COCO detection file: 'odd.json'"),
        (["out.json"], 3, "a name leads out of the images' folder"),
        (["boxes.json"], 3, "the images are not found: '000.png'"),
        (
            ["boxes.json", "--source", "empty"],
            3,
            "the images are not found: '000.png' (not in empty). Name their folder with --source",
        ),
        (["boxes.json", "--source", "no-such"], 3, "--source is no folder: 'no-such'"),
        (["boxes.json", "--port", "70000"], 2, "--port must be from 0 to 65535: '70000'"),
        (["locked/boxes.json", "--source", "images"], 4, "cannot write: 'locked/review.jsonl'"),
        (["taken/boxes.json", "--source", "images"], 4, "a file is in the way: 'taken/reviewed.json'"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "whole", 2)
    (tmp_path / "whole/images").rename(tmp_path / "kept")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text('[{"image_id": 1}]')
    (tmp_path / "none.json").write_text('{"images": [], "annotations": []}')
    (tmp_path / "odd.json").write_text('{"images": [{"id": 1}], "annotations": []}')
    rows = [{"id": n, "file_name": "a.png", "width": 9, "height": 9} for n in (1, 2)]
    (tmp_path / "twice.json").write_text(json.dumps({"images": rows, "annotations": []}))
    row = {"id": 1, "file_name": "../x.png", "width": 9, "height": 9}
    (tmp_path / "out.json").write_text(json.dumps({"images": [row], "annotations": []}))
    write_boxes(tmp_path, 2)
    for name in ("locked", "taken"):
        write_boxes(tmp_path / name, 2)
        if words[0].startswith(name):
            (tmp_path / "kept").rename(tmp_path / "images")
            break
    (tmp_path / "locked").mkdir(exist_ok=True)
    (tmp_path / "locked/review.jsonl").mkdir()  # root may write anywhere else
    (tmp_path / "taken").mkdir(exist_ok=True)
    (tmp_path / "taken/reviewed.json").write_text("mine")
    got, out, err = cli("review", "--no-browser", *words)
    assert (got, out) == (code, "")
    assert len(err.splitlines()) == 1
    assert err.startswith(f"error: {said}")
    assert (tmp_path / "taken/reviewed.json").read_text() == "mine"


def test_a_browser_is_opened_by_a_link_that_works_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = write_set(tmp_path / "set", 2)
    said, opened = list[str](), list[str]()
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address))

    def serve(application: object, listening: socket.socket, ready: Callable[[str, str], None]) -> None:
        ready("http://127.0.0.1:1/token/", "http://127.0.0.1:1/once")

    monkeypatch.setattr(serving, "serve", serve)
    for wanted in (True, False):
        job.review_boxes(boxes, port=0, browser=wanted, say=said.append)
    while len(opened) < 1:
        time.sleep(0.01)
    assert said == ["http://127.0.0.1:1/token/"] * 2
    assert opened == ["http://127.0.0.1:1/once"]


def test_a_missing_package_is_named_before_anything_is_written(
    tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = write_set(tmp_path / "set", 2)
    monkeypatch.delitem(sys.modules, "stn_cli.review.serving")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, err = cli("review", boxes, "--no-browser")
    assert (code, err) == (7, "error: review needs a package that is missing: 'uvicorn'. pip install 'stn-coloc[review]'\n")
    assert not boxes.with_name("review.jsonl").exists()


def test_a_run_is_reviewed_through_its_boxes(trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "cups-run"
    shutil.copytree(trained.run, run)
    assert job.boxes_of(run) is None
    assert boxes_folder(run) == tmp_path / "cups-boxes"
    with running(run, "--port", 0) as review:  # the boxes are found first, beside the run
        assert len(ask(review.address, "state")[1]["images"]) == 20
        assert review.end()[0] == 0
    assert job.boxes_of(run) == tmp_path / "cups-boxes" / "boxes.json"
    assert sum(image["reviewed"] for image, _ in reviewed(tmp_path / "cups-boxes" / "boxes.json").values()) == 0


def test_boxes_can_be_found_anew_beside_a_review(trained: Trained, tmp_path: Path, cli: Call) -> None:
    out = tmp_path / "boxes"
    assert cli("localise", "--model", trained.run, "--out", out)[0] == 0
    with running(out, "--port", 0) as review:
        mark(review.address, 2, "none")
        review.end()
    code, _, err = cli("localise", "--model", trained.run, "--out", out, "--overwrite")
    assert code == 0, err
    with running(out, "--port", 0) as review:
        assert [image["st"] for image in ask(review.address, "state")[1]["images"]].count(3) == 1
        review.end()


def test_images_without_a_size_get_that_of_their_files(tmp_path: Path) -> None:
    boxes = write_set(tmp_path / "set", 3)
    data = json.loads(boxes.read_text())
    for row in data["images"]:
        del row["width"], row["height"]
    boxes.write_text(json.dumps(data))
    session, _ = job.open_review(boxes, None, [])
    assert [(image.width, image.height) for image in session.state.images] == [(60, 48)] * 3
    session.journal.close()
