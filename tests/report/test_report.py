from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stn_cli.coloc.model.localiser import Localiser
from stn_cli.records import ImageRecord, Localisation, Skipped, corners
from stn_cli.report import page as module
from stn_cli.report import sheet
from stn_cli.report.figures import MeanPicture, Series, bar_chart, contrast, draw, line_chart
from stn_cli.report.learning import charts
from stn_cli.report.page import write_report
from stn_cli.report.sheet import places_shown, shapes_of
from stn_cli.report.verdict import BINS, Tally
from stn_cli.runs.folder import boxes_folder, read_images
from tests.conftest import ROOT, Trained


def test_the_page_is_self_contained_and_shows_everything(trained: Trained) -> None:
    page = (trained.run / "report.html").read_text()
    for heading in ("Scores", "What to type next", "All images, most doubtful first", "Crops, best scores first", "skipped"):
        assert heading in page
    assert page.count("<figure data-rank") == 6 + 20
    assert page.count("<img") == 6 + 20 + 2 + 20  # at first sight, the sheet, the means, the crops
    assert page.count('<svg viewBox="-4 0') == 1
    assert page.count('class="chart"') == 1 + 3
    assert not re.search(r'(src|href)="(?!data:)', page)
    kinds = Localiser.load(trained.run).facts["kinds"]
    word = {"rigid": "rigid", "words": "deformable", "dense": "deformable"}[kinds[0]["kind"]]
    assert ("the hypothesis that was not taken" in page) == (word == "deformable")
    assert "The box can still be too large or hold two of them" in page
    assert re.search(rf"the thing was taken for\s+{word}", page)
    assert f"it learnt from {len(read_images(trained.run))} images; the boxes" in page


def test_all_images_are_ranked_by_the_scores_that_localise_gives(trained: Trained) -> None:
    page = (trained.run / "report.html").read_text()
    sheet = page[page.index('id="sheet"') :]
    shown = [(name, score) for score, name in re.findall(r'<b>([\d.]+|none)</b> <span title="([^"]+)"', sheet)]
    localiser = Localiser.load(trained.run)
    records = [r for r in localiser.localise_files(read_images(trained.run)) if not isinstance(r, Skipped)]
    best = sorted((max(o.score for o in r.objects), r.file) for r in records)
    assert [name for name, _ in shown] == [name for _, name in best]
    assert [score for _, score in shown] == [f"{score:.2f}" for score, _ in best]
    likely = sum(score >= 0.5 for score, _ in best)
    said = "All 20 images score" if likely == 20 else f"{likely} of 20 images score"
    assert f'<p class="verdict">{said}' in page
    assert "Look at these 6 first." in page


def test_the_commands_of_the_page_are_commands_with_these_options(trained: Trained, cli: Callable[..., Any]) -> None:
    page = (trained.run / "report.html").read_text()
    typed = [shlex.split(html.unescape(text)) for text in re.findall(r"<dd><code>(.*?)</code>", page)]
    assert [words[1] for words in typed] == ["localise", "localise", "review", "export", "evaluate"]
    for program, command, *words in typed:
        assert program == "stn-coloc"
        helped = cli(command, "--help")[1]
        assert all(word in helped for word in words if word.startswith("--"))
    run = str(trained.run)
    assert typed[0][2:] == ["--model", run, "--overlay", "--out", str(boxes_folder(trained.run))]  # where `review RUN` looks
    assert typed[2][2:] == [run]


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
    assert page.count("<script") == page.count("</script") == 1  # the page's own
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
    assert [title for title, _ in charts(rows, True)] == ["Search: loss of rigid crops by size"]
    assert [title for title, _ in charts(rows, False)] == [
        "Search: loss of rigid crops by size (the hypothesis that was not taken)"
    ]


def test_means() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 254, np.uint8)
    mean = MeanPicture(8)
    mean.add(black)
    mean.add(white)
    assert (mean.picture() == 127).all()
    half = np.concatenate([black, white], 1)
    assert contrast(half) > 60
    assert contrast(white) == 0


def record(*scores: float, name: str = "a.jpg") -> ImageRecord:
    """An image of 200 x 100 with a box for each score."""
    box = (40.0, 20.0, 120.0, 80.0)
    return ImageRecord(name, 200, 100, tuple(Localisation(name, 200, 100, box, corners(box), (), s) for s in scores))


def tallied(*images: tuple[float, ...]) -> Tally:
    tally = Tally()
    for scores in images:
        tally.add(record(*scores))
    return tally


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([(0.9,)] * 57 + [(0.4,)] * 3, "57 of 60 images score at least 0.5. Look at these 6 first."),
        ([(0.5, 0.1)] * 7, "All 7 images score at least 0.5. Look at these 6 first."),
        ([(0.49,)] * 7, "None of 7 images scores 0.5 or more. Look at these 6 first."),
        ([(0.9,), (0.1,), ()], "1 of 3 images scores at least 0.5. In 1 image nothing was found. Look at these 3 first."),
        ([(), ()], "None of 2 images scores 0.5 or more. In 2 images nothing was found. Look at these 2 first."),
        ([(0.9,)] * 2000 + [(0.1,)], "2,000 of 2,001 images score at least 0.5. Look at these 6 first."),
        ([(0.25,)], "The image scores 0.25."),
        ([()], "Nothing was found in the image."),
    ],
)
def test_the_verdict_in_words(images: list[tuple[float, ...]], words: str) -> None:
    assert tallied(*images).verdict().words() == words


