"""Files and memory are bounded before anything is read or decoded."""

from __future__ import annotations

import io
import os
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stn_cli.media import budget, decode
from stn_cli.media.budget import Budget
from stn_cli.media.cache import load_letterbox
from stn_cli.media.decode import Unusable, decoded, load, read_bytes, read_header, working_bytes
from stn_cli.media.header import most_bytes
from stn_cli.media.scan import ImageFile, scan
from stn_cli.records import Skipped
from tests.conftest import make_image, write_image


class Watched:
    """Counts who holds a budget at the same time, and how much."""

    def __init__(self, total: int) -> None:
        self.budget = Budget(total)
        self.lock = threading.Lock()
        self.now = self.bytes = self.most = self.most_bytes = 0

    def take(self, amount: int) -> None:
        with self.budget.hold(amount):
            with self.lock:
                self.now, self.bytes = self.now + 1, self.bytes + amount
                self.most, self.most_bytes = max(self.most, self.now), max(self.most_bytes, self.bytes)
            time.sleep(0.002)
            with self.lock:
                self.now, self.bytes = self.now - 1, self.bytes - amount


# how many bytes each of forty threads' turns wants of a hundred, how many may run at once
WANTS = [(10, 8), (30, 3), (60, 1), (100, 1), (500, 1)]


@pytest.mark.parametrize(("amount", "most"), WANTS)
def test_threads_share_the_budget(amount: int, most: int) -> None:
    watched = Watched(100)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(watched.take, [amount] * 40))
    assert watched.most <= most
    assert watched.most > 1 or most == 1
    assert watched.most_bytes <= max(100, amount)


def test_mixed_wants_never_block_each_other_for_ever() -> None:
    """A large picture goes alone, and is not passed for ever by small ones."""
    watched = Watched(100)
    wants = [int(v) for v in np.random.default_rng(0).choice([1, 20, 50, 99, 150, 10**12], 300)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(watched.take, wants, timeout=30))
    assert watched.budget.hold(100).__enter__() is None  # all was given back


def test_an_error_gives_the_bytes_back() -> None:
    small = Budget(10)
    for _ in range(3):
        with pytest.raises(ValueError), small.hold(10):
            raise ValueError
    with small.hold(10):
        pass


def test_large_pictures_of_few_bytes_are_decoded_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight 15,800 x 15,800 PNGs of 240 kB took 12 GB; here 1,000 x 1,000 and a budget for one and a half of them."""
    Image.new("1", (1000, 1000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 2_000
    running, most = 0, 0
    real, lock = decode.raster, threading.Lock()

    def slow(*arguments: object) -> object:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        try:
            return real(*arguments)  # type: ignore[arg-type]
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(decode, "raster", slow)
    file = ImageFile(str(tmp_path / "a.png"), "a.png")
    for total, allowed in ((18_000_000, 1), (50_000_000, 4)):
        small = Budget(total)
        monkeypatch.setattr(budget, "shared", lambda small=small: small)
        most = 0
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: load_letterbox(file, 48), range(16)))
        assert 1 <= most <= allowed
        assert most > 1 or allowed == 1


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", "RGB"), ("PNG", "L"), ("PNG", "1"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "LA"), ("JPEG", "RGB"), ("JPEG", "CMYK"),
     ("TIFF", "RGB"), ("TIFF", "L"), ("BMP", "RGB"), ("GIF", "P"), ("WEBP", "RGB"), ("JPEG2000", "RGB"), ("PPM", "RGB"), ("PNG", "I;16")],
)  # fmt: skip
def test_what_decoding_takes_is_no_more_than_is_asked_for(form: str, mode: str) -> None:
    """The peak that Python and NumPy know of; the decoders' own memory is in `docs/reliability.md`."""
    import tracemalloc

    size = (1200, 1000)
    image = Image.new(mode, size) if mode in ("I;16", "1") else Image.new("RGB", size, (200, 40, 90)).convert(mode)
    out = io.BytesIO()
    image.save(out, form)
    header = read_header(out.getvalue())
    tracemalloc.start()
    decode.decode(out.getvalue(), header)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= working_bytes(header) + 4_000_000


def test_a_jpeg_that_is_reduced_asks_for_less() -> None:
    out = io.BytesIO()
    Image.new("RGB", (4000, 3000)).save(out, "JPEG")
    header = read_header(out.getvalue())
    assert working_bytes(header, 128) * 50 < working_bytes(header)
    out = io.BytesIO()
    Image.new("RGB", (4000, 3000)).save(out, "JPEG", progressive=True)
    assert working_bytes(read_header(out.getvalue()), 128) > 4000 * 3000 * 6  # all its coefficients


def test_the_shared_budget_is_bounded() -> None:
    assert budget.LEAST <= budget.shared().total <= budget.MOST
    assert budget.free_memory() > 1 << 20


# ---- files


def test_a_sparse_file_of_50_gb_is_skipped_at_once(tmp_path: Path) -> None:
    """It ended in a MemoryError, or in the machine's end."""
    for name in ("a.jpg", "no_extension"):
        with open(tmp_path / name, "wb") as file:
            file.write(b"\xff\xd8\xff\xe0")
            file.truncate(50 << 30)
    found = scan(tmp_path)
    assert len(found.images) == 2
    out = load_letterbox(found.images[0], 48)
    assert isinstance(out, Skipped)
    assert out.reason == f"too large: {50 << 30:,} bytes, at most {most_bytes():,}"
    with pytest.raises(Unusable, match="too large"):
        load(tmp_path / "no_extension")


def test_a_sparse_file_below_the_bound_is_not_read_when_it_is_no_image(tmp_path: Path) -> None:
    with open(tmp_path / "a.jpg", "wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(Unusable, match="not an image"):
            load(tmp_path / "a.jpg")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_fewer_pixels_allow_smaller_files(tmp_path: Path) -> None:
    with open(tmp_path / "a.jpg", "wb") as file:
        file.truncate(300 << 20)
    with pytest.raises(Unusable, match=r"too large: [\d,]+ bytes"):
        load(tmp_path / "a.jpg", max_pixels=1_000_000)


@pytest.mark.parametrize("name", ["a.png", "no_extension"])
def test_20_a_file_that_became_a_pipe_after_the_scan(tmp_path: Path, name: str) -> None:
    """Opening it waited for ever."""
    write_image(tmp_path / "a.png", make_image(0)[0]).rename(tmp_path / name)
    (file,) = scan(tmp_path).images
    os.unlink(file.path)
    os.mkfifo(file.path)
    for read in (lambda: read_bytes(file.path), lambda: load(file.path), lambda: decoded(file.path).__enter__()):
        done = ThreadPoolExecutor(1).submit(read)
        with pytest.raises(Unusable, match="not a regular file"):
            done.result(timeout=5)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/tty", "/proc/self/mem", "/"])
def test_20_devices_are_not_read(path: str) -> None:
    with pytest.raises(Unusable, match=r"not a regular file|unreadable|empty|vanished"):
        read_bytes(path)


def test_20_a_name_with_a_nul_byte() -> None:
    with pytest.raises(Unusable, match="NUL"):
        read_bytes("a\0b.png")


def test_4_a_cut_file_whose_header_is_read_first(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", make_image(0, size=(1500, 1500))[0])
    data = path.read_bytes()
    assert len(data) // 2 > decode.AT_ONCE
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(Unusable, match="truncated"):
        load(path)
