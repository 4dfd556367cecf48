"""Reading videos: the rows of FAULTS.md on video, and what a stream of frames promises."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from stn_cli.errors import InputError, ResourceError, UsageError
from stn_cli.media import video as module
from stn_cli.media.video import VideoFrame, open_video
from tests.conftest import ROOT
from tests.videos import SIZE, moving, rotated, uneven, write_frames, write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("film") / "a.mp4", moving(24)[0])


def test_frames_of_a_file(film: Path) -> None:
    video = open_video(film)
    assert (video.info.width, video.info.height, video.info.fps, video.info.frames) == (SIZE[1], SIZE[0], 25.0, 24)
    frames = list(video.frames())
    assert [f.index for f in frames] == list(range(24))
    np.testing.assert_allclose([f.time for f in frames], np.arange(24) / 25, atol=1e-3)
    wanted = moving(24)[0]
    for i in (0, 10, 23):  # RGB, and each in its place
        assert np.abs(frames[i].pixels.astype(int) - wanted[i]).mean() < 12
        assert frames[i].pixels.flags.c_contiguous
    assert len(list(video.frames())) == 24  # again
    assert not video.notes


def test_stride_start_and_end(film: Path) -> None:
    video = open_video(film, stride=3, start=0.2, end=0.8)
    assert [f.index for f in video.frames()] == [5, 8, 11, 14, 17]
    assert video.expected == 5
    assert [f.index for f in open_video(film, stride=5).frames(every=2)] == [0, 10, 20]


def test_frames_of_a_folder(tmp_path: Path) -> None:
    frames = moving(7)[0]
    folder = write_frames(tmp_path / "f", frames)
    video = open_video(folder, fps=10)
    read = list(video.frames())
    assert [f.time for f in read] == [i / 10 for i in range(7)]
    assert all(np.array_equal(a.pixels, b) for a, b in zip(read, frames, strict=True))
    assert [f.index for f in open_video(folder, fps=10, stride=2, start=0.15).frames()] == [2, 4, 6]
    assert "25 per second assumed" in open_video(folder).notes[0]


def test_a_folder_with_a_frame_of_another_size(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "f", [*moving(3)[0], np.zeros((40, 40, 3), np.uint8)])
    with pytest.raises(InputError, match="one size"):
        list(open_video(folder).frames())


@pytest.mark.parametrize(
    "content", [b"", b"plain words, no film\n" * 50, bytes(range(256)) * 40, b"\x89PNG\r\n\x1a\n" + b"\0" * 200]
)
def test_fault_50_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError):
        open_video(path)


def test_fault_50_no_such_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_video(tmp_path / "none.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no frames"):
        open_video(tmp_path / "empty")


def test_fault_51_an_mp4_cut_at_half(film: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.mp4"
    path.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with pytest.raises(InputError, match="not a video"):
        open_video(path)


def test_fault_52_an_avi_cut_at_half(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", moving(40)[0], codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = open_video(path)
    count = len(list(video.frames()))
    assert 10 <= count < 30
    assert any("cut off" in note for note in video.notes)


def test_fault_53_rotation_is_applied(tmp_path: Path) -> None:
    frames = moving(5)[0]
    path = write_video(tmp_path / "a.mp4", frames)
    rotated(path)
    video = open_video(path)
    assert (video.info.width, video.info.height) == SIZE
    read = next(iter(video.frames())).pixels
    assert np.abs(read.astype(int) - np.rot90(frames[0], -1)).mean() < 12


def test_fault_54_time_stamps_are_the_containers(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving(12)[0], fps=10)
    uneven(path, 6, 3)
    times = [f.time for f in open_video(path).frames()]
    np.testing.assert_allclose(np.diff(times), [0.1] * 6 + [0.3] * 5, atol=2e-3)


@pytest.mark.parametrize("said", [0.0, float("nan"), 1e6])
def test_fault_55_no_frame_rate(film: Path, said: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real = cv2.VideoCapture

    class Mute:
        def __init__(self, *args: object) -> None:
            self.inner = real(*args)  # type: ignore[call-overload]

        def get(self, what: int) -> float:
            return said if what == cv2.CAP_PROP_FPS else float(self.inner.get(what))

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    monkeypatch.setattr(module.cv2, "VideoCapture", Mute)
    video = open_video(film)
    assert video.info.fps == 25
    assert "25 assumed" in video.notes[0]
    assert open_video(film, fps=5).info.fps == 5


@pytest.mark.parametrize("name", ["concat:a|b.mp4", "rtsp:x.mp4", "a %03d.mp4", "-i.mp4", "ünï[1].mp4", "no extension"])
def test_fault_56_odd_names_are_files(film: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(film.read_bytes())
    assert len(list(open_video(path).frames())) == 24


def test_fault_15_a_name_that_is_not_utf8(film: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.mp4"
    with open(path, "wb") as file:
        file.write(film.read_bytes())
    video = open_video(os.fsdecode(path))
    assert len(list(video.frames())) == 24
    assert video.info.file_name == "%FF%FE.mp4"


def test_a_protocol_is_not_followed() -> None:
    with pytest.raises(InputError, match="no such file"):
        open_video("http://localhost/a.mp4")


def test_fault_57_an_error_in_the_reader_reaches_the_user(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: module.Video, step: int) -> Iterator[VideoFrame]:
        yield VideoFrame(0, 0.0, np.zeros((*SIZE, 3), np.uint8))
        raise RuntimeError("in the thread")

    video = open_video(film)
    monkeypatch.setattr(module.Video, "_read", broken)
    frames = video.frames()
    next(frames)
    with pytest.raises(RuntimeError, match="in the thread"):
        next(frames)


def test_leaving_early_ends_the_thread(film: Path) -> None:
    before = threading.active_count()
    frames = open_video(film).frames()
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_numbers_that_make_no_sense(film: Path) -> None:
    for options in ({"stride": 0}, {"start": 2.0, "end": 1.0}, {"start": -1.0}, {"fps": 0.0}):
        with pytest.raises(UsageError):
            open_video(film, **options)  # type: ignore[arg-type]


def test_grey_and_transparent_frames_become_rgb() -> None:
    grey = np.full((4, 5, 1), 7, np.uint8)
    assert module._rgb(grey).shape == (4, 5, 3)
    bgra = np.zeros((4, 5, 4), np.uint8)
    bgra[..., 0] = 200
    assert module._rgb(bgra)[0, 0].tolist() == [0, 0, 200]


# ---------------------------------------------------------------------- cases from public reports


def encoded(path: Path, codec: str, fps: int, sizes: tuple[tuple[int, int], ...] = ((48, 64),)) -> Path:
    """A video of eight frames of each size, joined."""
    with av.open(str(path), "w") as container:
        for h, w in sizes:
            stream = cast(Any, container.add_stream(codec, rate=fps))
            stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
            for i in range(8):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((h, w, 3), 20 * i, np.uint8), format="rgb24")))
            container.mux(stream.encode(None))
    return path


def pictures(path: Path, count: int, kind: str) -> Path:
    them = [Image.fromarray(np.full((48, 64, 3), (20 * i, 200 - 20 * i, 30), np.uint8)) for i in range(count)]
    more = {"save_all": True, "append_images": them[1:]} if count > 1 else {}
    them[0].save(path, kind, **({"duration": 40} | more if kind not in ("TIFF", "MPO") else more))
    return path


@pytest.mark.parametrize(("kind", "name"), [("GIF", "a.gif"), ("PNG", "a.png"), ("GIF", "a.mp4")])
def test_case_T1_animated_pictures_are_films(kind: str, name: str, tmp_path: Path) -> None:
    frames = list(open_video(pictures(tmp_path / name, 6, kind)).frames())
    np.testing.assert_allclose([f.time for f in frames], np.arange(6) * 0.04, atol=1e-3)
    for i, frame in enumerate(frames):
        assert np.abs(frame.pixels.astype(int) - (20 * i, 200 - 20 * i, 30)).max() < 12


@pytest.mark.parametrize(
    ("kind", "count", "said"),
    [
        ("GIF", 1, r"an image\)\. Name a folder of frames"),
        ("PNG", 1, "an image"),
        ("JPEG", 1, "an image"),
        ("TIFF", 3, "a TIFF of 3 pages"),
        ("MPO", 2, "not animated, a stereo photo"),
        ("WEBP", 3, "an animated WEBP, which is not decoded here.*Convert it"),
    ],
)
def test_case_T1_pictures_are_called_what_they_are(kind: str, count: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        open_video(pictures(tmp_path / "a.bin", count, kind))


def test_case_T1_a_codec_without_a_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AV1 where OpenCV brings none: a capture that opens, says AV01 and gives nothing."""

    class Mute:
        def __init__(self, *_: object) -> None: ...
        def isOpened(self) -> bool:
            return True

        def read(self) -> tuple[bool, None]:
            return False, None

        def get(self, what: int) -> float:
            return float(int.from_bytes(b"AV01", "little")) if what == cv2.CAP_PROP_FOURCC else 0.0

        def release(self) -> None: ...

    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(range(256)))
    monkeypatch.setattr(module.cv2, "VideoCapture", Mute)
    with pytest.raises(InputError, match=r"AV1, for which OpenCV has no decoder here.*Convert it"):
        open_video(path)


