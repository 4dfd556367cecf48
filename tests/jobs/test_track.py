"""`stn-coloc track` from a video to files, its faults, and the scores of tracks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision
import torch
from pycocotools.coco import COCO

import stn_cli.jobs.track as module
from stn_cli.cli.app import run
from stn_cli.cli.track import parse_init
from stn_cli.errors import InputError, OutputError, ResourceError, UsageError
from stn_cli.evaluate.tracks import read_track_truth, score_one, score_several
from stn_cli.formats.mot import read_mot
from stn_cli.formats.tracks import read_tracks
from stn_cli.jobs.track import TrackOptions, track_source
from stn_cli.records import TrackedFrame, TrackedObject, corners
from stn_cli.report.film import Film
from stn_cli.runtime.progress import Silent
from tests.conftest import SHARED, Trained
from tests.videos import ground, moving, paint, write_frames, write_video

COUNT, GONE = 44, range(16, 32)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A disc that goes away and comes back: the video, and its truth."""
    folder = tmp_path_factory.mktemp("film")
    frames, boxes = moving(COUNT, GONE)
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return write_video(folder / "disc.mp4", frames), folder / "boxes.json"


def init_of(truth: Path, frame: int = 0) -> str:
    x1, y1, x2, y2 = json.loads(truth.read_text())[frame]
    return f"{x1},{y1},{x2 - x1},{y2 - y1}"


