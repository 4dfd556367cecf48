from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np

from stn_cli.coloc.model.localiser import Localiser
from stn_cli.records import Localisation
from stn_cli.report.figures import Series, contrast, draw, line_chart, mean_picture
from stn_cli.report.page import _charts, write_report
from tests.conftest import Trained


def test_the_page_is_self_contained_and_shows_everything(trained: Trained) -> None:
    page = (trained.run / "report.html").read_text()
    for heading in (
        "Mean of all crops",
        "Crops, best scores first",
        "Boxes, most doubtful first",
        "How it learnt",
        "skipped",
    ):
        assert heading in page
    assert page.count("<img") == 2 + 20 + 20
    assert page.count("<svg") == 3
    assert f"<code>stn-coloc review {trained.run}</code>" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    kinds = Localiser.load(trained.run).facts["kinds"]
    word = {"rigid": "rigid", "words": "deformable", "dense": "deformable"}[kinds[0]["kind"]]
    assert ("the hypothesis that was not taken" in page) == (word == "deformable")
    assert "The box can still be too large or hold two of them" in page
    assert re.search(rf"the thing was taken for\s+{word}", page)
    scores = [float(s) for s in re.findall(r"&middot; (\d\.\d\d)<", page)]
    assert scores == sorted(scores)


def test_names_are_inert(trained: Trained, tmp_path: Path) -> None:
    """FAULTS 32."""
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    image = tmp_path / "<img src=x onerror=alert(1)>.png"
    image.write_bytes((trained.images / "000.png").read_bytes())
    (run / "images.txt").write_bytes(b"# relative to " + str(tmp_path).encode() + b"/\n" + str(image).encode() + b"\n")
    rows = [{"file": "</script><script>alert(2)</script>", "reason": "empty"}]
    (run / "skipped.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    page = write_report(run).read_text()
    assert "<img src=x" not in page
    assert "<script" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.png" in page


def test_vanished_images_are_listed(trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    with open(run / "images.txt", "ab") as file:
        file.write(str(trained.images / "gone.png").encode() + b"\n")
    page = write_report(run, tmp_path / "elsewhere.html").read_text()
    assert "gone.png" in page
    assert "vanished" in page


def test_a_chart_holds_its_points_and_leaves_out_what_is_not_finite() -> None:
    svg = line_chart([Series("loss", [(0, 1.0), (1, float("nan")), (2, 0.0)], "#000")], "step", "loss")
    (points,) = re.findall(r'points="([^"]+)"', svg)
    assert len(points.split()) == 2
    assert line_chart([Series("loss", [], "#000")], "step", "loss") == ""


def test_the_legend_has_the_colours_of_its_lines_and_stands_clear_of_them() -> None:
    points = [(0, 1.0), (1500, 1.0)]
    svg = line_chart([Series("loss", points, "#0969da"), Series("IoU", points, "#1a7f37")], "step", "loss")
    assert re.findall(r'style="fill:(#\w+)">(\w+)<', svg) == [("#0969da", "loss"), ("#1a7f37", "IoU")]
    lowest = max(float(y) for y in re.findall(r'y="([\d.]+)" text-anchor="end" style', svg))
    lines = [tuple(map(float, point.split(","))) for points in re.findall(r'points="([^"]+)"', svg) for point in points.split()]
    assert lowest < min(y for _, y in lines)
    letters = len("1.5e+03") * 6
    assert max(x for x, _ in lines) + letters / 2 <= float(re.search(r'viewBox="0 0 (\d+)', svg)[1])  # type: ignore[index]


def test_the_plot_of_the_rigid_search_says_whether_its_answer_was_taken() -> None:
    rows = [{"stage": "search", "side": side, "loss": 1.0} for side in (0.2, 0.4)]
    assert [title for title, _ in _charts(rows, True)] == ["Search: loss of rigid crops by size"]
    assert [title for title, _ in _charts(rows, False)] == [
        "Search: loss of rigid crops by size (the hypothesis that was not taken)"
    ]


def test_means() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 254, np.uint8)
    assert (mean_picture([black, white]) == 127).all()
    half = np.concatenate([black, white], 1)
    assert contrast(half) > 60
    assert contrast(white) == 0


def test_the_outline_is_drawn_at_any_scale() -> None:
    found = Localisation(
        "a", 200, 100, (40, 20, 120, 80), ((40, 20), (120, 20), (120, 80), (40, 80)), (0.4, 0, 0, 0, 0.6, 0), 0.9
    )
    small = draw(np.zeros((50, 100, 3), np.uint8), found, label=False)
    ys, xs = np.nonzero(small.max(2))
    assert abs(xs.min() - 20) <= 3
    assert abs(xs.max() - 60) <= 3
    assert abs(ys.max() - 40) <= 3
