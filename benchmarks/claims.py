"""The figures that stand in sentences: each is bound to its result file, as the tables are.

A claim is a piece of a page with fields in the place of figures. A field is formatted by its specification; text is taken as it
is. `python -m benchmarks.pages` puts the figures in, a test compares.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.markdown import Figure, result
from benchmarks.photo_table import mean_of_set
from benchmarks.provenance import ROOT

BENCHMARKS, TRANSFORMERS = "docs/benchmarks.md", "docs/transformers.md"
ANY = "*"
SMALL = ROOT / "stn_cli" / "encoders" / "small.safetensors"
FIGURE = r"([-+]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?)"


@dataclass(frozen=True, slots=True)
class Claim:
    """A piece of a page.

    Attributes:
        page: from the repository's root; ANY for whichever page has it, as often as it does.
        text: the piece, with {fields}; where its lines break does not matter.
        fields: gives the figures.
    """

    page: str
    text: str
    fields: Callable[[], dict[str, Any]]

    @property
    def pattern(self) -> re.Pattern[str]:
        """What the piece looks like with whatever figures."""
        pieces = []
        for literal, name, _, _ in string.Formatter().parse(self.text):
            pieces.append(re.sub(r"(?:\\?\s)+", r"\\s+", re.escape(literal)))
            pieces.append(FIGURE if name is not None else "")
        return re.compile("".join(pieces))

    def figures(self) -> list[str]:
        """The figures in their order, as they should stand there."""
        values = self.fields()
        parsed = string.Formatter().parse(self.text)
        return [format(_exact(values[name]), spec or "") for _, name, spec, _ in parsed if name is not None]

    def put_into(self, text: str) -> str:
        """A page's text with these figures in the piece.

        Raises:
            ValueError: the piece is not there, or more than once.
        """
        found = list(self.pattern.finditer(text))
        if self.page != ANY and len(found) != 1:
            raise ValueError(f"{self.page} should have this once, not {len(found)} times: {self.text}")
        for match in reversed(found):
            for group, figure in reversed(list(enumerate(self.figures(), 1))):
                begin, end = match.span(group)
                text = text[:begin] + figure + text[end:]
        return text


def _exact(value: Any) -> Any:
    return Figure(value) if isinstance(value, float) else value


def _scientific(value: float) -> str:
    return re.sub(r"e-0*", "e-", f"{value:.0e}")


def _package() -> dict[str, Any]:
    return {"megabytes": SMALL.stat().st_size / 1e6}


def _plain_sets() -> dict[str, Any]:
    sets = result("photos")["sets"]
    each = [mean_of_set(sets, name, "corloc") for name in ("bccd_wbc", "foda_hammer", "voc07_motorbike")]
    known = [corloc for corloc in each if corloc is not None]
    return {"least": min(known), "most": max(known)}


def _gpu() -> dict[str, Any]:
    said = result("gpu")
    worst = {d: max(r["off"] for r in said["agreement"] if r["dtype"] == f"torch.{d}") for d in ("float32", "bfloat16")}
    cups, digits = said["trainings"]
    rates = said["localiser"]
    return {
        "float32": _scientific(worst["float32"]),
        "bfloat16": _scientific(worst["bfloat16"]),
        "seconds": max(cups["seconds"], digits["seconds"]),
        "cups": cups["corloc"],
        "digits": digits["corloc"],
        "middling": round(rates["256"], -2),
        "large": round(rates["1024"], -2),
    }


def _crops() -> dict[str, Any]:
    small, middling, large = result("gpu")["sampler"]

    def beside(row: dict[str, float], what: str) -> float:
        return row[f"ours{what}"] / row[f"roi_align{what}"]

    back = "_forward_backward"
    return {
        "large": beside(large, ""),
        "middling": beside(middling, ""),
        "small": beside(small, ""),
        "large_back": beside(large, back),
        "small_back": beside(small, back),
    }


def _samplers() -> dict[str, Any]:
    said = result("sampler")["microseconds"]
    integer = [said[f"sample integer, {padding}"] for padding in ("zeros", "border", "reflection")]
    worst = max(integer, key=lambda r: r["ratio"])
    others = [r["ratio"] for n, r in said.items() if r["ratio"] and r not in integer]
    backward = [r["ratio_backward"] for r in said.values() if r["ratio_backward"]]
    return {
        "integer": worst["ratio"],
        "difference": worst["ours"] - min(worst["torch"], worst["kornia"]),
        "others": max(others),
        "channels": said["sample integer, 16 channels"]["ratio"],
        "backward": max(backward),
    }


def _corrections() -> dict[str, Any]:
    rows = [rows for rows in result("loop")["sets"].values() if "chosen 10" in rows]
    before, after = (sum(r["chosen 10"][when]["corloc"] for r in rows) / len(rows) for when in ("before", "after"))
    return {"before": before, "after": after, "sets": len(rows)}


def _actions() -> dict[str, Any]:
    said = result("review_actions")
    drags = said["by"]["drags"]
    return {**said, "drags": drags, "keys": said["actions"] - drags}


def _hundred_million() -> dict[str, float]:
    """What so many images cost, from the rate of one worker and the driver's time for an image."""
    rows = result("scale")["rows"]
    rate, driver, listing = (
        1000 / rows["real"]["1"]["worker_ms"],
        rows["asleep"]["64"]["driver_ms"],
        rows["listing"]["driver_ms"],
    )
    hours = 1e8 / rate / 3600
    return {
        "rate": rate,
        "hours": hours,
        "thousand": hours / 1000,
        "most": 1000 / driver,
        "driver": 1e8 * driver / 1000 / 3600,
        "workers": 1000 / driver / rate,
        "listing": 1e8 * listing / 1000 / 3600,
    }


