"""Docstrings: their examples run, and in the rooms of the search and of the training no public function leaves its arguments unsaid."""

from __future__ import annotations

import ast
import doctest
import importlib

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "stn_cli"
WITH_EXAMPLES = [p.relative_to(ROOT) for p in sorted(PACKAGE.rglob("*.py")) if ">>> " in p.read_text(encoding="utf-8")]
ROOMS = ("coloc/search", "coloc/score", "coloc/model", "coloc/train", "encoders", "pretrain")


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_examples_run(path: object) -> None:
    module = importlib.import_module(str(path).removesuffix(".py").replace("\\", "/").replace("/", "."))
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("room", ROOMS)
def test_functions_say_what_they_are_given(room: str) -> None:
    for path in sorted((PACKAGE / room).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or not node.args.args:
                continue
            said = ast.get_docstring(node) or ""
            assert "Args:" in said, f"{path.name}: {node.name}"
            given = {a.arg for a in node.args.args + node.args.kwonlyargs}
            lines = [line.strip().partition(": ")[0] for line in said.partition("Args:")[2].splitlines()]
            assert given <= {name.strip() for line in lines for name in line.split(",")}, f"{path.name}: {node.name}"
