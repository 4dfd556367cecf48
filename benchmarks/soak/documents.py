"""Every kind of file that is read but pictures: a right one of each, written into a folder that cases copy from and damage."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks.soak.inputs import trained, write_set
from benchmarks.soak.process import program
from stn_cli.coloc.train.run import train
from stn_cli.encoders import FILE
from stn_cli.errors import Interrupted
from stn_cli.jobs.localise import localise_source
from stn_cli.jobs.localise_options import LocaliseOptions
from stn_cli.runs.config import TrainConfig
from stn_cli.runtime.progress import Silent

NAMES = [f"{n:05d}.png" for n in range(6)]


def make_base(folder: Path) -> Path:
    """What cases copy from.

    `images`, a finished `run`, one that was `stopped`, results of localise in `out` and unfinished ones in `begun`, an `encoder`, `documents`.
    """
    base = folder / "base"
    base.mkdir()
    shutil.move(trained(folder), base / "run")
    images = write_set(base / "images", 6)
    _stopped(folder / "train-images", base / "stopped")
    program("localise", images, "-m", base / "run", "-o", base / "out", "-q", "--crops")
    _begun(images, base / "run", base / "begun")
    (base / "encoder").mkdir()
    packaged = next(p for p in resources.files("stn_cli.encoders").iterdir() if p.name.endswith(".safetensors"))
    (base / "encoder" / FILE).write_bytes(packaged.read_bytes())
    documents = base / "documents"
    documents.mkdir()
    shutil.copy(base / "out" / "boxes.json", documents)
    for name, value in _json().items():
        (documents / name).write_text(json.dumps(value))
    for name, text in _texts().items():
        (documents / name).write_text(text)
    return base


class _StopTraining(Silent):
    """A reporter that asks a training to stop when its second half begins."""

    def stage(self, name: str, total: int | None) -> None:
        if name.startswith("finetune"):
            os.kill(os.getpid(), signal.SIGTERM)


class _StopLocalising(Silent):
    """A reporter that asks a localising to stop after four images."""

    def __init__(self) -> None:
        self.seen = 0

    def advance(self, count: int = 1, note: str = "") -> None:
        self.seen += count
        if self.seen == 4:
            os.kill(os.getpid(), signal.SIGTERM)


def _stopped(images: Path, run: Path) -> None:
    config = TrainConfig(encoder="gradient", steps=30, finetune=6, imgsz=48, batch=8)
    with suppress(Interrupted):
        train(images, run, config, reporter=_StopTraining())


def _begun(images: Path, run: Path, out: Path) -> None:
    with suppress(Interrupted):
        localise_source(images, run, out, LocaliseOptions(batch=2), reporter=_StopLocalising())


def _json() -> dict[str, Any]:
    boxes = [[5.0, 5.0, 23.0, 23.0], [1.0, 2.0, 9.0, 9.0]]
    images = [{"id": n, "file_name": name, "width": 60, "height": 48} for n, name in enumerate(NAMES, 1)]
    notes = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [5.0, 5.0, 18.0, 18.0], "area": 324.0, "iscrowd": n % 2}
        for n in range(1, 7)
    ]
    objects = [{"id": k, "bbox": [10.0 * k, 5.0, 18.0, 18.0], "score": 0.9, "quad": [[0, 0]] * 4} for k in (1, 2)]
    frames = [{"frame": n, "time": n / 25, "objects": objects} for n in range(8)]
    video = {"file_name": "v.mp4", "width": 60, "height": 48, "fps": 25.0, "frames": 8, "stride": 1}
    return {
        "truth.json": dict.fromkeys(NAMES, boxes),
        "coco.json": {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "object"}]},
        "tracks.json": {"info": {"tool": "stn-coloc"}, "video": video, "frames": frames},
        "one.json": [[10.0, 5.0, 28.0, 23.0]] * 7 + [None],
    }


def _texts() -> dict[str, str]:
    rows = [f"{frame},{track},{10 * track},5,18,18,0.9,-1,-1,-1" for frame in range(1, 9) for track in (1, 2)]
    voc = (
        "<annotation>\n<folder>x</folder>\n<filename>00000.png</filename>\n<size><width>60</width><height>48</height>"
        "<depth>3</depth></size>\n<object><name>thing</name>\n<difficult>0</difficult>\n<bndbox>\n<xmin>6</xmin>\n"
        "<ymin>6</ymin>\n<xmax>23</xmax>\n<ymax>23</ymax>\n</bndbox></object>\n</annotation>\n"
    )
    paths = "".join(f"images/{name}\n" for name in NAMES)  # relative: a path that is cut must not be the whole disk
    return {"tracks.txt": "\n".join(rows) + "\n", "voc.xml": voc, "list.txt": paths}
