"""Docstrings: their examples run, and no public function leaves unsaid what it is given and what it gives back."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "stn_cli"
WITH_EXAMPLES = [p.relative_to(ROOT) for p in sorted(PACKAGE.rglob("*.py")) if ">>> " in p.read_text(encoding="utf-8")]
FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent.name != "cli"]  # docstrings of commands are what `--help` shows


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_examples_run(path: object) -> None:
    module = importlib.import_module(str(path).removesuffix(".py").replace("\\", "/").replace("/", "."))
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_functions_say_what_they_are_given_and_give_back(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        said = ast.get_docstring(node) or ""
        given = {a.arg for a in node.args.args + node.args.kwonlyargs}
        lines = [line.strip().partition(": ")[0] for line in said.partition("Args:")[2].splitlines()]
        assert given <= {name.strip() for line in lines for name in line.split(",")}, f"{path.name}: {node.name}"
        back = ast.unparse(node.returns) if node.returns else ""
        if back not in ("None", "NoReturn") and not back.startswith("Iterator"):
            assert "Returns:" in said, f"{path.name}: {node.name}"