def test_from_a_box_with_every_output(film: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, truth = film
    out = tmp_path / "out"
    code = run(
        ["track", str(video), "--init", init_of(truth), "-o", str(out), "--video", "--crops", "--format", "csv,coco", "--json"]
    )
    assert code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == COUNT
    assert said["objects"] == 1
    tracks = read_tracks(out / "tracks.json")
    assert tracks.video == {"file_name": "disc.mp4", "width": 160, "height": 120, "fps": 25.0, "frames": COUNT, "stride": 1}
    score = score_one(tracks.frames, read_track_truth(truth))  # type: ignore[arg-type]
    assert score.success > 0.7
    assert score.false_alarms is not None
    assert score.false_alarms < 0.2
    seen = sum(bool(f.objects) for f in tracks.frames)
    assert len(read_mot(out / "tracks.txt")) == seen
    assert len((out / "tracks.csv").read_text().splitlines()) == seen + 1
    coco = COCO(str(out / "tracks.coco.json"))
    assert len(coco.imgs) == COUNT
    assert len(coco.anns) == seen
    assert all(row["track_id"] == row["attributes"]["track_id"] == 1 for row in coco.anns.values())  # CASES O
    assert all((out / image["file_name"]).is_file() for image in coco.imgs.values())
    read = supervision.DetectionDataset.from_coco(str(out), str(out / "tracks.coco.json"))
    assert len(read) == COUNT
    assert len(list((out / "crops" / "1").iterdir())) == seen
    crop = cv2.imread(str(out / "crops" / "1" / "000000.jpg"))
    assert crop is not None
    assert abs(crop.shape[0] - 28) <= 2
    drawn = cv2.VideoCapture(str(out / "video.mp4"))
    assert int(drawn.get(cv2.CAP_PROP_FRAME_COUNT)) == COUNT
    assert drawn.get(cv2.CAP_PROP_FPS) == 25


def test_nothing_given_the_moving_thing_is_learnt_and_followed(film: tuple[Path, Path], tmp_path: Path) -> None:
    video, truth = film
    summary = track_source(video, tmp_path / "out", TrackOptions())
    score = score_one(read_tracks(tmp_path / "out/tracks.json").frames, read_track_truth(truth))  # type: ignore[arg-type]
    assert score.success > 0.6
    assert summary.tracks == 1
    assert summary.frames == COUNT


def test_a_box_in_a_later_frame_is_followed_both_ways(film: tuple[Path, Path], tmp_path: Path) -> None:
    video, truth = film
    track_source(video, tmp_path / "o", TrackOptions(init=parse_init(init_of(truth, 12))[0], init_frame=12, online=True))
    frames = read_tracks(tmp_path / "o/tracks.json").frames
    assert [f.frame for f in frames] == list(range(COUNT))  # backwards ones too stand in their order
    assert score_one(frames[:16], json.loads(truth.read_text())[:16]).success > 0.75


def test_with_a_run(trained: Trained, tmp_path: Path) -> None:
    """The run's own kind of thing, moving: the run says where to begin, and scores below one half hold no object."""
    from tests.conftest import make_image

    image, (x1, y1, x2, y2) = make_image(3)
    ring = image[y1:y2, x1:x2]
    plain = cv2.GaussianBlur(np.random.default_rng(9).integers(60, 150, (48, 60, 1), np.uint8).repeat(3, 2), (0, 0), 1.0)
    frames = []
    for i in range(16):
        frame = plain.copy()
        frame[10 : 10 + 18, 2 + 2 * i : 20 + 2 * i] = ring
        frames.append(frame)
    video = write_frames(tmp_path / "frames", frames)
    summary = track_source(video, tmp_path / "out", TrackOptions(model=trained.run))
    truth = [(2.0 + 2 * i, 10.0, 20.0 + 2 * i, 28.0) for i in range(16)]
    score = score_one(read_tracks(tmp_path / "out/tracks.json").frames, truth)
    assert summary.seen == 16
    assert score.mean_iou > 0.4  # the run was trained for a moment only


def test_several_objects_have_several_ids(tmp_path: Path) -> None:
    frames, rows = [], []
    for i in range(24):
        frame = ground()
        for number, (x, y) in enumerate(((25 + 4 * i, 30), (135 - 4 * i, 90)), 1):
            x1, y1, x2, y2 = paint(frame, x, y)
            rows.append(f"{i + 1},{number},{x1 + 1},{y1 + 1},{x2 - x1},{y2 - y1},1,1,1")
        frames.append(frame)
    (tmp_path / "gt.txt").write_text("\n".join(rows))
    video = write_frames(tmp_path / "frames", frames)
    track_source(video, tmp_path / "out", TrackOptions(init=(11, 16, 39, 44), objects=2))
    found = read_tracks(tmp_path / "out/tracks.json").frames
    score = score_several(found, read_mot(tmp_path / "gt.txt"))
    assert score.idf1 > 0.9
    assert score.hota > 0.7
    assert run(["evaluate", str(tmp_path / "out/tracks.txt"), str(tmp_path / "gt.txt"), "--json"]) == 0


def test_a_video_without_an_object_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_video(tmp_path / "still.mp4", [ground()] * 12)
    assert run(["track", str(video), "-o", str(tmp_path / "out"), "--video"]) == 0
    captured = capsys.readouterr()
    assert "no object was found" in captured.err
    frames = read_tracks(tmp_path / "out/tracks.json").frames
    assert len(frames) == 12
    assert not any(f.objects for f in frames)
    assert (tmp_path / "out/tracks.txt").read_text() == ""
    assert (tmp_path / "out/video.mp4").stat().st_size > 0


def stopped(folder: Path, number: int) -> tuple[int, str]:
    """Track a long video into folder/out and send a signal once something stands there: the exit code, and the last line on stderr."""
    frames, boxes = moving(600)
    video = write_video(folder / "long.mp4", frames)
    x1, y1, x2, y2 = boxes[0]  # type: ignore[misc]
    init = f"{x1},{y1},{x2 - x1},{y2 - y1}"
    command = [sys.executable, "-m", "stn_cli", "track", str(video), "--init", init, "-o", str(folder / "out")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    path = folder / "out" / "unfinished" / "tracks.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None and not (path.is_file() and path.stat().st_size > 3000):
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate()
    return process.returncode, said.splitlines()[-1] if said else ""


def test_a_killed_run_leaves_valid_json(tmp_path: Path) -> None:
    stopped(tmp_path, signal.SIGKILL)
    had = json.loads((tmp_path / "out" / "unfinished" / "tracks.json").read_text())["frames"]
    assert 3 <= len(had) < 600


def test_a_signal_finishes_what_was_seen(tmp_path: Path) -> None:
    code, said = stopped(tmp_path, signal.SIGINT)
    assert code == 130
    assert "stopped" in said
    assert 3 <= len(read_mot(tmp_path / "out" / "tracks.txt")) < 600


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1,2,3,4@", "1,2,3,4@x"])
def test_init_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError):
        parse_init(text)


def test_init_is_read() -> None:
    assert parse_init("1,2.5,3,4") == ((1, 2.5, 4, 6.5), None)
    assert parse_init(" 1, 2, 3, 4 @ 7") == ((1, 2, 4, 6), 7)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--init", "900,900,10,10"], 2),
        (["--init", "1,1,0,5"], 2),
        (["--init", "1,1,20,20@400"], 3),
        (["--format", "xml"], 2),
        (["--objects", "0"], 2),
        (["--vid-stride", "0"], 2),
        (["--min-score", "2"], 2),
        (["-m", "no-such-run"], 5),
        (["--show", "--init", "1,1,20,20"], 7),
    ],
)
def test_each_fault_has_its_code_and_one_line(
    film: tuple[Path, Path],
    tmp_path: Path,
    options: list[str],
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "has_screen", lambda: False)
    assert run(["track", str(film[0]), "-o", str(tmp_path / "out"), "-q", *options]) == code
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: ")


