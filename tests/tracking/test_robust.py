"""`track` under signals, full disks, folders that hold more than results, and values that make no sense."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import stn_cli.jobs.track as module
from stn_cli.errors import Interrupted, OutputError, ResourceError
from stn_cli.formats.mot import read_mot
from stn_cli.formats.tracks import TracksStream, read_tracks
from stn_cli.jobs.track import TrackOptions, track_source
from stn_cli.media.ahead import ahead
from stn_cli.media.video import VideoFrame
from stn_cli.records import TrackedFrame
from stn_cli.report import screen
from stn_cli.runtime.progress import Silent
from stn_cli.tracking.aside import Aside
from stn_cli.tracking.session import Session, Shown
from tests.videos import ground, moving, paint, write_frames, write_video

Call = Callable[..., tuple[int, str, str]]
COUNT = 16
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of another kind")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("film") / "disc.mp4", moving(COUNT)[0])


@pytest.fixture(scope="module")
def box() -> tuple[float, float, float, float]:
    first = moving(1)[1][0]
    assert first is not None
    return first


def init_of(box: tuple[float, float, float, float]) -> str:
    x1, y1, x2, y2 = box
    return f"{x1:g},{y1:g},{x2 - x1:g},{y2 - y1:g}"


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---------------------------------------------------------------------- what was there before


def test_sources_are_never_taken_for_results(film: Path, tmp_path: Path, cli: Call) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "video.mp4").write_bytes(film.read_bytes())
    frames = write_frames(tmp_path / "clip" / "frames", moving(4)[0])
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "video.mp4").symlink_to(tmp_path / "v" / "video.mp4")
    before = content(tmp_path)
    for source, out in (
        (tmp_path / "v" / "video.mp4", tmp_path / "v"),
        (linked / "video.mp4", tmp_path / "v"),
        (frames, tmp_path / "clip"),
        (frames, frames),
        (frames, frames / "out"),
    ):
        for _ in range(2):  # the first call once planted what the second one took for its own
            code, _, said = cli("track", source, "-o", out, "--overwrite", "--video", "--init", "10,10,30,30", "-q")
            assert (code, len(said.splitlines())) == (4, 1), said
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (["-m", "typo"], 5),
        (["--encoder", "typo"], 2),
        (["--device", "cuda:99"], 7),
        (["--init", "900,900,5,5"], 2),
        (["--init", "1,1,20,20@400"], 3),
        (["--start", "900"], 3),
        (["--show", "--init", "1,1,20,20"], 7),
    ],
)
def test_a_call_that_fails_leaves_earlier_results(
    film: Path,
    box: tuple[float, float, float, float],
    wrong: list[str],
    code: int,
    tmp_path: Path,
    cli: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "has_screen", lambda: False)
    out = tmp_path / "out"
    assert cli("track", film, "-o", out, "--init", init_of(box), "--end", "0.2", "--crops", "-q")[0] == 0
    (out / "mine.txt").write_text("a person's")
    before = content(out)
    assert len(before) > 4
    assert cli("track", film, "-o", out, "--overwrite", "-q", *wrong)[0] == code
    assert content(out) == before


def test_no_encoder_for_the_video_is_said_before_anything_is_touched(
    film: Path, box: tuple[float, float, float, float], tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stn_cli.report.film.ENCODINGS", ())
    assert cli("track", film, "-o", tmp_path / "o", "--init", init_of(box), "--video", "-q")[0] == 4
    assert not (tmp_path / "o").exists()


def test_case_V_after_a_wrong_init_the_same_command_works(
    film: Path, box: tuple[float, float, float, float], tmp_path: Path, cli: Call
) -> None:
    out = tmp_path / "o"
    assert cli("track", film, "-o", out, "--init", "900,900,5,5", "-q")[0] == 2
    assert cli("track", film, "-o", out, "--init", init_of(box) + "@400", "-q")[0] == 3
    assert cli("track", film, "-o", out, "--init", init_of(box), "-q")[0] == 0


# ---------------------------------------------------------------------- signals


class Signals(Silent):
    """Sends a signal to this process at a step of a stage."""

    def __init__(self, stage: str, step: int) -> None:
        self.wanted, self.left, self.now = stage, step, ""

    def stage(self, name: str, total: int | None) -> None:
        self.now = name

    def advance(self, count: int = 1, note: str = "") -> None:
        if self.now == self.wanted:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGINT)


def two(folder: Path) -> Path:
    frames = []
    for i in range(12):
        frame = ground()
        paint(frame, 25 + 4 * i, 30)
        paint(frame, 135 - 4 * i, 90)
        frames.append(frame)
    return write_frames(folder, frames)


@posix
@pytest.mark.parametrize("options", [{}, {"objects": 2}, {"objects": 2, "init": (11, 16, 39, 44)}])
def test_a_signal_while_the_objects_are_learnt(options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="Nothing was tracked yet") as caught:
        track_source(two(tmp_path / "f"), tmp_path / "o", TrackOptions(**options), reporter=Signals("learn", 1))  # type: ignore[arg-type]
    assert caught.value.exit_code == 130
    assert not (tmp_path / "o").exists()


@posix
def test_a_signal_while_frames_are_followed_keeps_them(
    film: Path, box: tuple[float, float, float, float], tmp_path: Path
) -> None:
    out, options = tmp_path / "o", TrackOptions(init=box, crops=True)
    with pytest.raises(Interrupted, match=r"frames? is in"):
        track_source(film, out, options, reporter=Signals("track", 5))
    assert 5 <= len(read_tracks(out / "tracks.json").frames) < COUNT
    assert len(read_mot(out / "tracks.txt")) >= 5
    assert not read_tracks(out / "tracks.json").complete
    assert sorted(p.name for p in out.iterdir()) == [".stn-coloc", "tracks.json", "tracks.txt"]
    track_source(film, out, options, overwrite=True)
    whole = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(Interrupted, match="the earlier results are as they were"):  # a part is no substitute for the whole
        track_source(film, out, options, overwrite=True, reporter=Signals("track", 5))
    assert 5 <= len(read_tracks(out / "unfinished" / "tracks.json").frames) < COUNT
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and "unfinished" not in p.parts} == whole
    assert read_tracks(out / "tracks.json").complete
    assert not read_tracks(out / "unfinished" / "tracks.json").complete


@posix
def test_one_frame_that_was_seen_is_said_in_good_english(
    film: Path, box: tuple[float, float, float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(session: Session, work: Path) -> Iterator[Shown]:
        yield TrackedFrame(0, 0.0, ()), None
        os.kill(os.getpid(), signal.SIGINT)
        session.stop.check()

    monkeypatch.setattr(module, "follow_one", one)
    with pytest.raises(Interrupted, match="What was seen in 1 frame is in"):
        track_source(film, tmp_path / "o", TrackOptions(init=box))


@posix
def test_a_signal_while_the_way_back_is_followed_keeps_what_was_reached(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = Aside.__getitem__, [6]

    def read(self: Aside, place: int) -> VideoFrame:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, place)

    monkeypatch.setattr(Aside, "__getitem__", read)
    last = moving(COUNT)[1][-1]
    with pytest.raises(Interrupted) as caught:
        track_source(film, tmp_path / "o", TrackOptions(init=last, init_frame=COUNT - 1))
    assert caught.value.exit_code == 143
    frames = read_tracks(tmp_path / "o" / "tracks.json").frames
    assert [f.frame for f in frames] == list(range(COUNT - 1 - 5, COUNT))


@posix
def test_a_signal_while_pictures_are_made_leaves_none_of_them(
    film: Path, box: tuple[float, float, float, float], tmp_path: Path
) -> None:
    options = TrackOptions(init=box, crops=True, video=True, formats=("coco", "csv"))
    with pytest.raises(Interrupted):
        track_source(film, tmp_path / "o", options, reporter=Signals("draw", 4))
    assert len(read_tracks(tmp_path / "o" / "tracks.json").frames) == COUNT
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == [".stn-coloc", "tracks.csv", "tracks.json", "tracks.txt"]


STALLED = """
import sys, threading, time
import cv2, numpy as np
sys.path.insert(0, sys.argv[3])
from tests.videos import moving
frames, boxes = moving(8)
last = int(sys.argv[1])

