"""A little of every part of the soak, as anybody runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak.__main__ import PARTS
from benchmarks.soak.files import call
from benchmarks.soak.mutate import damage_json
from benchmarks.soak.record import table
from tests.conftest import ROOT

LONG = ("kill", "disk")
"""Half a minute each."""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL, no limits of memory")
@pytest.mark.parametrize("part", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in PARTS])
def test_a_little_of_every_part(part: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.soak",
        part,
        "--quick",
        "--work",
        str(tmp_path),
        "--out",
        str(tmp_path / "soak.json"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--kept", str(tmp_path / "kept")], cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads((tmp_path / "soak.json").read_text())
    rows = measured["parts"]
    assert rows[part]["faults"] == 0
    assert rows[part]["count"] > 0
    assert f"| `{part}` | {rows[part]['done']} |" in table(measured)
    assert [p.name for p in tmp_path.iterdir()] == ["soak.json"]  # what it made is gone


def test_the_soak_itself_bears_what_it_makes(tmp_path: Path) -> None:
    """A whole number beyond all floats was multiplied by one; settings that are printed came to a stream of text."""
    for seed in range(40):
        assert damage_json(np.random.default_rng(seed), {"a": 10**400, "b": [10**400]})
    (tmp_path / "config.toml").write_text("steps = 3\n")
    done = call("train", "--config", tmp_path / "config.toml", "--print-config")
    assert (done.code, done.errors) == (0, "")
