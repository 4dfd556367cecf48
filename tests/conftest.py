"""Made images, and one short training that many tests look at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import hypothesis
import numpy as np
import pytest
import torch

from stn_cli.runs.config import TrainConfig

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt install chromium")
QUICK = {"steps": 40, "finetune": 5, "imgsz": 48, "batch": 8}

hypothesis.settings.register_profile("steady", deadline=None)  # a busy machine is not a fault
hypothesis.settings.load_profile("steady")
torch.set_num_threads(1)  # the tests run in several processes at once


def make_image(seed: int, size: tuple[int, int] = (48, 60), side: int = 18) -> tuple[np.ndarray, list[int]]:
    """A red ring with a cross on grey noise, RGB, and its box."""
    rng = np.random.default_rng(seed)
    h, w = size
    image = rng.integers(60, 150, (h, w, 1), np.uint8).repeat(3, 2)
    image = cv2.GaussianBlur(image, (0, 0), 1.0)
    x, y = int(rng.integers(1, w - side - 1)), int(rng.integers(1, h - side - 1))
    c = (x + side // 2, y + side // 2)
    cv2.circle(image, c, side // 2 - 1, (220, 30, 20), -1)
    cv2.line(image, (c[0] - 4, c[1]), (c[0] + 4, c[1]), (255, 255, 240), 2)
    cv2.line(image, (c[0], c[1] - 4), (c[0], c[1] + 4), (255, 255, 240), 2)
    return image, [x, y, x + side, y + side]


def write_image(path: Path, image: np.ndarray) -> Path:
    """Write RGB by extension, through bytes: any name works."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, image[..., ::-1])
    assert done
    path.write_bytes(data.tobytes())
    return path


def make_folder(folder: Path, count: int = 20, start: int = 0) -> dict[str, list[list[int]]]:
    """A set with truth beside it: folder/images, folder/boxes.json."""
    truth = {}
    for n in range(start, start + count):
        image, box = make_image(n)
        write_image(folder / "images" / f"{n:03d}.png", image)
        truth[f"{n:03d}.png"] = [box]
    (folder / "boxes.json").write_text(json.dumps(truth))
    return truth


@dataclass(frozen=True)
class Trained:
    folder: Path
    run: Path
    truth: dict[str, list[list[int]]]

    @property
    def images(self) -> Path:
        return self.folder / "images"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A set of 20 images and a run trained on it, quickly."""
    from stn_cli.coloc.train.run import train
    from stn_cli.report.page import write_report

    folder = tmp_path_factory.mktemp("set")
    truth = make_folder(folder)
    run = folder / "run"
    train(folder / "images", run, TrainConfig(**QUICK))
    write_report(run)
    return Trained(folder, run, truth)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: (exit code, stdout, stderr)."""
    from stn_cli.cli.app import run

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


QUICK_FLAGS = [part for key, value in QUICK.items() for part in (f"--{key}", str(value))]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for the pages that are made."""
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # containers run as root
        yield found
        found.close()