class Camera:
    def __init__(self, *_):
        self.given = 0
    def isOpened(self):
        return True
    def read(self):
        return self.grab(), frames[0]
    def grab(self):
        if self.given == last:
            print("stalled", flush=True)
            threading.Event().wait()
        self.given += 1
        return True
    def retrieve(self, image=None):
        return True, frames[self.given - 1][..., ::-1].copy()
    def get(self, _):
        return 0.0
    def release(self):
        pass

cv2.VideoCapture = Camera
from stn_cli.cli import app
sys.argv[1:] = ["track", "0", "--init", "106,46,28,28", "-q", "-o", sys.argv[2]]
app.main()
"""


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("given", [0, 5])
def test_a_stalled_camera_ends_with_the_first_signal(given: int, number: int, code: int, tmp_path: Path) -> None:
    """Before the first frame, and on the way: what was seen is written, as that is how a camera ends."""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", STALLED, str(given), str(tmp_path / "o"), root]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "stalled\n"
    written, end = tmp_path / "o/unfinished/tracks.json", time.monotonic() + 60
    while given and time.monotonic() < end and not (written.is_file() and f'"frame": {given - 1},' in written.read_text()):
        time.sleep(0.05)
    time.sleep(0.2)  # whoever follows the frames has those that came, and waits
    process.send_signal(number)
    _, said = process.communicate(timeout=30)  # it never ends by itself
    assert process.returncode == code, said
    assert said.startswith("error: stopped")
    assert "already executing" not in said
    if given:
        assert len(read_tracks(tmp_path / "o" / "tracks.json").frames) == given
    else:
        assert not (tmp_path / "o").exists()


@posix
def test_a_pipe_is_no_video_and_is_not_waited_for(tmp_path: Path, cli: Call) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert cli("track", tmp_path / "a.mp4", "-o", tmp_path / "o", "-q") == (
        3,
        "",
        f"error: not a regular file: '{tmp_path / 'a.mp4'}'\n",
    )


def test_whoever_leaves_a_stalled_source_leaves_at_once() -> None:
    released = threading.Event()
    ended = threading.Event()

    def stalls() -> Iterator[int]:
        try:
            yield 1
            released.wait()
            yield 2
        finally:
            ended.set()

    items = ahead(stalls(), 2)
    assert next(items) == 1
    items.close()  # type: ignore[attr-defined]
    assert not ended.is_set()  # nobody waited for the source
    released.set()
    assert ended.wait(5)  # the thread itself ended what it had begun


def test_an_error_ends_the_thread_that_decodes(
    box: tuple[float, float, float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while its traceback is held; a process that ends beneath the thread is aborted."""

    def full(*_: object) -> None:
        raise OutputError("cannot write")

    monkeypatch.setattr("stn_cli.report.pictures.write_picture", full)
    film = write_video(tmp_path / "long.mp4", moving(90)[0])
    with pytest.raises(OutputError) as caught:
        track_source(film, tmp_path / "o", TrackOptions(init=box, crops=True))
    assert caught.tb is not None
    assert not [thread for thread in threading.enumerate() if thread.name == "video"]


