"""docs/design.md is the tree itself."""

from __future__ import annotations

import runpy

from tests.conftest import ROOT


def test_the_design_page_is_the_tree() -> None:
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(ROOT / "docs/tree.py"))["renewed"](page) == page, "python docs/tree.py writes it anew"
