"""The table of the paper's concepts in docs/transformers.md: nothing in it is empty or gone, and nothing public is missing."""

from __future__ import annotations

import re

import pytest

import stn_cli
from stn_cli import stn
from tests.conftest import ROOT

SECTION = (ROOT / "docs" / "transformers.md").read_text("utf-8").split("## Every concept of the paper")[1]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", SECTION, re.M)][2:]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_what_exists(row: list[str]) -> None:
    assert len(row) == 6
    assert all(row)
    _, functions, command, test, picture, figures = row
    for name in re.findall(r"`(?:stn_cli\.)?(\w+)[^`]*`", functions):
        assert hasattr(stn, name) or hasattr(stn_cli, name), name
    assert re.fullmatch(r"`(stn-coloc train|python) .+`", command)
    path, _, name = test.strip("`").partition("::")
    assert f"def {name}(" in (ROOT / path).read_text("utf-8") if name else (ROOT / path).is_file()
    assert (ROOT / "docs" / re.findall(r"\((figures/\w+\.png)\)", picture)[0]).is_file()
    assert re.fullmatch(r"\[.+\]\(((experiments|benchmarks)\.md)?#[\w-]+\)", figures)


def test_every_public_name_of_the_library_is_in_it() -> None:
    assert len(ROWS) > 15
    named = set(re.findall(r"\w+", " ".join(row[1] for row in ROWS)))
    assert set(stn.__all__) <= named