def test_an_error_of_whoever_looks_ends_the_waiting() -> None:
    released = threading.Event()
    looked: list[int] = []

    def stalls() -> Iterator[int]:
        released.wait()
        yield 1

    def look() -> None:
        looked.append(1)
        if len(looked) == 3:
            raise Interrupted(2)

    try:
        with pytest.raises(Interrupted):
            next(ahead(stalls(), 2, look))
    finally:
        released.set()


# ---------------------------------------------------------------------- full disks

LIMITED = (
    "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from stn_cli.cli.app import run; "
    "n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (n, n)); sys.exit(run(sys.argv[2:]))"
)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames that no encoder makes small."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (160, 240, 3), np.uint8) for _ in range(12)]
    for i, frame in enumerate(frames):
        paint(frame, 40 + 10 * i, 80)
    return write_frames(tmp_path_factory.mktemp("noisy") / "f", frames)


@posix
@pytest.mark.parametrize(
    ("limit", "options", "what", "kept"),
    [
        (1_200, ["--init", "26,66,28,28"], "tracks.json", ["tracks.json"]),
        (60_000, ["--init", "26,66,28,28", "--video"], "video.mp4", ["tracks.json", "tracks.txt"]),
        (15_000, ["--init", "26,66,28,28", "--format", "coco"], "frames", ["tracks.json", "tracks.txt"]),
        (60_000, ["--init", "126,66,28,28@10"], "cannot put frames aside", []),
    ],
)
def test_fault_27_a_full_disk_is_said_and_leaves_nothing_broken(
    noisy: Path, limit: int, options: list[str], what: str, kept: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "o"
    command = [sys.executable, "-c", LIMITED, str(limit), "track", str(noisy), "-o", str(out), "-q", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert what in done.stderr
    if not kept:
        assert not out.exists()
        return
    assert [p.name for p in out.iterdir()] == ["unfinished"]
    assert sorted(p.name for p in (out / "unfinished").iterdir()) == [".stn-coloc-unfinished", *kept]
    assert json.loads((out / "unfinished" / "tracks.json").read_text())["frames"]


@posix
def test_fault_27_on_a_small_disk(noisy: Path, tmp_path: Path, cli: Call) -> None:
    """The same with a disk that really is full, at several sizes: whole results, or 4 and nothing broken."""
    disk = tmp_path / "disk"
    disk.mkdir()
    ended = set()
    for size in (40, 120, 400, 4000):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(disk)], capture_output=True).returncode:
            pytest.skip("only root may mount")
        try:
            code, _, said = cli("track", noisy, "-o", disk / "o", "--init", "76,66,28,28@5", "--video", "--crops", "-q")
            ended.add(code)
            assert code in (0, 4), said
            if code == 0:
                assert cv2.VideoCapture(str(disk / "o" / "video.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 12
            else:
                assert len(said.splitlines()) == 1
                assert not list(disk.rglob("video.mp4"))
                for path in disk.rglob("*.json"):
                    json.loads(path.read_text())
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    assert ended == {0, 4}


@posix
def test_frames_put_aside_lie_with_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with Aside(tmp_path) as aside:
        for i in range(3):
            aside.put(VideoFrame(i, i / 25, np.full((20, 30, 3), 40 * i, np.uint8)))
        assert [f.index for f in aside.backwards()] == [2, 1, 0]
        assert aside.stamps()[2] == (2, 2 / 25)
        assert abs(int(aside[2].pixels.mean()) - 80) < 3
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="cannot put frames aside"):
        Aside(tmp_path / "nowhere")


def test_a_frame_too_wide_for_jpeg_is_put_aside(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).integers(0, 255, (10, 66_000, 3), np.uint8)
    with Aside(tmp_path) as aside:
        aside.put(VideoFrame(0, 0.0, wide))
        assert np.array_equal(aside[0].pixels, wide)


@posix
def test_a_stream_that_meets_a_full_disk_stays_valid(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys; from pathlib import Path; from stn_cli.errors import OutputError; "
        "from stn_cli.formats.tracks import TracksStream; from stn_cli.records import TrackedFrame; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "stream = TracksStream(Path(sys.argv[1]), {}, {})\n"
        "try:\n  for i in range(50): stream.add(TrackedFrame(i, 0.0, ()))\n"
        "except OutputError: print(i)"
    )
    for limit in range(300, 345, 5):  # wherever in a row it comes
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "t.json"), str(limit)], capture_output=True, text=True
        )
        had = json.loads((tmp_path / "t.json").read_text())["frames"]
        assert len(had) == int(done.stdout), done.stderr


