"""The numbers of a training and of a model say what they are and where they were measured, and docs/method.md states those of the code."""

from __future__ import annotations

from dataclasses import Field, fields

import pytest

from stn_cli.coloc.model.settings import FINDER
from stn_cli.coloc.train.settings import AUGMENTATION, FINETUNING, REGRESSION
from stn_cli.provenance import NOT_MEASURED
from tests.conftest import ROOT

METHOD, TRIALS = (" ".join((ROOT / "docs" / name).read_text("utf-8").split()) for name in ("method.md", "experiments.md"))
EVERY = [
    (f"{type(group).__name__}.{field.name}", field)
    for group in (AUGMENTATION, REGRESSION, FINETUNING, FINDER)
    for field in fields(group)
]


@pytest.mark.parametrize(("name", "field"), EVERY, ids=[name for name, _ in EVERY])
def test_a_number_says_what_it_is_and_where_it_was_measured(name: str, field: Field[float]) -> None:
    said = field.metadata
    assert said["meaning"], name
    assert said["measured"] == NOT_MEASURED or said["measured"] in TRIALS
    assert not said["tried"] or said["measured"] != NOT_MEASURED, "what was tried was measured somewhere"


@pytest.mark.parametrize(
    "sentence", [f"agrees with the search to {REGRESSION.agreed} mean IoU", f"layers of {FINDER.width} channels"]
)
def test_the_page_states_the_numbers_of_the_code(sentence: str) -> None:
    assert sentence in METHOD
