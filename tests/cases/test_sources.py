"""Cases from public reports: lists, leftovers of other systems, several sources. The case's letter is in the name of each test."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stn_cli.errors import InputError
from stn_cli.media.scan import ImageFile, scan
from stn_cli.media.video import open_video
from stn_cli.runs.folder import write_images
from tests.conftest import QUICK_FLAGS, Trained, make_folder, make_image, write_image

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def set_of_three(tmp_path: Path) -> Path:
    for name in ("a.png", "sub/b.png", "with space.png"):
        write_image(tmp_path / "in" / name, make_image(0)[0])
    return tmp_path / "in"


# ---- G: lists as people and programs write them

# name, bytes
LISTS = [
    ("UTF-8 with a byte order mark", "\ufeffa.png\nsub/b.png\nwith space.png\n".encode()),
    ("UTF-16, little end first", "\ufeffa.png\nsub/b.png\nwith space.png\n".encode("utf-16-le")),
    ("UTF-16, big end first, CRLF", "\ufeffa.png\r\nsub/b.png\r\nwith space.png".encode("utf-16-be")),
    ("trailing spaces and tabs", b"a.png  \n sub/b.png\t\r\nwith space.png \n\n"),
    ("quotes", b'"a.png"\n\'sub/b.png\'\n "with space.png" \n'),
    ("old Macintosh lines", b"a.png\rsub/b.png\rwith space.png"),
    ("a line twice", b"a.png\n./a.png\nsub/../a.png\nsub/b.png\nwith space.png\n"),
]


@pytest.mark.parametrize("data", [row[1] for row in LISTS], ids=[row[0] for row in LISTS])
@pytest.mark.parametrize("how", ["file", "standard input"])
def test_case_G_lists_are_read_as_they_are_written(
    set_of_three: Path, data: bytes, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte order mark cost the first path; UTF-16 ended with 1."""
    (set_of_three / "list.txt").write_bytes(data)
    monkeypatch.chdir(set_of_three)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(data)}))
    found = scan("list.txt" if how == "file" else "-")
    assert [f.name for f in found.images] == ["a.png", "sub/b.png", "with space.png"]
    assert found.skipped == []


def test_case_G_names_that_really_end_in_spaces_or_quotes(tmp_path: Path) -> None:
    for name in ("a.png", "a.png ", "'a.png'"):
        write_image(tmp_path / "x.png", make_image(0)[0]).rename(tmp_path / name)
    (tmp_path / "list.txt").write_bytes(b"a.png \n'a.png'\n")
    assert [f.name for f in scan(tmp_path / "list.txt").images] == ["a.png ", "'a.png'"]


# name, bytes, words in the one line
BAD_LISTS = [
    ("NUL bytes", b"a.png\0\nb.png\n", "NUL bytes"),
    ("UTF-16 without a mark", "a.png\nb.png\n".encode("utf-16-le"), "NUL bytes"),
    ("half of UTF-16", "\ufeffa.png\n".encode("utf-16-le")[:-1], "UTF-16"),
    ("nothing", b"", "no image found"),
    ("nothing usable", b"gone.png\nhttps://x.org/a.jpg\nfilm.mp4\n\n", "3 skipped"),
]


@pytest.mark.parametrize(("data", "words"), [row[1:] for row in BAD_LISTS], ids=[row[0] for row in BAD_LISTS])
def test_case_G_a_list_that_cannot_be_used_ends_with_3(
    trained: Trained, tmp_path: Path, cli: Call, data: bytes, words: str
) -> None:
    (tmp_path / "film.mp4").write_bytes(b"x")
    (tmp_path / "list.txt").write_bytes(data)
    code, _, err = cli("localise", tmp_path / "list.txt", "-m", trained.run, "-o", tmp_path / "out", "-q")
    assert code == 3
    assert len(err.splitlines()) == 1
    assert words in err
    assert not (tmp_path / "out").exists()


def test_case_G_when_nothing_is_usable_the_reasons_are_in_the_error(trained: Trained, tmp_path: Path, cli: Call) -> None:
    (tmp_path / "film.mp4").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("gone.png\nhttps://x.org/a.jpg\nfilm.mp4\n")
    for command in (["localise", tmp_path / "list.txt", "-m", trained.run], ["train", tmp_path / "list.txt"]):
        _, _, err = cli(*command, "-o", tmp_path / "out", "-q")
        for reason in ("No such file or directory", "URL", "video"):
            assert reason in err


def test_case_G_the_list_of_a_run_is_a_list(tmp_path: Path) -> None:
    files = [
        write_image(tmp_path / "x.png", make_image(0)[0]).rename(tmp_path / name)
        for name in ("a b.png", "50%.png", "new\nline.png")
    ]
    write_images(tmp_path, [ImageFile(str(path), path.name) for path in files])
    found = scan(tmp_path / "images.txt")
    assert [f.name for f in found.images] == ["a b.png", "50%.png", "new\nline.png"]
    assert found.skipped == []


def test_case_G_a_list_may_name_folders_and_lines_too_long_for_a_name(set_of_three: Path) -> None:
    (set_of_three / "list.txt").write_text("sub\n" + "x" * 5000 + "\na.png\n")
    found = scan(set_of_three / "list.txt")
    assert [f.name for f in found.images] == ["sub/b.png", "a.png"]
    assert [s.reason for s in found.skipped] == ["File name too long"]


# ---- H: leftovers of other systems


