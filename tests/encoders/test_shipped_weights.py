"""What docs/encoders.md says to companies: which commands use weights that were learnt from other people's pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, make_folder

SPY = """
import json, sys
opened = set()
def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".safetensors") and "stn_cli" in str(arguments[0]):
        opened.add(str(arguments[0]).replace("\\\\", "/").rsplit("/", 1)[1])
sys.addaudithook(note)
from stn_cli.cli.app import run
used = []
for arguments in json.loads(sys.argv[1]):
    opened.clear()
    code = run(arguments)
    used.append(sorted(opened) if code == 0 else code)
print(json.dumps(used))
"""
SMALL, INSTANCES = "small.safetensors", "instances.safetensors"


def weights_used(place: Path, *commands: str) -> list[list[str] | int]:
    """The package's files of weights that each command opened, or its exit code where it failed; all in one process."""
    quick = "--steps 2 --finetune 2 --imgsz 48 --batch 8 --size 0.3-0.35 --no-report -q"
    more = {"train": quick.split(), "pretrain": ["--steps", "10", "--batch", "8", "-q"], "localise": ["-q"]}
    arguments = [[*line.split(), *more[line.split()[0]]] for line in commands]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # several tests run at once
    command = [sys.executable, "-c", SPY, json.dumps(arguments)]
    done = subprocess.run(command, cwd=place, env=surroundings, capture_output=True, text=True, check=True)
    used: list[list[str] | int] = json.loads(done.stdout.splitlines()[-1])
    return used


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_folder(tmp_path)
    return tmp_path


def test_gradient_uses_no_weights_of_the_package(place: Path) -> None:
    said = "train images --encoder gradient --search"
    commands = [f"{said} rigid -o r", f"{said} deformable -o d", "localise images -m d -o boxes"]
    assert weights_used(place, *commands) == [[], [], []]


def test_an_encoder_of_ones_own_takes_the_place_of_the_encoder_alone(place: Path) -> None:
    said = "train images --encoder encoder --search"
    commands = [
        "pretrain images --from scratch -o encoder",
        f"{said} rigid -o r",
        f"{said} deformable -o d",
        "train images --encoder small --search rigid -o sr",
        "train images --encoder small --search deformable -o sd",
        "pretrain images -o from-small",
    ]
    assert weights_used(place, *commands) == [[], [], [INSTANCES], [SMALL], [INSTANCES, SMALL], [SMALL]]
