from __future__ import annotations

import pickle
import subprocess
import sys
import tomllib

import pytest

import stn_cli
from stn_cli.errors import Interrupted
from tests.conftest import ROOT


def test_every_public_name_is_there() -> None:
    for name in stn_cli.__all__:
        assert getattr(stn_cli, name) is not None


def test_completion_shows_the_public_names_and_no_others() -> None:
    assert dir(stn_cli) == sorted(stn_cli.__all__)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        stn_cli.trian  # noqa: B018


def test_import_is_light() -> None:
    code = "import sys, stn_cli; print([m for m in ('torch', 'cv2', 'numpy', 'rich', 'typer') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_is_no_code_is_packaged_too() -> None:
    """A wheel holds only what package-data names."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["stn_cli"]
    package = ROOT / "stn_cli"
    wanted = {p for p in package.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    named = {p for pattern in data for p in package.glob(pattern)}
    assert wanted == named


def test_a_stop_passes_between_processes() -> None:
    stop = pickle.loads(pickle.dumps(Interrupted(15, "Go on")))
    assert (stop.exit_code, stop.line()) == (143, Interrupted(15, "Go on").line())
