"""The numbers that steer tracking say what they are and where they were measured, and docs/tracking.md states those of the code."""

from __future__ import annotations

import re
from dataclasses import Field, fields

import pytest

from stn_cli.provenance import NOT_MEASURED
from stn_cli.tracking import kind_settings, settings
from stn_cli.tracking.kind_settings import DETECTOR, DISCOVERY
from stn_cli.tracking.settings import BOX, FINISH, GLIMPSE, LEARNING, PRESENCE, TEMPLATE, VIEW
from tests.conftest import ROOT

PAGE = " ".join((ROOT / "docs" / "tracking.md").read_text(encoding="utf-8").split())
TRIALS = " ".join((ROOT / "docs" / "experiments.md").read_text(encoding="utf-8").partition("\n## Tracking\n")[2].split())
GROUPS = [
    value for room in (settings, kind_settings) for value in vars(room).values() if type(value).__name__.endswith("Settings")
]


def every() -> list[tuple[str, Field[object]]]:
    return [(f"{type(group).__name__}.{field.name}", field) for group in GROUPS for field in fields(group)]


@pytest.mark.parametrize(("name", "field"), every(), ids=[name for name, _ in every()])
def test_a_number_says_what_it_is_and_where_it_was_measured(name: str, field: Field[object]) -> None:
    said = field.metadata
    assert said["meaning"], name
    assert said["measured"] == NOT_MEASURED or said["measured"] in TRIALS, said["measured"]
    assert not said["tried"] or said["measured"] != NOT_MEASURED, "what was tried was measured somewhere"


def short(value: float) -> str:
    return f"{value:g}"


@pytest.mark.parametrize(
    "sentence",
    [
        f"as {VIEW.side} x {VIEW.side} pixels with a cell every {VIEW.cell}: the first {VIEW.components} principal components",
        f"fit + {BOX.likeness} likeness - {BOX.far} far - {BOX.resized} |change of log sides|^2 - {BOX.reshaped} (change of log",
        f"{TEMPLATE.points} x {TEMPLATE.points} points in a box {TEMPLATE.zoom} times as large",
        f"{TEMPLATE.first_boxes} boxes of the first frame, {TEMPLATE.boxes + TEMPLATE.true_boxes} of each of",
        f"the first one always counts {LEARNING.first_frame}",
        f"{BOX.places} x {BOX.places} places first",
        f"again by the correlation of its pixels, {short(GLIMPSE.clear).lstrip('0')} or more",
        f"When the best box fits less than {PRESENCE.there} ({PRESENCE.untaught} before the first lesson counts)",
        f"when less than {PRESENCE.on_frame} of it is left on the frame",
        f"when something fits {PRESENCE.back}, and {PRESENCE.back_share} of the usual fit, and {PRESENCE.back_on_frame} of it",
        f"Of up to {DISCOVERY.clips * DISCOVERY.clip} frames",
        f"{DISCOVERY.looks} are searched for parts",
        f"the fourth root of its area exceeds {DISCOVERY.least_worth}",
        f"the most similar objects of {DETECTOR.learn_from} frames",
    ],
)
def test_the_page_states_the_numbers_of_the_code(sentence: str) -> None:
    assert sentence in PAGE


def test_the_page_states_the_smoothing() -> None:
    assert FINISH.sigmas == (0.5, 2.0)
    assert "smoothed by a Gaussian of half a frame and sizes by one of two" in PAGE
    assert FINISH.several_sigmas == (2.0, 4.0)
    assert "with several objects of two and four" in PAGE
    assert FINISH.gap == 0.5
    assert "Gaps of up to half a second" in PAGE


def test_no_number_is_typed_twice() -> None:
    """Names of module constants in the room are few, and each stands once."""
    names = []
    for path in sorted((ROOT / "stn_cli" / "tracking").glob("*.py")):
        if path.stem not in ("settings", "kind_settings"):
            names += re.findall(r"^([A-Z][A-Z_]+)\b.*? = [-\d(]", path.read_text(encoding="utf-8"), re.M)
    assert len(names) == len(set(names)), names
