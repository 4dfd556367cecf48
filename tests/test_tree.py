"""docs/design.md is the tree itself; no file and no function outgrows its screen."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "stn_cli").rglob("*.py"))
LONGEST_FILE = 300
LONGEST_FUNCTION = 50


def test_the_design_page_is_the_tree() -> None:
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(ROOT / "docs/tree.py"))["renewed"](page) == page, "python docs/tree.py writes it anew"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name
