"""report.html: one self-contained page about a run."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import jinja2

from stn_cli.coloc.model.architecture import in_words
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.errors import InputError, OutputError, printable
from stn_cli.files import write_text
from stn_cli.media.cache import default_workers, load_letterbox, ordered_map
from stn_cli.media.decode import Pixels
from stn_cli.media.scan import ImageFile
from stn_cli.outputs.manifest import note_written, written_by_tool
from stn_cli.outputs.places import Place
from stn_cli.outputs.targets import TargetKind, check_target
from stn_cli.records import Localisation, Skipped
from stn_cli.report import figures
from stn_cli.report.figures import Series
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import read_images, read_skipped
from stn_cli.runs.metrics import NAME as METRICS
from stn_cli.runs.metrics import read_metrics
from stn_cli.runtime.progress import Reporter, Silent

REPORT = "report.html"
BEGINNING, TITLE = b"<!doctype html>", b"<title>stn-coloc report</title>"
THUMB = 224
"""Longer side of an image on the page, pixels."""
CROP = 112
"""Side of a crop on the page, pixels."""
MOST_IMAGES = 240
"""Images on the page; of more, every second or third."""
MOST_LINES = 500_000
"""Of a run's log."""
MOST_LINES_DRAWN = 64
"""Of a chart."""
PAGE = TargetKind("a page of stn-coloc report", "--out", lambda head: head.startswith(BEGINNING) and TITLE in head)


@dataclass(frozen=True, slots=True)
class Panel:
    """An image of the page: what was found in it; the whole picture small and square, with the box, and the crop."""

    found: Localisation
    plain: Pixels
    thumb: Pixels
    crop: Pixels


