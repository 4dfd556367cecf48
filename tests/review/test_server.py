"""The page's server: who may talk to it, what it answers, and what it says when something goes wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from stn_cli.jobs.review import open_review
from stn_cli.records import sureness
from stn_cli.review.server import ReviewApplication
from tests.conftest import make_image, write_image
from tests.review.sets import HEIGHT, WIDTH, reviewed, write_boxes, write_set
from tests.review.test_journal import full_above

TOKEN, PORT = "a-token-of-the-test", 8765
SITE = f"http://127.0.0.1:{PORT}"
ROOT = f"/{TOKEN}"


@dataclass
class Served:
    boxes: Path
    application: ReviewApplication
    client: TestClient

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(f"{ROOT}/{path}", json={"page": "p", **body})

    def mark(self, place: int, status: str, base: int = 0, **more: Any) -> Any:
        return self.post("act", images=[{"i": place, "base": base, "status": status, **more}])


def serve(boxes: Path) -> Served:
    application = ReviewApplication(*open_review(boxes, None, []))
    return Served(boxes, application, TestClient(application.guarded(TOKEN, PORT), base_url=SITE))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = serve(write_set(tmp_path / "set"))
    yield found
    found.application.session.journal.close()


def test_the_page_comes_whole_from_here(served: Served) -> None:
    page = served.client.get(f"{ROOT}/")
    assert page.status_code == 200
    names = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
    for name in list(names):
        answer = served.client.get(f"{ROOT}/{name}")
        assert answer.status_code == 200, name
        if name.endswith(".js"):
            assert answer.headers["content-type"].startswith("text/javascript")
    folder = Path(__file__).parents[2] / "stn_cli/review/page"
    for path in folder.iterdir():
        text = path.read_text("utf-8")
        assert served.client.get(f"{ROOT}/page/{path.name}").text == text
        outside = set(re.findall(r"\bhttps?://[^\s\"'<>)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert outside == set(), path.name  # nothing is loaded from elsewhere
    assert served.client.get(f"{ROOT}/page/..%2fserver.py").status_code == 404
    assert served.client.get(f"{ROOT}/page/__init__.py").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": f"localhost:{PORT}"}, 200),
        ({"host": "127.0.0.1"}, 403),  # another port
        ({"host": f"evil.example:{PORT}"}, 403),  # a name that leads here: DNS rebinding
        ({"host": f"127.0.0.1.evil.example:{PORT}"}, 403),
        ({"origin": SITE}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),  # a sandboxed frame
        ({"origin": f"http://127.0.0.1:{PORT + 1}"}, 403),  # another program on this machine
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 200),  # an address that was typed
    ],
)
@pytest.mark.parametrize("path", ["/", "/state", "/thumbnail/0"])
def test_other_hosts_and_origins_are_refused(served: Served, path: str, headers: dict[str, str], status: int) -> None:
    assert served.client.get(ROOT + path, headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/", "", "/state", "/wrong/state", f"/{TOKEN[:-1]}/state", f"/{TOKEN}x/", f"//{TOKEN[1:]}/"])
def test_without_the_token_there_is_nothing(served: Served, path: str) -> None:
    assert served.client.get(f"{SITE}{path}").status_code == 404


@pytest.mark.parametrize(("path", "method", "status"), [("/", "GET", 200), ("/state", "GET", 403), ("/act", "POST", 403)])
def test_a_link_to_the_page_may_be_opened_from_anywhere(served: Served, path: str, method: str, status: int) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert served.client.request(method, ROOT + path, headers=headers).status_code == status


def test_what_opens_the_browser_leads_to_the_page_once(served: Served) -> None:
    client = TestClient(served.application.guarded(TOKEN, PORT, "a-link"), base_url=SITE, follow_redirects=False)
    assert client.get("/a-link", headers={"host": "evil.example"}).status_code == 403
    assert client.post("/a-link", json={}).status_code == 404
    first = client.get("/a-link")
    assert (first.status_code, first.headers["location"]) == (303, f"{ROOT}/")
    assert client.get("/a-link").status_code == 404
    assert served.client.get("/").status_code == 404  # where there is no such link, the empty path is none


def test_forms_of_other_sites_can_do_nothing(served: Served) -> None:
    body = '{"page": "p", "images": [{"i": 0, "base": 0, "status": "none"}]}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert served.client.post(f"{ROOT}/act", content=body, headers={"content-type": kind}).status_code == 415
    assert served.client.get(f"{ROOT}/act").status_code == 405
    assert served.application.session.reviewed == 0


def test_every_answer_forbids_what_the_page_does_not_need(served: Served) -> None:
    for path in (f"{ROOT}/", f"{ROOT}/thumbnail/0", f"{ROOT}/thumbnail/99", "/nothing"):
        headers = served.client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_what_the_page_is_told(served: Served) -> None:
    state = served.client.get(f"{ROOT}/state").json()
    assert state["kinds"] == [{"id": 1, "name": "object"}]
    assert [image["f"] for image in state["images"]] == [f"{n:03d}.png" for n in range(8)]
    image = served.application.session.state.images[3]
    assert state["images"][3]["o"] == [[*o.box, 1, o.score, 0] for o in image.model]
    assert state["images"][3]["s"] == pytest.approx(sureness(o.score or 0 for o in image.model), abs=1e-4)
    assert state["images"][4]["s"] == 0  # nothing was found: as doubtful as can be


def test_actions_are_on_disk_and_told_to_other_windows(served: Served) -> None:
    answer = served.mark(1, "corrected", objects=[{"box": [1.25, 2.5, 30, 40], "kind": 1}])
    assert answer.status_code == 200
    assert answer.json()["images"][0]["o"] == [[1.25, 2.5, 30, 40, 1, None, 1]]
    assert served.application.session.journal.path.read_bytes().count(b"\n") == 1
    assert [image["i"] for image in served.client.get(f"{ROOT}/changes?since=0").json()["images"]] == [1]
    assert served.client.get(f"{ROOT}/changes?since=1").json()["images"] == []
    conflict = served.mark(1, "none", base=0)
    assert (conflict.status_code, conflict.json()["images"][0]["o"][0][:4]) == (409, [1.25, 2.5, 30, 40])
    assert served.mark(1, "none", base=1).status_code == 200
    assert served.post("undo").json()["images"][0]["st"] == 2
    assert served.client.get(f"{ROOT}/changes?since=x").status_code == 422


def test_another_process_is_heard_of(served: Served) -> None:
    other = serve(served.boxes)
    assert other.mark(2, "none").status_code == 200
    assert [image["i"] for image in served.client.get(f"{ROOT}/changes?since=0").json()["images"]] == [2]
    assert served.mark(2, "accepted", base=0).status_code == 409
    other.application.session.journal.close()


def test_nonsense_is_answered_and_not_done(served: Served) -> None:
    for body in (
        b"",
        b"{",
        b"[]",
        b'{"page": 1}',
        b'{"page": "p", "images": 7}',
        b'{"page": "p", "images": [{}]}',
        b"[" * 100_000,
    ):
        answer = served.client.post(f"{ROOT}/act", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422, body[:40]
        assert answer.json()["error"]
    large = b'{"page": "' + b"x" * (5 << 20) + b'"}'
    assert served.client.post(f"{ROOT}/act", content=large, headers={"content-type": "application/json"}).status_code == 413
    assert served.application.session.journal.path.read_bytes() == b""


def test_a_full_disk_is_said_and_the_action_not_shown_as_done(served: Served) -> None:
    assert served.mark(0, "accepted").status_code == 200
    with full_above(served.application.session.journal.path.stat().st_size):
        answer = served.mark(1, "none")
    assert answer.status_code == 507
    assert "cannot write" in answer.json()["error"]
    assert served.application.session.state.images[1].mark.status == "unreviewed"
    assert served.mark(1, "none").status_code == 200  # the page tries again


def test_a_folder_that_is_gone_is_said(served: Served) -> None:
    served.boxes.parent.rename(served.boxes.parent.with_name("away"))
    for answer in (served.mark(1, "none"), served.client.get(f"{ROOT}/changes?since=0")):
        assert answer.status_code == 507
        assert "the review's journal has gone" in answer.json()["error"]
    assert served.application.session.state.images[1].mark.status == "unreviewed"


def test_a_result_that_cannot_be_written_is_said_while_actions_go_on(served: Served) -> None:
    served.boxes.with_name("reviewed.json").mkdir()
    assert served.mark(1, "none").status_code == 200
    served.application.save_now()
    assert "reviewed.json" in served.client.get(f"{ROOT}/changes?since=0").json()["unsaved"]
    served.boxes.with_name("reviewed.json").rmdir()
    served.application.save_now()
    assert served.client.get(f"{ROOT}/changes?since=0").json()["unsaved"] == ""
    assert reviewed(served.boxes)["001.png"][0]["status"] == "none"


def test_an_image_that_was_deleted_or_broken_is_said(served: Served) -> None:
    folder = served.boxes.parent / "images"
    assert served.client.get(f"{ROOT}/thumbnail/1").status_code == 200
    (folder / "001.png").unlink()
    (folder / "002.png").write_bytes(b"no image at all, but a text")
    (folder / "003.png").write_bytes(b"")
    for place, why in ((1, "vanished"), (2, "not an image"), (3, "empty")):
        for kind in ("thumbnail", "image"):
            answer = served.client.get(f"{ROOT}/{kind}/{place}")
            assert (answer.status_code, answer.json()["error"]) == (410, why)
    assert served.client.get(f"{ROOT}/image/8").json()["error"] == "no such image"
    write_image(folder / "001.png", make_image(1)[0])
    assert served.client.get(f"{ROOT}/thumbnail/1").status_code == 200  # it came back


def test_pictures_are_small_upright_and_of_the_boxes_size(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    upright = cv2.resize(make_image(0)[0], (WIDTH, HEIGHT))
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "images").mkdir(parents=True)
    lying.save(folder / "images" / "000.png", "JPEG", exif=exif, quality=95)  # JPEG by its bytes
    big = np.zeros((1500, 2000, 3), np.uint8)
    Image.fromarray(big).save(folder / "images" / "001.png")
    Image.fromarray(upright).convert("CMYK").save(folder / "images" / "002.png", "TIFF")
    served = serve(write_boxes(folder, 3))
    for path in ("thumbnail/0", "image/0", "image/2"):
        answer = served.client.get(f"{ROOT}/{path}")
        assert answer.headers["content-type"] == "image/jpeg"
        found = np.asarray(Image.open(BytesIO(answer.content)))
        assert found.shape == upright.shape
        assert np.abs(found.astype(int) - upright).mean() < 25
    small = Image.open(BytesIO(served.client.get(f"{ROOT}/thumbnail/1").content))
    assert small.size == (320, 240)
    wrong = served.client.get(f"{ROOT}/image/1")
    assert wrong.json()["error"] == "the file has 2000 x 1500 pixels, its boxes are for 60 x 48: it was changed since"


def test_an_image_that_was_turned_is_told_apart_from_one_that_was_changed(tmp_path: Path) -> None:
    served = serve(write_set(tmp_path / "set", 3))
    write_image(tmp_path / "set/images/001.png", np.rot90(make_image(1)[0]).copy())
    assert "before the picture was turned upright (EXIF)" in served.client.get(f"{ROOT}/image/1").json()["error"]


def test_a_plain_image_is_sent_as_it_is(served: Served) -> None:
    answer = served.client.get(f"{ROOT}/image/0")
    assert answer.content == (served.boxes.parent / "images/000.png").read_bytes()
    assert answer.headers["content-type"] == "image/png"


def test_a_thumbnail_is_decoded_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from stn_cli.review import pictures

    decoded, calls = pictures.decoded, []
    monkeypatch.setattr(pictures, "decoded", lambda *a, **k: calls.append(a) or decoded(*a, **k))  # type: ignore[func-returns-value]
    first, second = (served.client.get(f"{ROOT}/thumbnail/5").content for _ in range(2))
    assert first == second
    assert len(calls) == 1
    time.sleep(0.01)
    write_image(served.boxes.parent / "images/005.png", make_image(77)[0])
    assert served.client.get(f"{ROOT}/thumbnail/5").content != first  # it was replaced meanwhile


def test_names_from_strangers_stay_text(tmp_path: Path) -> None:
    """FAULTS 32: names reach the page as JSON alone, and the page sets them as text."""
    page = Path(__file__).parents[2] / "stn_cli/review/page"
    for path in page.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", path.read_text("utf-8")), (
            path.name
        )


def _luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(scheme: str) -> None:
    """WCAG AA: 4.5 to 1 for text, 3 to 1 for the ring of the focus."""
    text = (Path(__file__).parents[2] / "stn_cli/review/page/style.css").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", text, re.S)
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))

    def contrast(a: str, b: str) -> float:
        high, low = sorted((_luminance(colour[a]), _luminance(colour[b])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for front in ("text", "faint", "good", "changed", "nothing"):
        for back in ("page", "panel", "control"):
            assert contrast(front, back) >= 4.5, (front, back)
    for front, back in (("on-main", "main"), ("page", "text"), ("warn-text", "warn-page"), ("faint", "cell")):
        assert contrast(front, back) >= 4.5, (front, back)
    for back in ("page", "panel", "cell"):
        assert contrast("focus", back) >= 3, back
    assert contrast("bar", "panel") >= 3
