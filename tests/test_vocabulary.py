"""One word for one thing: no two public names alike, and none of the words that were given up (docs/glossary.md has the present ones)."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "stn_cli").rglob("*.py"))
SHARED = {"main", "train"}
"""Programs begin in `main`; `train` is a command, what it calls, and a stage of that."""
GIVEN_UP = re.compile(r"\b(judges?|loose|surplus|margin maps?|manyeth|everything random)\b", re.IGNORECASE)
PAGES = [*FILES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ALLOWED = {"stn_cli/runs/older.py", "stn_cli/evaluate/names.py"}
"""Old names in models of an earlier version; names that are compared loosely."""


def test_two_things_never_share_a_name() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                homes[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: paths for name, paths in homes.items() if len(paths) > 1 and name not in SHARED} == {}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_words_that_were_given_up_are_gone(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() not in ALLOWED:
        assert GIVEN_UP.findall(path.read_text(encoding="utf-8")) == []
