"""The annotated video: what plays it, and what a full disk leaves of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO

import av
import cv2
import numpy as np
import pytest

import stn_cli.report.film as module
from stn_cli.errors import OutputError
from stn_cli.records import TrackedFrame, TrackedObject, corners
from stn_cli.report.artist import Artist, track_colour
from stn_cli.report.film import ENCODINGS, Encoding, Film, pick_encoding

SIZE = (120, 160)
RED = (220, 30, 20)


def filmed(folder: Path, size: tuple[int, int], fps: float, count: int = 8) -> Path:
    """A red film with a white square that moves."""
    with Film(folder / "video", pick_encoding(size, fps), size, fps) as film:
        for i in range(count):
            frame = np.full((*size, 3), RED, np.uint8)
            frame[:4, i : i + 4] = 255
            film.add(frame)
    return film.path


@pytest.mark.parametrize(
    ("size", "fps", "wanted", "rate"),
    [
        ((120, 160), 25.0, (120, 160), 25),
        ((121, 161), 29.97, (122, 162), 29.97),  # H.264 in 4:2:0 has no odd sizes: the last row and column are there twice
        ((10, 11), 1e-9, (10, 12), 1e-3),
        ((48, 64), 1e7, (48, 64), 1000),
        ((90, 9000), 25.0, (82, 8192), 25),  # reduced: players end at 8,192
    ],
)
def test_case_Y_browsers_play_it(
    size: tuple[int, int], fps: float, wanted: tuple[int, int], rate: float, tmp_path: Path
) -> None:
    path = filmed(tmp_path, size, fps)
    assert path.name == "video.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.height, stream.width) == wanted
        assert float(stream.average_rate or 0) == pytest.approx(rate, rel=1e-4)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # it begins to play before all of it is there
    assert len(frames) == 8
    assert np.abs(frames[5][-1, :].astype(int) - RED).max() < 12
    read = cv2.VideoCapture(str(path))
    assert read.get(cv2.CAP_PROP_FRAME_COUNT) == 8


def test_case_Y_without_an_h264_encoder_it_is_webm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Encoding("h264_of_nobody", "mp4", {})
    monkeypatch.setattr(module, "ENCODINGS", (missing, *(e for e in ENCODINGS if e.container == "webm")))
    path = filmed(tmp_path, (121, 160), 25.0)
    assert path.name == "video.webm"
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "vp8"
        assert len(list(container.decode(video=0))) == 8


def test_fault_28_a_video_writer_that_cannot_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENCODINGS", (Encoding("nothing", "mp4", {}), Encoding("libx264", "nothing", {})))
    with pytest.raises(OutputError, match=r"cannot write a video.*nothing.*Leave --video out") as caught:
        pick_encoding(SIZE, 25.0)
    assert caught.value.exit_code == 4


def test_a_film_that_cannot_begin_closes_and_removes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[IO[bytes]] = []

    def refuses(file: IO[bytes], *_: object) -> None:
        opened.append(file)
        raise OSError("no such encoder")

    monkeypatch.setattr(module, "_Stream", refuses)
    with pytest.raises(OutputError, match="no such encoder"):
        Film(tmp_path / "video", ENCODINGS[0], SIZE, 25.0)
    assert opened[0].closed
    assert not any(tmp_path.iterdir())


def test_an_error_leaves_no_half_of_a_video(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a frame of 3 x 3"), Film(tmp_path / "v", pick_encoding(SIZE, 25), SIZE, 25) as film:
        film.add(np.zeros((*SIZE, 3), np.uint8))
        film.add(np.zeros((3, 3, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="cannot write"):
        Film(tmp_path / "none" / "v", pick_encoding(SIZE, 25), SIZE, 25)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_fault_27_a_disk_that_is_full_at_any_moment_is_said(tmp_path: Path) -> None:
    """At each limit the film is whole or there is none, and an error."""
    program = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from stn_cli.errors import OutputError
from stn_cli.report.film import Film, pick_encoding
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
frames = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), np.uint8)
encoding = pick_encoding((64, 64), 25)
for limit in (0, 20, 40, 1000, 30_000, 60_000, int(sys.argv[2]) - 1, int(sys.argv[2])):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    path = Path(sys.argv[1]) / str(limit)
    try:
        with Film(path, encoding, (64, 64), 25) as film:
            for frame in frames:
                film.add(frame)
        print(limit, "whole", film.path.stat().st_size)
        film.path.unlink()
    except OutputError as error:
        print(limit, error.exit_code, error.why)
"""
    frames = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), np.uint8)
    with Film(tmp_path / "all", pick_encoding((64, 64), 25), (64, 64), 25) as film:
        for frame in frames:
            film.add(frame)
    size = film.path.stat().st_size
    film.path.unlink()
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path), str(size)], capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert said[:-1] == [f"{limit} 4 File too large" for limit in (0, 20, 40, 1000, 30_000, 60_000, size - 1)], done.stderr
    assert said[-1] == f"{size} whole {size}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("seconds", [0, 1, 10])
def test_fault_27_a_film_that_is_thrown_away_on_a_full_disk_prints_nothing(seconds: int, tmp_path: Path) -> None:
    """The crops beside it had the last room: PyAV, which ends the file, can neither write nor seek, and would print tracebacks."""
    program = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from stn_cli.errors import OutputError
from stn_cli.report.film import Film, pick_encoding
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
encoding = pick_encoding((64, 64), 25)
frames = np.random.default_rng(0).integers(0, 90, (25, 64, 64, 3), np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    with Film(Path(sys.argv[1]) / "v", encoding, (64, 64), 25) as film:
        for n in range(max(3, 25 * int(sys.argv[2]))):
            film.add(frames[0] if int(sys.argv[2]) < 10 else frames[n % 25])
        raise OutputError("cannot write", "crops/1/000045.jpg")
except OutputError as error:
    print(error.what)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path), str(seconds)], capture_output=True, text=True)
    assert done.stdout == "cannot write\n", done.stderr
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_drawings_mark_what_was_put_in_and_trails_do_not_cross_gaps() -> None:
    artist = Artist()
    plain = np.zeros((*SIZE, 3), np.uint8)
    first = artist.draw(plain, TrackedFrame(0, 0.0, (TrackedObject(1, (10, 40, 30, 60), 0.9, corners((10, 40, 30, 60))),)))
    assert first.any()
    assert not plain.any()
    artist.draw(plain, TrackedFrame(1, 0.04, ()))
    last = artist.draw(plain, TrackedFrame(2, 0.08, (TrackedObject(1, (110, 40, 130, 60), 0.9, corners((110, 40, 130, 60))),)))
    assert not last[48:52, 50:90].any()
    assert len({track_colour(i) for i in range(1, 30)}) == 29
