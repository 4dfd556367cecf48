"""`boxes.parquet` as a folder of shards: written in any order, gone on with, and read back to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stn_cli.errors import CheckpointError, InputError
from stn_cli.formats.given import read_given
from stn_cli.formats.parquet import ParquetWriter
from stn_cli.formats.parquet_file import is_shards, read_shards
from stn_cli.formats.shards import Outcome, ShardFolder, rows_of
from stn_cli.records import ImageRecord, Localisation, Skipped, corners
from stn_cli.run_lengths import encode_mask

pyarrow = pytest.importorskip("pyarrow")
NAMES = ("cup", "plate")
HEAD = {"model": "a", "batch": 2}


def record(n: int, *scores: float) -> ImageRecord:
    name = f"sub/\x1b{n}.jpg"  # escaped in results
    box = (1 / 3, 2.0, 30.1 + n, 40.0)
    quad = ((0.1, -2.0), (31.0, 0.0), (30.0, 41.0), (0.0, 40.0))
    theta = (0.1, 0.2, 1 / 7, 0.4, 0.5, -0.6)
    return ImageRecord(
        name, 64, 48, tuple(Localisation(name, 64, 48, box, quad, theta, s, None, k) for k, s in enumerate(scores))
    )


ITEMS = [record(0, 0.9, 0.3), Skipped("b.jpg", "truncated"), record(2), record(3, 1 / 3), record(4, 0.5)]


def folder(path: Path, head: dict[str, object] = HEAD) -> ShardFolder:
    from pyarrow import fs

    return ShardFolder(
        fs.LocalFileSystem(), str(path / "boxes.parquet"), {"names": list(NAMES), "source": "/photos"}, dict(head)
    )


def fill(shards: ShardFolder, *chunks: int) -> None:
    for chunk in chunks:
        part = ITEMS[2 * chunk : 2 * chunk + 2]
        shards.add(chunk, rows_of(part, range(2 * chunk, 2 * chunk + len(part)), NAMES), Outcome.of(part))


def test_chunks_come_in_any_order_and_are_read_in_the_sources(tmp_path: Path) -> None:
    shards = folder(tmp_path)
    fill(shards, 2)
    shards.flush()
    fill(shards, 1, 0)
    assert shards.waiting == 4
    shards.flush()
    shards.flush()  # nothing waits
    assert shards.names() == ["part-0000000000.parquet", "part-0000000002.parquet"]
    assert shards.done() == ({0, 1, 2}, Outcome(4, 4, 2, 0, 1))
    assert list(shards.skipped()) == [ITEMS[1]]
    found = read_shards(tmp_path)
    assert found.records == [item for item in ITEMS if isinstance(item, ImageRecord)]
    assert (found.names, found.source) == (NAMES, "/photos")
    given = read_given(tmp_path / "boxes.parquet")
    assert given.records == found.records


def test_shards_of_something_else_are_not_gone_on_with(tmp_path: Path) -> None:
    shards = folder(tmp_path)
    fill(shards, 0)
    shards.flush()
    with pytest.raises(CheckpointError, match=r"made otherwise.*model: 'a', now 'b'"):
        folder(tmp_path, {"model": "b", "batch": 2}).done()
    part = tmp_path / "boxes.parquet" / "part-0000000000.parquet"
    (part.parent / "part-0000000009.parquet").write_bytes(part.read_bytes())
    with pytest.raises(CheckpointError, match="a chunk of images is there twice"):
        shards.done()
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="damaged shard"):
        shards.done()
    with pytest.raises(InputError, match="no Parquet"):
        read_shards(tmp_path)


def test_what_the_local_engine_writes_is_read_too(tmp_path: Path) -> None:
    """It has neither numbers nor thetas."""
    writer = ParquetWriter(tmp_path / "boxes.parquet", NAMES)
    box, mask = (8.0, 6.0, 24.0, 30.0), encode_mask(np.eye(48, 64, dtype=bool), (0, 0), (48, 64))
    plain = Localisation("a.jpg", 64, 48, box, corners(box), (0.25, 0, -0.5, 0, 0.5, -0.25), 0.75, mask, 1)
    records = [ImageRecord("z.jpg", 10, 20, ()), ImageRecord("a.jpg", 64, 48, (plain,))]
    for item in records:
        writer.add(item)
    writer.close()
    assert is_shards(tmp_path / "boxes.parquet")
    assert not is_shards(tmp_path / "boxes.json")
    found = read_shards(tmp_path / "boxes.parquet")
    assert [r.file for r in found.records] == ["z.jpg", "a.jpg"]
    assert found.records[1].objects[0].box == box
    assert found.records[1].objects[0].theta == plain.theta
    assert found.records[1].objects[0].mask == mask
    table = {"file": ["a"], "what": [1]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="not as this tool writes it"):
        read_shards(tmp_path / "other.parquet")