def test_the_verdict_counts_images_by_their_best_box() -> None:
    verdict = tallied((0.7, 0.1), (0.45,), (), (0.2, 0.1), (1.0,)).verdict()
    assert verdict.ranking().tolist() == [2, 3, 1, 0, 4]
    assert (verdict.boxes, verdict.doubtful) == (6, 4)
    assert [(name, count) for name, _, count in verdict.bands()] == [("good", 2), ("doubtful", 1), ("bad", 1), ("nothing", 1)]
    counts = verdict.histogram()
    assert [(i, n) for i, n in enumerate(counts) if n] == [(0, 1), (4, 1), (9, 1), (14, 1), (BINS - 1, 1)]
    svg = bar_chart(counts, ["good"] * BINS, "score")
    assert svg.count("<rect") == 5
    heights = [float(h) for h in re.findall(r'height="([\d.]+)" class', svg)]
    assert len(set(heights)) == 1
    uneven = bar_chart([1000, 1], ["bad", "good"], "score")
    assert [float(h) for h in re.findall(r'height="([\d.]+)" class', uneven)] == [120, 2]
    over = bar_chart([999, 1000, 9949, 9950, 22_665], ["bad"] * 5, "score")  # numbers stand over bars of 24 pixels
    assert re.findall(r'middle">([\d.k]+)<', over)[:5] == ["999", "1.0k", "9.9k", "10k", "23k"]


def test_of_many_images_the_most_doubtful_are_shown_and_an_even_sample_of_the_others() -> None:
    assert places_shown(np.arange(960)).tolist() == list(range(960))
    shown = places_shown(np.arange(100_000))
    assert len(shown) == len(set(shown.tolist())) == 960
    assert shown[:721].tolist() == list(range(721))
    assert shown[-1] == 99_999
    steps = np.diff(shown[720:])
    assert steps.max() - steps.min() <= 1


def test_a_page_of_more_images_than_it_can_show_says_what_it_shows(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LOOKED_AT", 15)
    monkeypatch.setattr(sheet, "MOST_PICTURES", 10)
    monkeypatch.setattr(sheet, "MOST_DOUBTFUL", 6)
    monkeypatch.setattr(sheet, "SIDES", ((4, 500), (10, 24)))
    page = write_report(trained.run, tmp_path / "page.html").read_text()
    assert "That is of 15 images, taken evenly from all 20." in page
    assert "Shown: 10 of 15, the 6 most doubtful" in page
    ranks = [int(rank) for rank in re.findall(r'data-rank="(\d+)"', page[page.index('id="sheet"') :])]
    assert ranks[:6] == [1, 2, 3, 4, 5, 6]
    assert len(ranks) == 10
    assert ranks[-1] == 15
    data = base64.b64decode(re.findall(r"base64,([^\"]+)", page)[0])
    assert max(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape) == 24


def test_the_best_box_lies_on_top_and_a_tilted_crop_shows_its_upper_side() -> None:
    best, other = shapes_of(record(0.9, 0.3))[::-1]
    assert (best.best, best.band, best.points) == (True, "good", "40.0,20.0 120.0,20.0 120.0,80.0 40.0,80.0")
    assert (other.best, other.band, other.upper) == (False, "bad", None)
    tilted = Localisation("a", 200, 100, (0, 0, 9, 9), ((10, 10), (50, 40), (30, 70), (0, 40)), (), 0.5)
    (shape,) = shapes_of(ImageRecord("a", 200, 100, (tilted,)))
    assert shape.upper == (30, 25)
    assert shape.band == "doubtful"


def test_only_the_pages_own_script_may_run(trained: Trained) -> None:
    page = (trained.run / "report.html").read_text()
    script = page[page.index("<script>") + len("<script>") : page.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page


def palettes(path: str) -> list[dict[str, str]]:
    """The variables of a style: light, and dark where it differs."""
    light, dark = re.findall(r":root \{(.*?)\}", (ROOT / path).read_text(), re.DOTALL)[:2]
    named = [dict(re.findall(r"--([\w-]+): (#\w{6})", text)) for text in (light, dark)]
    return [named[0], named[0] | named[1]]


def luminance(colour: str) -> float:
    """Relative, as WCAG 2.1 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# what is written on what; 4.5 is WCAG's AA of small text
@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *[(text, ground) for text in ("text", "faint") for ground in ("page", "panel", "cell", "control")],
        ("warn-text", "warn-page"),
        *[(f"curve-{n}", "page") for n in range(1, 7)],
    ],
)
def test_everything_can_be_read_in_light_and_dark(mode: int, text: str, ground: str) -> None:
    colours = palettes("stn_cli/report/page.css")[mode]
    lighter, darker = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_the_report_has_the_colours_of_the_review_page() -> None:
    for own, other in zip(palettes("stn_cli/report/page.css"), palettes("stn_cli/review/page/style.css"), strict=True):
        shared = own.keys() & other.keys()
        assert {"page", "panel", "text", "faint", "line", "main"} <= shared
        assert {name: own[name] for name in shared} == {name: other[name] for name in shared}


def test_the_outline_is_drawn_at_any_scale() -> None:
    found = Localisation(
        "a", 200, 100, (40, 20, 120, 80), ((40, 20), (120, 20), (120, 80), (40, 80)), (0.4, 0, 0, 0, 0.6, 0), 0.9
    )
    small = draw(np.zeros((50, 100, 3), np.uint8), found, label=False)
    ys, xs = np.nonzero(small.max(2))
    assert abs(xs.min() - 20) <= 3
    assert abs(xs.max() - 60) <= 3
    assert abs(ys.max() - 40) <= 3