def litter(folder: Path) -> None:
    """What macOS, a NAS, Windows and notebooks leave beside pictures."""
    copy = make_image(7)[0]
    for name in ("__MACOSX/in/a.png", "@eaDir/a.png/thumb.jpg", ".ipynb_checkpoints/a-checkpoint.png", ".Trash-1000/files/old.png",
                 ".Trashes/501/old.jpg", ".thumbnails/normal/x.png", "$RECYCLE.BIN/S-1-5/r.jpg", "sub/@eaDir/b.jpg"):  # fmt: skip
        write_image(folder / name, copy)
    for name in ("._a.png", "sub/._b.png", "._000.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(60))
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500))


def test_case_H_leftovers_are_left_out_with_one_note(set_of_three: Path) -> None:
    litter(set_of_three)
    for source, expected in ((set_of_three, 12), (str(set_of_three / "**/*"), 5), ([set_of_three, set_of_three / "a.png"], 12)):
        found = scan(source)
        assert [f.name for f in found.images] == ["a.png", "sub/b.png", "with space.png"]
        assert found.skipped == []
        assert len(found.notes) == 1
        assert found.notes[0].startswith(f"{expected} leftovers of other systems left out: ")


def test_case_H_a_picture_that_is_only_called_like_one(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", make_image(0)[0]).rename(tmp_path / "._mine.png")
    write_image(tmp_path / "Trash/kept.png", make_image(0)[0])
    assert [f.name for f in scan(tmp_path).images] == ["._mine.png", "Trash/kept.png"]
    assert [f.name for f in scan(tmp_path / "Trash").images] == ["kept.png"]


def test_case_H_they_are_not_counted_by_strict(trained: Trained, set_of_three: Path, tmp_path: Path, cli: Call) -> None:
    litter(set_of_three)
    code, _, err = cli("localise", set_of_three, "-m", trained.run, "-o", tmp_path / "out", "--strict")
    assert code == 0, err
    assert err.count("leftovers of other systems") == 1
    assert len(json.loads((tmp_path / "out/boxes.json").read_text())["images"]) == 3


def test_case_H_training_and_pretraining_say_so_too(tmp_path: Path, cli: Call) -> None:
    make_folder(tmp_path, 16)
    litter(tmp_path / "images")
    code, _, err = cli("train", tmp_path / "images", "-o", tmp_path / "run", "--strict", "--no-report", *QUICK_FLAGS)
    assert code == 0, err
    assert "leftovers of other systems" in err
    flags = ["--steps", "10", "--batch", "8", "--view", "32", "--imgsz", "32"]
    code, _, err = cli("pretrain", tmp_path / "images", "-o", tmp_path / "encoder", "--strict", *flags)
    assert code == 0, err
    assert "leftovers of other systems" in err


def test_case_H_a_folder_of_frames_is_not_ended_by_them(tmp_path: Path) -> None:
    make_folder(tmp_path, 3)
    litter(tmp_path / "images")
    video = open_video(tmp_path / "images", fps=25)
    assert len(list(video.frames())) == 3
    assert any("leftovers" in note for note in video.notes)


# ---- T2: several sources


@pytest.mark.parametrize("command", ["train", "localise", "pretrain"])
def test_case_T2_several_sources_after_a_command(trained: Trained, tmp_path: Path, cli: Call, command: str) -> None:
    """The shell opens patterns: 59 names were 59 unexpected arguments."""
    make_folder(tmp_path, 16)
    for n in range(4):
        write_image(tmp_path / f"more/{n:03d}.png", make_image(100 + n)[0])
    single = [tmp_path / "images" / f"{n:03d}.png" for n in range(16)]
    flags = {
        "train": [*QUICK_FLAGS, "--no-report"],
        "localise": ["-m", trained.run],
        "pretrain": ["--steps", "10", "--batch", "8", "--view", "32", "--imgsz", "32"],
    }[command]
    code, out, err = cli(command, *single, tmp_path / "more", single[0], "-o", tmp_path / "out", "--json", "-q", *flags)
    assert code == 0, err
    assert json.loads(out)["images"] == 20


def test_case_T2_equal_names_in_several_folders_stay_apart(trained: Trained, tmp_path: Path, cli: Call) -> None:
    for folder in ("cats", "dogs"):
        write_image(tmp_path / folder / "1.png", make_image(len(folder))[0])
    code, _, err = cli(
        "localise", tmp_path / "cats", tmp_path / "dogs", "-m", trained.run, "-o", tmp_path / "out", "--crops", "-q"
    )
    assert code == 0, err
    images = json.loads((tmp_path / "out/boxes.json").read_text())["images"]
    assert [i["file_name"] for i in images] == ["cats/1.png", "dogs/1.png"]
    assert len(list((tmp_path / "out/crops").rglob("*.png"))) == 2


def test_case_T2_one_of_several_that_is_not_there(trained: Trained, tmp_path: Path, cli: Call) -> None:
    write_image(tmp_path / "cats/1.png", make_image(0)[0])
    code, _, err = cli("localise", tmp_path / "cats", tmp_path / "dgos", "-m", trained.run, "-o", tmp_path / "out", "-q")
    assert code == 3
    assert "no such file or folder" in err
    assert "dgos" in err
    with pytest.raises(InputError, match="source is a video"):
        (tmp_path / "film.mp4").write_bytes(b"x")
        scan([tmp_path / "cats", tmp_path / "film.mp4"])


def test_permission_errors_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list's folder that cannot be read, in a list of several: named, and the others are taken."""
    make_folder(tmp_path, 2)
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for source in ([tmp_path / "images", tmp_path / "closed"], str(tmp_path / "**/*.png")):
        found = scan(source)
        assert len(found.images) == 2
        assert [s.reason for s in found.skipped] == ["unreadable folder: Permission denied"]