def test_case_T1_real_av1_is_decoded_or_named(tmp_path: Path) -> None:
    """The encoder makes the process of a superuser a real-time one, before which nothing else has a core any more: it has one of its own."""
    path = tmp_path / "a.mp4"
    code = "import sys; from pathlib import Path; from tests.media.test_video import encoded; encoded(Path(sys.argv[1]), 'libsvtav1', 25)"
    if subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("no encoder for AV1 here")
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
    try:
        assert len(list(open_video(path).frames())) == 8
    except InputError as error:
        assert "AV1, for which OpenCV has no decoder here" in str(error)  # noqa: PT017 -- either is right


@pytest.mark.parametrize(("said", "taken"), [(1000, 1000), (240, 240), (2000, 25)])
def test_case_T1_a_thousand_frames_a_second(said: int, taken: int, tmp_path: Path) -> None:
    video = open_video(encoded(tmp_path / "a.mkv", "libx264", said))
    assert video.info.fps == taken
    assert any("assumed" in note for note in video.notes) == (said != taken)


def test_case_T1_links_to_nowhere_and_pointers(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(tmp_path / "gone.mp4")
    with pytest.raises(InputError, match="a link to nowhere"):
        open_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match=r"a Git LFS pointer.*git lfs pull"):
        open_video(tmp_path / "b.mp4")