def test_fault_26_an_output_that_is_in_the_way(film: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(OutputError):
        track_source(film[0], tmp_path / "out", TrackOptions(init=(1, 1, 30, 30)))
    assert (tmp_path / "out" / "mine.txt").read_text() == "x"


def test_an_earlier_result_is_replaced_with_overwrite(film: tuple[Path, Path], tmp_path: Path) -> None:
    video, truth = film
    options = TrackOptions(init=parse_init(init_of(truth))[0], end=0.2, crops=True)
    track_source(video, tmp_path / "o", options)
    track_source(video, tmp_path / "o", TrackOptions(init=options.init, end=0.2), overwrite=True)
    assert not (tmp_path / "o" / "crops").exists()


def test_fault_57_an_error_in_the_writer_reaches_the_user(
    film: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Film, pixels: Any) -> None:
        raise OutputError("cannot write video", "x")

    monkeypatch.setattr(Film, "add", broken)
    with pytest.raises(OutputError):
        track_source(film[0], tmp_path / "out", TrackOptions(init=(80, 50, 130, 90), end=0.2, video=True))
    assert not (tmp_path / "out" / "video.mp4").exists()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["unfinished"]
    assert not [p for p in (tmp_path / "out" / "unfinished").iterdir() if p.name.startswith(".tmp")]
    json.loads((tmp_path / "out" / "unfinished" / "tracks.json").read_text())


def test_a_camera_needs_to_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frames, boxes = moving(10)

    class Camera:
        def __init__(self, *_: object) -> None:
            self.left = list(frames)

        def isOpened(self) -> bool:
            return True

        def read(self) -> tuple[bool, Any]:
            return self.grab(), self.now

        def grab(self) -> bool:
            self.now = self.left.pop(0)[..., ::-1] if self.left else None
            return self.now is not None

        def retrieve(self, image: object = None) -> tuple[bool, Any]:
            return True, self.now

        def get(self, _: int) -> float:
            return 0.0

        def release(self) -> None: ...

    monkeypatch.setattr("stn_cli.media.video.cv2.VideoCapture", Camera)
    with pytest.raises(UsageError, match="cannot be learnt from"):
        track_source("0", tmp_path / "a")
    summary = track_source("0", tmp_path / "b", TrackOptions(init=boxes[0], video=True))
    assert summary.seen == 10
    assert any("25 assumed" in note for note in summary.notes)
    assert not (tmp_path / "b" / "video.mp4").exists()  # its frames are gone


def test_without_the_library_several_objects_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, film: tuple[Path, Path], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(ResourceError, match=r"stn-coloc\[track\]"):
        track_source(film[0], tmp_path / "o", TrackOptions(init=(80, 50, 130, 90), objects=2))


# ---------------------------------------------------------------------- scores


def as_frames(boxes: list[Any]) -> list[TrackedFrame]:
    return [TrackedFrame(i, 0.0, () if b is None else (TrackedObject(1, b, 0.9, corners(b)),)) for i, b in enumerate(boxes)]


@pytest.mark.parametrize(
    ("name", "frames", "given", "least"),
    [("davis-blackswan", 30, True, 0.75), ("davis-car-shadow", 40, True, 0.6), ("davis-car-shadow", 40, False, 0.5)],
)
def test_real_video(name: str, frames: int, given: bool, least: float, tmp_path: Path) -> None:
    """Success AUC on the first frames; the figures of whole sequences are those of benchmarks/video.py."""
    source = SHARED / "data/video" / name
    if not source.is_dir():
        pytest.skip("the video sequences for measuring are not here")
    truth = json.loads((source / "boxes.json").read_text())[:frames]
    options = TrackOptions(init=tuple(truth[0]) if given else None, end=frames / 25, fps=25)
    track_source(source / "frames", tmp_path / "out", options)
    assert score_one(read_tracks(tmp_path / "out/tracks.json").frames, truth).success >= least


def test_threads_are_given_back(tmp_path: Path) -> None:
    frames, boxes = moving(4)
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        torch.set_num_threads(4)
        cv2.setNumThreads(2)
        seen = []

        class Heard(Silent):
            def advance(self, count: int = 1, note: str = "") -> None:
                seen.append((torch.get_num_threads(), cv2.getNumThreads()))

        track_source(write_frames(tmp_path / "f", frames), tmp_path / "o", TrackOptions(init=boxes[0]), reporter=Heard())
        assert set(seen) == {(2, 1)}
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (4, 2)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def test_scores_of_one_object() -> None:
    truth: list[Any] = [(0, 0, 10, 10), (0, 0, 10, 10), None, (0, 0, 10, 10), None]
    found = as_frames([(0, 0, 10, 10), (30, 0, 40, 10), (0, 0, 5, 5), None, None])
    score = score_one(found, truth)
    assert score.success == pytest.approx(20 / 21 / 3)  # IoU 1 is above 20 of 21 thresholds
    assert score.precision == pytest.approx(1 / 3)
    assert score.normalised_precision == pytest.approx(1 / 3)
    assert score.mean_iou == pytest.approx(1 / 3)
    assert score.false_alarms == 0.5
    with pytest.raises(InputError):
        score_one([TrackedFrame(99, 0.0, ())], truth)


def test_scores_agree_with_the_independent_scorer(tmp_path: Path) -> None:
    scorer = SHARED / "score" / "track_auc.py"
    if not scorer.is_file():
        pytest.skip("the independent scorer is not part of the project")
    rng = np.random.default_rng(0)
    truth: list[Any] = []
    found: list[Any] = []
    for _ in range(40):
        x, y = rng.uniform(0, 80, 2)
        truth.append(None if rng.uniform() < 0.2 else [x, y, x + 20, y + 30])
        dx, dy = rng.normal(0, 8, 2)
        found.append(None if rng.uniform() < 0.2 else (x + dx, y + dy, x + dx + 22, y + dy + 28))
    from stn_cli.formats.tracks import write_tracks

    write_tracks(tmp_path / "t.json", {}, {}, as_frames(found))
    (tmp_path / "b.json").write_text(json.dumps(truth))
    out = subprocess.run(
        [sys.executable, str(scorer), str(tmp_path / "t.json"), str(tmp_path / "b.json")],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(out.stdout)
    ours = score_one(as_frames(found), read_track_truth(tmp_path / "b.json"))  # type: ignore[arg-type]
    assert ours.success == pytest.approx(theirs["auc"], abs=1e-4)
    assert ours.precision == pytest.approx(theirs["p20"], abs=1e-4)
    assert ours.false_alarms == pytest.approx(theirs["false_alarms"], abs=1e-4)


def test_perfect_tracks_have_perfect_scores() -> None:
    frames = [
        TrackedFrame(
            i, 0.0, tuple(TrackedObject(k, (i + 50 * k, 0, i + 50 * k + 20, 20), 1.0, corners((0, 0, 1, 1))) for k in (1, 2))
        )
        for i in range(10)
    ]
    score = score_several(frames, frames)
    assert (score.hota, score.idf1, score.mota, score.switches) == pytest.approx((1, 1, 1, 0))
    assert score_several([TrackedFrame(0, 0.0, ())], frames).hota == 0


def test_evaluate_says_what_a_truth_must_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt").write_text("1,1,1,1,5,5,0.9,-1,-1,-1\n")
    for text in ("nonsense", "[[1, 2]]", '[["a", "b", "c", "d"]]', "7"):
        (tmp_path / "b.json").write_text(text)
        assert run(["evaluate", str(tmp_path / "t.txt"), str(tmp_path / "b.json")]) == 3
    (tmp_path / "b.json").write_text("[[0, 0, 5, 5], null]")
    capsys.readouterr()
    assert run(["evaluate", str(tmp_path / "t.txt"), str(tmp_path / "b.json"), "--csv", str(tmp_path / "r.csv")]) == 0
    assert "success auc" in capsys.readouterr().out
    assert (tmp_path / "r.csv").read_text().splitlines()[1] == "0,1,1,1.0000,0.0000"


@pytest.mark.parametrize("complete", [True, False])
def test_evaluate_says_that_a_track_was_stopped(complete: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stn_cli.formats.tracks import write_tracks

    write_tracks(tmp_path / "t.json", {}, {}, as_frames([(0.0, 0.0, 5.0, 5.0)]), complete=complete)
    (tmp_path / "b.json").write_text("[[0, 0, 5, 5], [0, 0, 5, 5]]")
    assert run(["evaluate", str(tmp_path / "t.json"), str(tmp_path / "b.json"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["mean_iou"] == 0.5
    note = "note: the track was stopped before it was done and holds 1 frame; an object in any other counts as missed\n"
    assert said.err == ("" if complete else note)
