"""Formats of one call are written together: all of them appear, or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stn_cli.errors import OutputError
from stn_cli.formats.csv import TrackRowsWriter
from stn_cli.formats.mot import MotWriter
from stn_cli.formats.tracks import TracksWriter, read_tracks
from stn_cli.formats.writer import about, write_all
from stn_cli.records import TrackedFrame, TrackedObject, corners
from stn_cli.report.film import ENCODINGS
from stn_cli.report.pictures import picture_makers

BOX = (2.0, 3.0, 12.0, 13.0)
FRAME = TrackedFrame(0, 0.0, (TrackedObject(1, BOX, 0.9, corners(BOX)),))
PIXELS = np.zeros((24, 32, 3), np.uint8)


def test_every_format_gets_every_item(tmp_path: Path) -> None:
    facts = about(None, "upright")
    makers = [
        lambda: TracksWriter(tmp_path / "t.json", facts, {}),
        lambda: MotWriter(tmp_path / "t.txt"),
        lambda: TrackRowsWriter(tmp_path / "t.csv"),
    ]
    write_all(makers, [FRAME, TrackedFrame(1, 0.04, FRAME.objects)])
    assert [f.frame for f in read_tracks(tmp_path / "t.json").frames] == [0, 1]
    assert len((tmp_path / "t.txt").read_text().splitlines()) == 2
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 3
    assert facts["run"] is None


def test_an_error_on_the_way_leaves_none(tmp_path: Path) -> None:
    def broken() -> Iterator[TrackedFrame]:
        yield FRAME
        raise ValueError("the video ends in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        write_all([lambda: MotWriter(tmp_path / "t.txt"), lambda: TrackRowsWriter(tmp_path / "t.csv")], broken())
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_cannot_be_opened_leaves_none_of_the_others(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_all([lambda: MotWriter(tmp_path / "t.txt"), lambda: TrackRowsWriter(tmp_path / "no" / "t.csv")], [FRAME])
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_all_there_or_none_is(tmp_path: Path) -> None:
    def pictured(fails: bool) -> Iterator[tuple[TrackedFrame, np.ndarray]]:
        yield FRAME, PIXELS
        if fails:
            raise KeyboardInterrupt

    for folder, fails in ((tmp_path / "whole", False), (tmp_path / "stopped", True)):
        folder.mkdir()
        encoding = next(e for e in ENCODINGS if e.codec == "libvpx")
        makers = picture_makers(folder, encoding, (24, 32), 25.0, info=about("run", "upright"), crops=True)
        assert len(makers) == 3
        if fails:
            with pytest.raises(KeyboardInterrupt):
                write_all(makers, pictured(fails))
        else:
            write_all(makers, pictured(fails))
    assert sorted(p.name for p in (tmp_path / "whole").iterdir()) == ["crops", "frames", "tracks.coco.json", "video.webm"]
    assert list((tmp_path / "stopped").iterdir()) == []
    assert picture_makers(tmp_path, None, (24, 32), 25.0, info=None, crops=False) == []
