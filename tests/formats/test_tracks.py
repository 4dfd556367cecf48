"""tracks.json, MOTChallenge text and CSV of tracks, read by others where there are any."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from stn_cli.errors import InputError, OutputError
from stn_cli.formats.csv import write_track_rows
from stn_cli.formats.mot import read_mot, write_mot
from stn_cli.formats.tracks import TAIL, TracksStream, read_tracks, write_tracks
from stn_cli.records import TrackedFrame, TrackedObject, corners

FRAMES = [
    TrackedFrame(0, 0.0, (TrackedObject(1, (1.5, 2.25, 11.5, 22.25), 0.9, corners((1.5, 2.25, 11.5, 22.25))),)),
    TrackedFrame(1, 0.04, ()),
    TrackedFrame(
        2,
        0.08,
        (
            TrackedObject(1, (3, 4, 13, 24), 0.5, corners((3, 4, 13, 24)), True),
            TrackedObject(2, (30, 40, 50, 60), 0.7, corners((30, 40, 50, 60))),
        ),
    ),
]
VIDEO = {"file_name": "a.mp4", "width": 100, "height": 80, "fps": 25.0, "frames": 3}


def test_tracks_json_is_valid_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "tracks.json"
    stream = TracksStream(path, {"tool": "stn-coloc"}, VIDEO)
    assert not read_tracks(path).complete
    assert json.loads(path.read_text())["frames"] == []
    for number, frame in enumerate(FRAMES, 1):
        stream.add(frame)
        assert len(json.loads(path.read_text())["frames"]) == number
    stream.close()
    streamed = path.read_text()
    write_tracks(path, {"tool": "stn-coloc"}, VIDEO, FRAMES)
    assert read_tracks(path).complete
    assert path.read_text() == streamed.replace('"complete": false', '"complete": true')
    data = json.loads(streamed)
    assert data["video"] == VIDEO
    first = data["frames"][0]
    assert first["objects"][0]["bbox"] == [1.5, 2.25, 10.0, 20.0]
    assert "interpolated" not in first["objects"][0]
    assert data["frames"][2]["objects"][0]["interpolated"] is True


def test_tracks_come_back_as_they_were(tmp_path: Path) -> None:
    write_tracks(tmp_path / "t.json", {}, VIDEO, FRAMES)
    back = read_tracks(tmp_path / "t.json")
    assert back.frames == FRAMES
    assert back.video == VIDEO


def test_mot_counts_from_one_and_is_read_by_trackers(tmp_path: Path) -> None:
    write_mot(tmp_path / "t.txt", FRAMES)
    lines = (tmp_path / "t.txt").read_text().splitlines()
    assert lines[0] == "1,1,2.500,3.250,10.000,20.000,0.9000,1,1,-1"
    assert len(lines) == 3
    from trackers import load_mot_file

    data = load_mot_file(tmp_path / "t.txt")
    assert sorted(data) == [1, 3]
    back = read_mot(tmp_path / "t.txt")
    assert [f.frame for f in back] == [0, 2]
    assert back[0].objects[0].box == pytest.approx(FRAMES[0].objects[0].box)


def test_case_O_class_and_visibility_are_1_and_scorers_agree(tmp_path: Path) -> None:
    """CVAT's importer takes class -1 for no label and visibility -1 for hidden."""
    import numpy as np
    from trackers import load_mot_file
    from trackers.eval import evaluate_mot_sequence

    write_mot(tmp_path / "t.txt", FRAMES)
    lines = (tmp_path / "t.txt").read_text().splitlines()
    assert all(len(line.split(",")) == 10 and line.split(",")[7:] == ["1", "1", "-1"] for line in lines)
    assert all((np.asarray(frame.classes) == 1).all() for frame in load_mot_file(tmp_path / "t.txt").values())
    (tmp_path / "old.txt").write_text("\n".join(line.removesuffix("1,1,-1") + "-1,-1,-1" for line in lines))
    now, before = (
        evaluate_mot_sequence(tmp_path / "t.txt", tmp_path / name, metrics=["CLEAR", "HOTA"]) for name in ("t.txt", "old.txt")
    )
    assert now.HOTA.HOTA == before.HOTA.HOTA == pytest.approx(1)
    assert now.CLEAR.MOTA == before.CLEAR.MOTA == pytest.approx(1)
    assert read_mot(tmp_path / "old.txt") == read_mot(tmp_path / "t.txt")


def test_case_L_tracks_stream_without_pwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pwrite", raising=False)  # as on Windows
    test_tracks_json_is_valid_at_every_moment(tmp_path)


def test_each_frame_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a process that is killed between two calls leaves whole JSON."""
    path = tmp_path / "tracks.json"
    stream = TracksStream(path, {}, VIDEO)
    calls = []

    class Watched:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def write(self, data: bytes) -> int:
            json.loads(path.read_text())
            done = real.write(data)
            json.loads(path.read_text())
            calls.append(len(data))
            return done

    real = stream._file
    monkeypatch.setattr(stream, "_file", Watched())
    for frame in FRAMES:
        stream.add(frame)
    stream.close()
    assert len(calls) == len(FRAMES)


@pytest.mark.parametrize("fits", [0, 1, 40])
def test_a_disk_that_fills_up_ends_with_4_and_leaves_whole_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    path = tmp_path / "tracks.json"
    stream = TracksStream(path, {}, VIDEO)
    stream.add(FRAMES[0])
    before = path.read_bytes()

    class Full:
        """Of a frame, so many bytes fit."""

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def write(self, data: bytes) -> int:
            return real.write(data[:fits]) if len(data) > len(TAIL) else real.write(data)

    real = stream._file
    with monkeypatch.context() as patch:
        patch.setattr(stream, "_file", Full())
        with pytest.raises(OutputError, match="No space left"):
            stream.add(FRAMES[2])
    assert path.read_bytes() == before
    stream.add(FRAMES[2])  # there is space again
    stream.close()
    assert [f.frame for f in read_tracks(path).frames] == [0, 2]


def test_rows_of_truth_that_are_not_scored_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text("1,1,1,1,5,5,1,1,1\n1,2,1,1,5,5,0,1,1\n")
    assert [o.id for o in read_mot(tmp_path / "gt.txt")[0].objects] == [1]


def test_csv_has_a_row_for_each_box(tmp_path: Path) -> None:
    write_track_rows(tmp_path / "t.csv", FRAMES)
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert len(rows) == 3
    assert rows[1]["interpolated"] == "1"
    assert rows[2]["id"] == "2"
    assert float(rows[0]["x1"]) == 1.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "{}",
        "[1]",
        '{"frames": [{"frame": 0}]}',
        '{"frames": [{"frame": 0, "objects": [{"id": 1}]}]}',
        '{"frames": [{"frame": 0, "objects": []}, {"frame": 0, "objects": []}]}',  # a frame twice
    ],
)
def test_what_is_no_tracks_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(InputError):
        read_tracks(tmp_path / "t.json")


@pytest.mark.parametrize("text", ["1,2,3\n", "a,b,c,d,e,f,g\n"])
def test_what_is_no_mot_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(InputError):
        read_mot(tmp_path / "t.txt")
