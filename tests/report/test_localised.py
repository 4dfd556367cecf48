"""`localise --report`: a page about boxes, of any number of images."""

from __future__ import annotations

import html
import json
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from stn_cli.errors import Interrupted
from stn_cli.jobs.localise import localise_source
from stn_cli.jobs.localise_options import LocaliseOptions
from stn_cli.report import sheet
from stn_cli.runtime.progress import Silent
from tests.conftest import Trained

Call = Callable[..., tuple[int, str, str]]


def ranked(page: str) -> list[tuple[str, str]]:
    """(name, score) of the images of a page's sheet, in order."""
    return [(n, s) for s, n in re.findall(r'<b>([\d.]+|none)</b> <span title="([^"]+)"', page[page.index('id="sheet"') :])]


def best_scores(boxes: Path) -> list[tuple[float, str]]:
    """(best score, name) of the images of a COCO file, lowest first, and 0 where there is no box."""
    found = json.loads(boxes.read_text())
    best = {image["id"]: 0.0 for image in found["images"]}
    for row in found["annotations"]:
        best[row["image_id"]] = max(best[row["image_id"]], row["score"])
    return sorted((best[image["id"]], image["file_name"]) for image in found["images"])


def test_the_page_shows_what_boxes_json_has(trained: Trained, tmp_path: Path, cli: Call) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"")
    out = tmp_path / "my boxes"
    code, printed, err = cli("localise", trained.images, tmp_path / "broken.jpg", "-m", trained.run, "-o", out, "--report")
    assert code == 0, err
    assert printed.splitlines()[-1] == str(out / "boxes.json")
    assert f"Look at {out / 'report.html'}" in err
    page = (out / "report.html").read_text()
    best = best_scores(out / "boxes.json")
    assert len(best) == 20
    assert ranked(page) == [(name, f"{score:.2f}" if score else "none") for score, name in best]
    likely = sum(score >= 0.5 for score, _ in best)
    assert re.search(rf'class="verdict">({"All" if likely == 20 else f"{likely} of"}) 20 images score', page)
    assert "broken.jpg</td><td>empty" in page
    typed = [shlex.split(html.unescape(text)) for text in re.findall(r"<dd><code>(.*?)</code>", page)]
    assert typed == [
        ["stn-coloc", "review", str(out)],
        ["stn-coloc", "export", str(out / "boxes.json"), "--format", "yolo", "--min-score", "0.5", "--out", "dataset"],
        ["stn-coloc", "evaluate", str(out / "boxes.json"), "truth.json"],
    ]


def test_images_without_a_box_are_the_most_doubtful(trained: Trained, tmp_path: Path, cli: Call) -> None:
    out = tmp_path / "o"
    assert cli("localise", trained.images, "-m", trained.run, "-o", out, "-q", "--report", "--min-score", 0.999)[0] == 0
    best = best_scores(out / "boxes.json")
    nothing = sum(score == 0 for score, _ in best)
    assert nothing > 0
    page = (out / "report.html").read_text()
    assert [score for _, score in ranked(page)] == ["none"] * nothing + [f"{score:.2f}" for score, _ in best[nothing:]]
    assert "nothing was found." in page


def test_only_what_is_shown_is_decoded_again(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "MOST_PICTURES", 8)
    monkeypatch.setattr(sheet, "MOST_DOUBTFUL", 5)
    monkeypatch.setattr(sheet, "SIDES", ((8, 64),))
    again: list[str] = []
    real = sheet.decoded

    def counting(path: str, **how: int) -> object:
        again.append(path)
        return real(path, **how)

    monkeypatch.setattr(sheet, "decoded", counting)
    localise_source(trained.images, trained.run, tmp_path / "o", LocaliseOptions(report=True))
    page = (tmp_path / "o/report.html").read_text()
    names = [name for _, name in best_scores(tmp_path / "o/boxes.json")]
    shown = [name for name, _ in ranked(page)]
    assert shown == [*names[:5], names[5], names[12], names[19]]
    assert sorted(again) == sorted(str(trained.images / name) for name in shown)
    assert "Shown: 8 of 20, the 5 most doubtful" in page


def test_it_is_written_when_asked_for_and_goes_with_earlier_results(trained: Trained, tmp_path: Path, cli: Call) -> None:
    localise = ("localise", trained.images, "-m", trained.run, "-o", tmp_path / "o", "-q")
    assert cli(*localise)[0] == 0
    assert not (tmp_path / "o/report.html").exists()
    assert cli(*localise, "--report", "--overwrite")[0] == 0
    assert (tmp_path / "o/report.html").is_file()
    assert cli(*localise, "--overwrite")[0] == 0
    assert not (tmp_path / "o/report.html").exists()
    (tmp_path / "o/report.html").write_text("mine")
    code, _, err = cli(*localise, "--report", "--overwrite")
    assert code == 4
    assert "report.html' (this tool did not write it" in err
    assert (tmp_path / "o/report.html").read_text() == "mine"


class _InterruptAtThePage(Silent):
    """Presses Ctrl-C when a call begins its page."""

    def stage(self, name: str, total: int | None) -> None:
        if name == "page":
            signal.raise_signal(signal.SIGINT)


def test_a_call_that_is_stopped_at_its_page_goes_on_there(trained: Trained, tmp_path: Path) -> None:
    options, out, whole = LocaliseOptions(report=True, batch=4), tmp_path / "o", tmp_path / "p"
    with pytest.raises(Interrupted):
        localise_source(trained.images, trained.run, out, options, reporter=_InterruptAtThePage())
    assert not (out / "report.html").exists()
    summary = localise_source(trained.images, trained.run, out, options, resume=True)
    assert summary.resumed == 20
    localise_source(trained.images, trained.run, whole, options)
    pages = [(folder / "report.html").read_text().replace(str(folder), "OUT") for folder in (out, whole)]
    assert pages[0] == pages[1]