CLAIMS = (
    Claim(
        "docs/scale.md",
        "One worker finds {rate:.1f} images in a second of a core of that machine: a hundred million such photographs are {hours:,.0f} hours of "
        "a core, which 1,000 cores do in {thousand:,.1f} hours. The driver takes {most:,.0f} images a second at most: a hundred million take it "
        "{driver:.1f} hours, however many workers there are, and more than {workers:,.0f} such workers would wait for it",
        _hundred_million,
    ),
    Claim("docs/scale.md", "Names from a folder take it {listing:.1f} hours more", _hundred_million),
    Claim("README.md", "raised CorLoc of the others from {before:.0f} to {after:.0f} in the mean of {sets} sets", _corrections),
    Claim(
        "docs/review.md",
        "in the run of {shown} photographs of kangaroos, the first {boxes} wrong or missing boxes, in {images} images, took {actions} actions "
        "of the hand: {drags} drags and {keys} keys; the page needed {seconds:.1f} s for all of them together",
        _actions,
    ),
    Claim(ANY, "{megabytes:.1f} MB inside the package", _package),
    Claim(ANY, "a network of ours inside the package, {megabytes:.1f} MB", _package),
    Claim(ANY, "on cells, hammers and motorbikes {least:.0f} to {most:.0f} of 100 are right", _plain_sets),
    Claim(
        BENCHMARKS,
        "in more than half of the images (CorLoc {corloc:.0f})",
        lambda: result("photos_absent")["sets"]["foda_clamp"],
    ),
    Claim(
        BENCHMARKS,
        "2,000 cluttered digits take {time_ratio:.2f} times as long as 100 of them",
        lambda: result("large_folders")["sets"]["digits"],
    ),
    Claim(
        BENCHMARKS,
        "Training on 20,000 small pictures takes {anonymous_mb:.2f} times the memory of 2,000",
        lambda: result("large_folders")["sets"]["memory"]["auto ratios"],
    ),
    Claim(
        BENCHMARKS,
        "a video of 20,000 frames takes {ratio:.2f} times the memory of one of 2,000 ({gigabytes:.2f} GB)",
        lambda: {**result("video")["sets"]["memory"], **result("video")["sets"]["memory"]["20000"]},
    ),
    Claim(BENCHMARKS, "(largest difference {float32} in float32, {bfloat16} in bfloat16)", _gpu),
    Claim(BENCHMARKS, "(48 and 60 pictures) takes {seconds:.0f} s, CorLoc {cups:.0f} and {digits:.0f}", _gpu),
    Claim(BENCHMARKS, "{middling:,.0f} canvases a second in batches of 256 and {large:,.0f} in batches of 1,024", _gpu),
    Claim(
        TRANSFORMERS,
        "reading is {large:.1f} times as fast on large crops, {middling:.1f} times on middling ones and {small:.1f} times on small ones",
        _crops,
    ),
    Claim(TRANSFORMERS, "it is {large_back:.1f} times as fast on large crops and {small_back:.1f} times on small ones", _crops),
    Claim(TRANSFORMERS, "takes up to {integer:.2f} of the rival's time, {difference:.0f} microseconds", _samplers),
    Claim(TRANSFORMERS, "Every other case takes at most {others:.2f} of it forward", _samplers),
    Claim(TRANSFORMERS, "with the backward pass all take at most {backward:.2f}", _samplers),
)