def test_a_film_that_changes_its_size_on_the_way(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._rgb
    calls: list[int] = []

    def changing(pixels: Any) -> Any:
        calls.append(1)
        return real(pixels if len(calls) < 12 else pixels[:60, :80])

    monkeypatch.setattr(module, "_rgb", changing)
    video = open_video(film)
    assert {f.pixels.shape for f in video.frames()} == {(*SIZE, 3)}
    assert [n for n in video.notes if "frames of several sizes" in n]


@pytest.mark.parametrize("way", ["symlink", "link", "none"])
def test_case_L_without_the_right_to_make_links(way: str, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain names need none; others take a hard one, or say what to do."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    odd = tmp_path / "concat:a|b.mp4"
    odd.write_bytes(film.read_bytes())
    if way != "symlink":
        monkeypatch.setattr(os, "symlink", refused)
    if way == "none":
        monkeypatch.setattr(os, "link", refused)
        with pytest.raises(ResourceError, match="Rename it") as caught:
            open_video(odd)
        assert caught.value.exit_code == 7
    else:
        assert len(list(open_video(odd).frames())) == 24
    monkeypatch.setattr(os, "link", refused)
    assert len(list(open_video(film).frames())) == 24


def test_no_frame_between_start_and_end(film: Path, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "f", moving(3)[0])
    for source in (film, folder):
        with pytest.raises(InputError, match=r"no frame between --start and --end.*50 to 60 s"):
            list(open_video(source, start=50, end=60).frames())


def test_an_end_beyond_all_times_is_the_end(film: Path) -> None:
    video = open_video(film, end=1e300)
    assert video.expected == 24
    assert len(list(video.frames())) == 24


def test_case_T2_frames_that_the_shell_listed(tmp_path: Path) -> None:
    frames = moving(4)[0]
    folder = write_frames(tmp_path / "clip", frames)
    video = open_video([folder / f"{i:05d}.png" for i in (2, 0, 3)], fps=10)
    assert (video.info.file_name, video.info.frames) == ("clip", 3)
    assert all(np.array_equal(f.pixels, frames[i]) for f, i in zip(video.frames(), (2, 0, 3), strict=True))


def test_case_T2_several_videos_are_refused(film: Path) -> None:
    with pytest.raises(UsageError, match=r"one video at a time.*3 paths were named"):
        open_video([film, film, film])
    assert open_video([film]).info.frames == 24
