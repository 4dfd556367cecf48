"""What commands hold of an image does not grow beyond what a million images may take: bytes an image, from a set and one of twice its size."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stn_cli.coloc.model.localiser import Localiser
from stn_cli.data_sets.options import ExportOptions
from stn_cli.evaluate import read_truth, score_boxes
from stn_cli.formats import json_rows
from stn_cli.formats.coco import CocoWriter
from stn_cli.formats.given import read_given
from stn_cli.formats.shards import Outcome, ShardFolder, rows_of
from stn_cli.jobs.export import export_boxes
from stn_cli.jobs.localise import localise_source
from stn_cli.media.scan import ImageFile, scan
from stn_cli.records import ImageRecord, Localisation, corners

FEW = 400
MOST = 1000
"""Bytes an image: a million of them are 1 GB, beside what a process takes in any case."""


def names(count: int) -> list[str]:
    return [f"{n // 500:04d}/{n:07d}.jpg" for n in range(count)]


def records(count: int) -> list[ImageRecord]:
    rng, out = np.random.default_rng(0), []
    for name in names(count):
        x, y, *theta = rng.random(8).tolist()
        box = (100 * x, 100 * y, 100 * x + 50.5, 100 * y + 40.25)
        quad = tuple((a + 0.5, b) for a, b in corners(box))
        found = Localisation(name, 640, 480, box, quad, tuple(theta), x)  # type: ignore[arg-type]
        out.append(ImageRecord(name, 640, 480, (found,)))
    return out


def boxes(path: Path, count: int) -> Path:
    writer = CocoWriter(path, {"tool": "stn-coloc"})
    for record in records(count):
        writer.add(record)
    writer.close()
    return path


def an_image(work: Callable[[int], object], few: int = FEW) -> float:
    """Bytes that the work takes at its peak for each further image."""
    peaks = []
    for count in (few, few, 2 * few):  # the first time modules are loaded
        gc.collect()
        tracemalloc.start()
        work(count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return (peaks[2] - peaks[1]) / few


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a file that is read at once is small beside these files, as it is beside those of a million images."""
    monkeypatch.setattr(json_rows, "CHUNK", 1 << 12)


@pytest.mark.parametrize("form", ["plain", "coco", "below another folder"])
def test_evaluate(tmp_path: Path, form: str) -> None:
    for count in (FEW, 2 * FEW):
        boxes(tmp_path / f"{count}.json", count)
        above = "set/" if form == "below another folder" else ""
        rows = {above + record.file: [record.objects[0].box] for record in records(count)}
        (tmp_path / f"{count}.truth.json").write_text(json.dumps(rows))

    def work(count: int) -> None:
        truth = tmp_path / (f"{count}.json" if form == "coco" else f"{count}.truth.json")
        result = score_boxes(tmp_path / f"{count}.json", truth)
        assert (result.corloc, len(result.images), result.without_truth) == (100, count, 0)

    assert an_image(work) < MOST


def test_a_category_of_the_truth(tmp_path: Path) -> None:
    for count in (FEW, 2 * FEW):
        boxes(tmp_path / f"{count}.json", count)
    assert an_image(lambda count: read_truth(tmp_path / f"{count}.json", "object")) < MOST


def test_export(tmp_path: Path) -> None:
    for count in (FEW, 2 * FEW):
        boxes(tmp_path / f"{count}.json", count)
    options = ExportOptions("csv", (0.8, 0.2), group_by="folder")

    def work(count: int) -> None:
        summary = export_boxes(tmp_path / f"{count}.json", tmp_path / "out", options, overwrite=True)
        assert (sum(summary.images.values()), summary.objects) == (count, count)

    assert an_image(work) < MOST


def test_shards(tmp_path: Path) -> None:
    from pyarrow import fs

    for count in (FEW, 2 * FEW):
        shards = ShardFolder(fs.LocalFileSystem(), str(tmp_path / f"{count}/boxes.parquet"), {"names": ["object"]}, {})
        made = records(count)
        shards.add(0, rows_of(made, list(range(count)), ("object",)), Outcome.of(made))
        shards.flush()
    import stn_cli.formats.parquet_file as parquet_file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_file, "ROWS_AT_ONCE", 100)
        assert an_image(lambda count: read_given(tmp_path / str(count))) < MOST


def test_localise_lists_what_it_looks_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the finding itself, whose images pass one by one."""
    for count in (FEW, 2 * FEW):
        for name in names(count):
            path = tmp_path / str(count) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model.safetensors").touch()

    def found(files: Sequence[ImageFile], **_: Any) -> Any:
        return (ImageRecord(file.name, 64, 48, ()) for file in files)

    stub = SimpleNamespace(run=tmp_path / "run", parts=[None], localise_files=found, way=dict)
    monkeypatch.setattr(Localiser, "load", lambda *_: stub)

    def work(count: int) -> None:
        done = localise_source(tmp_path / str(count), tmp_path / "run", tmp_path / "out", overwrite=True)
        assert done.images == count

    assert an_image(work) < MOST
    assert an_image(lambda count: scan(tmp_path / str(count))) < MOST / 2