def test_a_stream_writes_over_its_end(tmp_path: Path) -> None:
    stream = TracksStream(tmp_path / "t.json", {}, {})
    for i in range(4):
        assert len(json.loads((tmp_path / "t.json").read_text())["frames"]) == i
        stream.add(TrackedFrame(i, 0.0, ()))
    stream.close()


# ---------------------------------------------------------------------- screens and values


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_case_P_show_without_a_display_is_asked_before_anything_opens(
    film: Path, box: tuple[float, float, float, float], tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None at all; one that nobody answers at, which ends the process that asks."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    for display in (None, ":987"):
        if display:
            monkeypatch.setenv("DISPLAY", display)
        code, _, said = cli("track", film, "-o", tmp_path / "o", "--init", init_of(box), "--show", "-q")
        assert (code, len(said.splitlines())) == (7, 1), said
        assert "no screen" in said
        assert not (tmp_path / "o").exists()


def test_a_screen_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(screen, "PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(screen, "LONGEST", 0.3)
    assert not screen.has_screen()
    monkeypatch.setattr(screen, "PROBE", "pass")
    monkeypatch.setattr(screen, "LONGEST", 30)
    assert screen.has_screen()


NUMBERS = ("0", "-1", "1e-300", "1e300", "nan", "inf", "-inf", str(2**70), "9" * 5000, "x")
SPARE = {"--objects", "--vid-stride", "--seed", "--start", "--end", "--fps", "--min-score"}


@pytest.mark.parametrize("option", sorted(SPARE))
def test_any_number_of_any_option_gives_a_code_and_one_line(
    film: Path, box: tuple[float, float, float, float], option: str, tmp_path: Path, cli: Call
) -> None:
    for number, value in enumerate(NUMBERS):
        code, _, said = cli("track", film, "-o", tmp_path / str(number), "-q", "--init", init_of(box), f"{option}={value}")
        assert code in (0, 2, 3, 4, 5, 7), (value, said)
        assert len(said.splitlines()) == (code != 0), (value, said)


@pytest.mark.parametrize(
    "value",
    [
        "nan,1,2,3",
        "1,1,inf,5",
        "1e9,1,5,5",
        f"{'9' * 400},1,5,5",
        f"1,1,5,5@{'9' * 5000}",
        "1,1,5,5@-1",
        "1,1,-5,5",
        "-9,-9,5,5",
        "\u0661,1,5,5",
        "1,1,999999999,999999999",
    ],
)
def test_any_box_gives_a_code_and_one_line(film: Path, value: str, tmp_path: Path, cli: Call) -> None:
    code, _, said = cli("track", film, "-o", tmp_path / "o", "-q", "--end", "0.1", f"--init={value}")
    assert code in (0, 2, 3)
    assert len(said.splitlines()) == (code != 0), said


@pytest.mark.parametrize(
    ("typed", "said"),
    [("900,900,10,10", "'900,900,10,10'"), ("900.25,3,10.5,20@2", "'900.25,3,10.5,20'"), ("1,1,0,5", "'1,1,0,5'")],
)
def test_case_W_a_box_is_echoed_as_typed(film: Path, typed: str, said: str, tmp_path: Path, cli: Call) -> None:
    code, _, err = cli("track", film, "-o", tmp_path / "o", "-q", "--init", typed)
    assert code == 2
    assert said in err


@pytest.mark.parametrize("source", ["9999999999999999999999", "99999", "-", "", ".", "\u0663"])
def test_any_source_gives_a_code_and_one_line(source: str, tmp_path: Path, cli: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = cli("track", "-o", tmp_path / "o", "-q", "--init", "1,1,5,5", "--", source)
    assert (code, len(said.splitlines())) == (3, 1), said


def test_case_P_no_temporary_folder(
    film: Path, box: tuple[float, float, float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is needed but for names that FFmpeg would take for something else: then that is said."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    odd = tmp_path / "a|b.mp4"
    odd.write_bytes(film.read_bytes())
    with pytest.raises(ResourceError, match="Set TMPDIR, or rename the video"):
        track_source(odd, tmp_path / "o", TrackOptions(init=box))
    plain = Path(os.path.relpath(film))
    assert track_source(plain, tmp_path / "o", TrackOptions(init=box, init_frame=3, video=True)).frames == COUNT


def test_case_T2_frames_that_the_shell_listed(box: tuple[float, float, float, float], tmp_path: Path, cli: Call) -> None:
    folder = write_frames(tmp_path / "clip", moving(4)[0])
    paths = sorted(folder.iterdir())
    assert cli("track", *paths, "--init", init_of(box), "-o", folder, "--overwrite", "-q")[0] == 4  # would lie among them
    code, said, _ = cli("track", *paths, "--init", init_of(box), "-o", tmp_path / "o", "--json", "-q")
    assert code == 0
    assert json.loads(said)["frames"] == 4
