"""Decoded images in a nameless file: what is written is read, memory stays flat, a full disk is one clear line."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from stn_cli.errors import OutputError
from stn_cli.media import rows
from stn_cli.media.cache import build_cache
from stn_cli.media.rows import Rows, make_rows
from stn_cli.media.scan import scan
from tests.conftest import make_folder

CPU = torch.device("cpu")


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (7, 5, 5, 3), np.uint8)
    kept = Rows(tmp_path, pictures.shape)
    for i in reversed(range(7)):
        kept[i] = pictures[i]
    assert np.array_equal(kept[np.array([6, 0, 6])], pictures[[6, 0, 6]])
    assert all(np.array_equal(a, b) for a, b in zip(kept, pictures, strict=True))
    assert kept.nbytes == pictures.nbytes
    short = kept.shortened(3)
    assert len(list(short)) == 3
    for wrong in (3, -1):
        with pytest.raises(IndexError):
            short[wrong]
        with pytest.raises(IndexError):
            short[wrong] = pictures[0]


@pytest.mark.skipif(os.name == "nt", reason="a file there has a name until it is closed")
def test_the_file_has_no_name(tmp_path: Path) -> None:
    kept = make_rows(tmp_path, (1000, 200, 200, 3))
    assert isinstance(kept, Rows)
    assert not list(tmp_path.iterdir())
    kept[999] = np.full((200, 200, 3), 7, np.uint8)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_nothing_is_left_by_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from stn_cli.media.rows import Rows\n"
        f"kept = Rows(pathlib.Path({str(tmp_path)!r}), (100, 64, 64, 3)); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert not list(tmp_path.iterdir())


def test_few_are_kept_in_memory(tmp_path: Path) -> None:
    assert isinstance(make_rows(tmp_path, (10, 8, 8, 3)), np.ndarray)
    assert isinstance(make_rows(None, (10**6, 8, 8, 3)), np.ndarray)


def test_memory_is_flat_in_the_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding, reducing, comparing and drawing batches hold a few images at a time, never a copy of all."""
    monkeypatch.setattr(rows, "IN_MEMORY", 1 << 16)
    make_folder(tmp_path, 4)
    files = scan(tmp_path / "images").images
    peaks = {}
    for count in (40, 400):
        many = [files[i % 4] for i in range(count)]
        tracemalloc.start()
        cache = build_cache(many, 60, tmp_path, workers=1)
        small = cache.reduced(48)
        assert not cache.alike()
        for part in torch.arange(count).split(8):
            cache.batch(part, CPU)
            small.batch(part, CPU)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(small.pixels, Rows)
        assert len(small) == count
    assert peaks[400] < 1.5 * peaks[40] + 400 * 1000  # a kilobyte for each image's name and frame; its pixels are eleven


def test_a_file_gives_the_same_images_as_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, 6)
    (tmp_path / "images/001.png").write_bytes(b"")
    files = scan(tmp_path / "images").images
    plain = build_cache(files, 60, tmp_path)
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    kept = build_cache(files, 60, tmp_path)
    assert isinstance(kept.pixels, Rows)
    assert plain.names == kept.names
    index = torch.tensor([4, 0, 2])
    assert torch.equal(plain.batch(index, CPU), kept.batch(index, CPU))
    assert torch.equal(plain.reduced(32).batch(index, CPU), kept.reduced(32).batch(index, CPU))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_full_disk_is_known_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if at_once:
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    else:
        monkeypatch.setattr(rows, "reserve", full)
    with pytest.raises(OutputError, match=r"no room for 0\.0 GB of decoded images: .*No space left.*Free some space") as caught:
        Rows(tmp_path, (4, 8, 8, 3))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("system", ["no such call", "a file system that cannot"])
def test_room_is_taken_where_the_system_cannot_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """macOS and Windows have no such call, some file systems do not know it."""

    def unknown(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "")

    if system == "no such call":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    with (tmp_path / "x").open("wb") as file:
        rows.reserve(file, rows.ZEROS + 5)
    assert (tmp_path / "x").stat().st_size == rows.ZEROS + 5


def test_an_error_of_the_disk_while_reading_is_an_output_error(tmp_path: Path) -> None:
    kept = Rows(tmp_path, (4, 8, 8, 3))
    kept._file.truncate(10)
    with pytest.raises(OutputError, match="cannot keep the decoded images"):
        kept[2]
