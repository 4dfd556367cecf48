"""What a report holds, of a run or of boxes, and how it becomes a page."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from stn_cli.coloc.model.architecture import in_words
from stn_cli.errors import printable
from stn_cli.records import Skipped
from stn_cli.report import sheet
from stn_cli.report.figures import bar_chart
from stn_cli.report.sheet import SheetPicture
from stn_cli.report.verdict import BINS, LOOK_FIRST, Verdict, band_of

MOST_SKIPPED = 500
"""Files that are listed one by one."""


@dataclass(frozen=True, slots=True)
class LearntDetails:
    """What a page about a run says beside its boxes.

    Attributes:
        facts: of its model.
        config: its settings, as a file.
        mean_crop, mean_whole: pictures, as URLs.
        contrast_crop, contrast_whole: of these, in grey levels.
        crops: (score, URL) of crops, best first.
        curves: (title, SVG).
    """

    facts: dict[str, Any]
    config: str
    mean_crop: str
    mean_whole: str
    contrast_crop: float
    contrast_whole: float
    crops: Sequence[tuple[float, str]]
    curves: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class PageContent:
    """What a report holds.

    Attributes:
        heading: what it is about.
        verdict: of the images that were looked at.
        total: images of the whole set.
        pictures: of images, most doubtful first.
        commands: (what for, what to type).
        skipped: files that could not be used.
        warnings: of the training.
        learnt: of a run; None of boxes.
    """

    heading: str
    verdict: Verdict
    total: int
    pictures: Sequence[SheetPicture]
    commands: Sequence[tuple[str, str]]
    skipped: Sequence[Skipped]
    warnings: Sequence[str] = ()
    learnt: LearntDetails | None = None

    @property
    def looked_at(self) -> int:
        """Images that the verdict is of."""
        return len(self.verdict.scores)


def command(*words: str | Path) -> str:
    """A command as it is typed in a shell.

    Args:
        words: after `stn-coloc`.

    Returns:
        One line.
    """
    return shlex.join(["stn-coloc", *(printable(str(word)) for word in words)])


def commands_for_boxes(boxes: Path) -> list[tuple[str, str]]:
    """What to do with a file of boxes, and what to type for it.

    Args:
        boxes: the file, as it is named.

    Returns:
        (what for, command) of each.
    """
    likely = ("--format", "yolo", "--min-score", "0.5", "--out", "dataset")
    return [
        ("A data set to train a detector with", command("export", boxes, *likely)),
        ("How good they are, where truth is known", command("evaluate", boxes, "truth.json")),
    ]


def render(content: PageContent) -> str:
    """The page, self-contained: its style, its script and its pictures are in it, and it loads nothing.

    Args:
        content: what it holds.

    Returns:
        HTML.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_part("page.html.j2"))
    script = _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    bands = [band_of(number / BINS) for number in range(BINS)]
    return template.render(
        c=content,
        in_words=in_words,
        style=_part("page.css"),
        script=script,
        script_hash=f"sha256-{digest}",
        first=content.pictures[:LOOK_FIRST],
        bars=bar_chart(content.verdict.histogram(), bands, "score of an image's worst box"),
        most_doubtful=sheet.MOST_DOUBTFUL if content.looked_at > sheet.MOST_PICTURES else None,
        reasons=Counter(s.reason.split(":")[0] for s in content.skipped).most_common(),
        skipped=[(printable(s.file), s.reason) for s in content.skipped[:MOST_SKIPPED]],
    )


def _part(name: str) -> str:
    return resources.files("stn_cli.report").joinpath(name).read_text("utf-8")