def write_report(
    run: Path, out: Path | None = None, *, overwrite: bool = False, device: str = "auto", reporter: Reporter | None = None
) -> Path:
    """Write `report.html` of a run.

    Args:
        run: the run folder.
        out: the page; `report.html` in the run folder when left out, where an earlier one is replaced.
        overwrite: a page of an earlier call may be replaced; nothing else ever is.
        device: for the model.
        reporter: is told of progress.

    Returns:
        The page's path.

    Raises:
        CheckpointError: the run has no usable model.
        InputError: none of its images can be read any more.
        OutputError: another file is there, or the page cannot be written.
    """
    target = run / REPORT if out is None else Path(out)
    localiser = Localiser.load(run, device)
    files = read_images(run)
    own = _check_page(target, run, files, overwrite)
    reporter = reporter or Silent()
    chosen = files[:: max(1, -(-len(files) // MOST_IMAGES))]
    reporter.stage("report", len(chosen))
    shown: list[Panel] = []
    lost: list[Skipped] = []
    for item in ordered_map(lambda f: _show(localiser, f), chosen, default_workers()):
        reporter.advance(1)
        if isinstance(item, Skipped):
            lost.append(item)
        else:
            shown.append(item)
    if not shown:
        raise InputError("none of the run's images can be read", run, f"{len(lost)} tried")
    skipped = read_skipped(run) + lost
    write_text(target, _render(run, localiser, shown, skipped, len(files)))
    if own:
        note_written(run, REPORT)
    return target


def _check_page(target: Path, run: Path, files: list[ImageFile], overwrite: bool) -> bool:
    """Whether the page is the run's own `report.html`; other places are checked.

    Raises:
        OutputError: something is there that is not to be replaced, or the page would lie among the run's other files.
    """
    own = target.name == REPORT and target.parent.is_dir() and os.path.samefile(target.parent, run)
    if own and REPORT in written_by_tool(run) and target.is_file() and not target.is_symlink():
        return True
    if not own and Place.of(target).is_below(Place.of(run)):
        why = f"of the run's folder only {REPORT} is the page's"
        raise OutputError("cannot write into", target, why, "Choose another --out, or leave it out")
    check_target(target, PAGE, [file.path for file in files], overwrite=overwrite)
    return own


def _show(localiser: Localiser, file: ImageFile) -> Panel | Skipped:
    small = load_letterbox(file, localiser.letterbox)
    large = load_letterbox(file, THUMB)
    if isinstance(small, Skipped):
        return small
    if isinstance(large, Skipped):
        return large
    record = localiser.record(small)
    found = record.objects[0]
    left, top, w, h = large.frame.content
    thumb = large.pixels[top : top + h, left : left + w]
    crop = localiser.crop(thumb, found, CROP)
    drawn = thumb
    for other in reversed(record.objects):
        drawn = figures.draw(drawn, other)
    return Panel(found, square(thumb, CROP), drawn, square(crop, CROP))


def square(picture: Pixels, side: int) -> Pixels:
    """A picture squeezed to a square.

    Args:
        picture: (H, W, 3) uint8 RGB.
        side: of the result, pixels.

    Returns:
        (side, side, 3).
    """
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _render(run: Path, localiser: Localiser, shown: list[Panel], skipped: list[Skipped], total: int) -> str:
    metrics = list(islice(read_metrics(run / METRICS), MOST_LINES))
    ranked = sorted(shown, key=lambda s: -s.found.score)
    mean_crop = figures.mean_picture([s.crop for s in shown])
    mean_whole = figures.mean_picture([s.plain for s in shown])
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(resources.files("stn_cli.report").joinpath("page.html.j2").read_text("utf-8"))
    return template.render(
        facts=localiser.facts,
        in_words=in_words,
        config=TrainConfig.of_run(run).toml(),
        run=printable(str(run)),
        total=total,
        shown=len(shown),
        warnings=localiser.facts.get("warnings", []),
        curves=_charts(metrics, any(k["kind"] == "rigid" for k in localiser.facts["kinds"])),
        mean_crop=figures.data_url(square(mean_crop, THUMB)),
        mean_whole=figures.data_url(square(mean_whole, THUMB)),
        contrast_crop=figures.contrast(mean_crop),
        contrast_whole=figures.contrast(mean_whole),
        crops=[(printable(s.found.file), s.found.score, figures.data_url(s.crop, 75)) for s in ranked],
        images=[(printable(s.found.file), s.found.score, figures.data_url(s.thumb, 75)) for s in reversed(ranked)],
        reasons=Counter(s.reason.split(":")[0] for s in skipped).most_common(),
        skipped=[(printable(s.file), s.reason) for s in skipped[:500]],
    )


COLOURS = ("#0969da", "#1a7f37", "#8250df", "#bf3989", "#9a6700", "#57606a")


def _charts(metrics: list[dict[str, Any]], rigid: bool) -> list[tuple[str, str]]:
    """The charts of a run, with their titles; `rigid` says whether the rigid search's answer was taken for any kind of object."""

    def series(stage: str, x: str, y: str, name: str) -> list[Series]:
        """One line, or one for each kind of object and level of a cascade."""
        rows = [m for m in metrics if m.get("stage") == stage and all(type(m.get(name)) in (int, float) for name in (x, y))]
        parts = sorted({(m.get("object", 0), m.get("level", 0)) for m in rows})[:MOST_LINES_DRAWN]
        out = []
        for i, (number, level) in enumerate(parts):
            points = [(m[x], m[y]) for m in rows if (m.get("object", 0), m.get("level", 0)) == (number, level)]
            label = name if len(parts) == 1 else f"{name}, kind {number + 1}, level {level + 1}"
            out.append(Series(label, points, COLOURS[(i + (name != "loss")) % len(COLOURS)]))
        return out

    regression = series("regression", "step", "loss", "loss") + series("regression", "step", "agreement", "IoU with the search")
    search = "Search: loss of rigid crops by size" + ("" if rigid else " (the hypothesis that was not taken)")
    charts = [
        (search, series("search", "side", "loss", "loss"), "side, share of the image"),
        ("Regression: the transformer learns what the search found", regression, "step"),
        ("Fine-tuning: loss of the transformer's own crops", series("finetune", "step", "loss", "loss"), "step"),
    ]
    drawn = [(title, figures.line_chart(lines, x_label, "loss")) for title, lines, x_label in charts]
    return [(title, svg) for title, svg in drawn if svg]
