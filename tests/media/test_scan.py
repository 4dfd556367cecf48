from __future__ import annotations

import glob
import io
import os
import shutil
import sys
from pathlib import Path

import pytest

from stn_cli.errors import InputError
from stn_cli.media.scan import ImageFile, Scan, scan
from stn_cli.outputs.manifest import MANIFEST
from stn_cli.outputs.results import Results
from stn_cli.records import Skipped
from tests.conftest import make_image, write_image


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    image, _ = make_image(0)
    for name in ("b.png", "a.JPG", "sub/c.jpg", "sub/deep/d.png"):
        write_image(tmp_path / name.replace(".JPG", ".jpg"), image)
    (tmp_path / "a.jpg").rename(tmp_path / "a.JPG")
    (tmp_path / "sub/deep/d.png").rename(tmp_path / "sub/deep/no_extension")
    (tmp_path / "notes.md").write_text("not an image, not worth a word")
    (tmp_path / "looks.jpg").write_text("an image by its name only")
    return tmp_path


def names(source: object) -> list[str]:
    return [f.name for f in scan(source).images]  # type: ignore[arg-type]


def test_folder_is_read_with_subfolders_by_content_in_stable_order(tree: Path) -> None:
    assert names(tree) == ["a.JPG", "b.png", "looks.jpg", "sub/c.jpg", "sub/deep/no_extension"]


def test_file_glob_list_and_iterable(tree: Path) -> None:
    assert names(tree / "b.png") == ["b.png"]
    assert names(str(tree / "**/*.jpg")) == ["looks.jpg", "sub/c.jpg"]
    (tree / "list.txt").write_text("sub/c.jpg\nb.png\n\nmissing.png\n")
    found = scan(tree / "list.txt")
    assert [f.name for f in found.images] == ["sub/c.jpg", "b.png"]
    assert [s.reason for s in found.skipped] == ["No such file or directory"]
    assert names([tree / "b.png", tree / "sub/c.jpg"]) == ["b.png", "sub/c.jpg"]


def test_standard_input(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(os.fsencode(tree / "b.png") + b"\n")

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert names("-") == ["b.png"]


def test_a_name_with_wildcards_is_taken_literally_when_it_exists(tree: Path) -> None:
    (tree / "b.png").rename(tree / "b[1].png")
    assert names(tree / "b[1].png") == ["b[1].png"]


def test_results_inside_the_folder_are_not_read_as_input(tree: Path) -> None:
    before = names(tree)
    with Results(tree / "sub/out", "localise", ("crops",)).open() as work:
        write_image(work / "crops/x.png", make_image(0)[0])
        assert names(tree) == before  # what a call is just writing
    assert (tree / "sub/out/crops/x.png").is_file()
    assert names(tree) == before
    write_image(tree / "sub/out/mine.png", make_image(0)[0])
    assert names(tree) == sorted([*before, "sub/out/mine.png"])  # a person's own picture beside results is one


def test_symlinks_fifos_and_loops(tree: Path) -> None:
    (tree / "loop").symlink_to(tree)
    (tree / "link.png").symlink_to(tree / "b.png")
    os.mkfifo(tree / "pipe.png")
    found = scan(tree)
    assert "link.png" in [f.name for f in found.images]
    assert {(s.file, s.reason) for s in found.skipped} == {("loop", "symlinked folder"), ("pipe.png", "not a regular file")}


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        scan(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no file matches"):
        scan(str(tmp_path / "*.jpg"))
    (tmp_path / "film.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="source is a video"):
        scan(tmp_path / "film.mp4")


# ---- patterns


def test_patterns_follow_no_loop_of_links(tree: Path) -> None:
    """A loop gave one file 41 times."""
    (tree / "sub/loop").symlink_to(tree)
    (tree / "sub/up").symlink_to(tree / "sub")
    found = scan(str(tree / "**/*.png"))
    assert [f.name for f in found.images] == ["b.png"]
    assert {(s.file, s.reason) for s in found.skipped} == {("sub/loop", "symlinked folder"), ("sub/up", "symlinked folder")}
    with pytest.raises(InputError, match="no file matches"):
        scan(str(tree / "*/*/*.jpg"))
    assert names(str(tree / "*/*.jpg")) == ["c.jpg"]


def test_patterns_follow_links_that_do_not_lead_back(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_image(elsewhere / "e.jpg", make_image(1)[0])
    (tree / "sets").mkdir()
    (tree / "sets/one").symlink_to(elsewhere)
    assert names(str(tree / "sets/*/*.jpg")) == ["e.jpg"]


# pattern, what `glob.glob(pattern, recursive=True)` gives of the tree without links
PATTERNS = [
    "*",
    "**",
    "**/*",
    "*.png",
    "sub/*",
    "*/*",
    "**/deep/*",
    "s*/**/*.jpg",
    "[ab].*",
    ".*",
    "**/c.jpg",
    "*/deep/no_extension",
    "?.png",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mean_what_they_mean_in_python(tree: Path, pattern: str) -> None:
    (tree / ".hidden").mkdir()
    write_image(tree / ".hidden/h.jpg", make_image(2)[0])
    write_image(tree / ".h.png", make_image(2)[0])
    expected = {os.path.normpath(p) for p in glob.glob(str(tree / pattern), recursive=True) if not os.path.isdir(p)}
    assert {f.path for f in scan(str(tree / pattern)).images} == expected


def test_patterns_leave_out_results_and_leftovers_with_a_note(tree: Path) -> None:
    with Results(tree / "out", "localise", ("crops",)).open() as work:
        write_image(work / "crops/b.png", make_image(0)[0])
        found = scan(str(tree / "**/*.png"))
        assert [f.name for f in found.images] == ["b.png"]
        assert found.notes == ["1 folder left out: unfinished results of stn-coloc, named unfinished"]
    write_image(tree / "__MACOSX/b.png", make_image(0)[0])
    for pattern in ("**/*.png", "*/crops/b.png", "*/*/b.png"):
        found = scan(str(tree / pattern))
        assert [f.name for f in found.images] in (["b.png"], [])
        assert "1 file left out: results of stn-coloc, listed in .stn-coloc" in found.notes
    assert [f.name for f in scan(str(tree / "out/crops/*.png")).images] == ["b.png"]  # that is what was asked for


# ---- manifests


def test_a_marker_among_a_persons_own_pictures_hides_none(tree: Path) -> None:
    """It hid all of them, without a word."""
    before = names(tree)
    for content in (
        b"",
        b"Made by stn-coloc: scans for images leave this folder out.\n",
        b'{"tool": "stn-coloc", "manifest": 2}\n\xff',
    ):
        for folder in (tree, tree / "sub"):
            (folder / MANIFEST).write_bytes(content)
        assert names(tree) == before


def test_a_comment_in_a_list_is_no_missing_file(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copyfile(tree / "b.png", tree / "# mine.png")
    shutil.copyfile(tree / "b.png", tree / "#1.png")
    lines = ["# my pictures", "#", "## of June", "  # b.png", "# mine.png", "#1.png", "b.png", "#2.png", "# gone/x.png"]
    text = "\n".join(lines) + "\n"
    (tree / "list.txt").write_text(text)
    found = scan(tree / "list.txt")
    assert sorted(i.name for i in found.images) == ["# mine.png", "#1.png", "b.png"]  # a file's name may begin so
    assert [os.path.basename(row.file) for row in found.skipped] == ["#2.png"]
    monkeypatch.chdir(tree)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert scan("-") == Scan([ImageFile(i.name, i.name) for i in found.images], [Skipped("#2.png", found.skipped[0].reason)])


def test_what_a_manifest_lists_is_left_out_and_said(tree: Path) -> None:
    lines = [b'{"tool": "stn-coloc", "manifest": 2, "command": "localise"}\n']
    for name, path in (
        ("c.jpg", "sub/c.jpg"),
        ("../b.png", "b.png"),
        ("/a.JPG", "a.JPG"),
        ("deep/%6eo_extension", "sub/deep/no_extension"),
    ):
        lines.append(f"{(tree / path).stat().st_size} 0 {name}\n".encode())
    (tree / "sub" / MANIFEST).write_bytes(b"".join(lines))
    found = scan(tree)
    assert [f.name for f in found.images] == ["a.JPG", "b.png", "looks.jpg"]
    assert found.notes == ["1 file left out: results of stn-coloc, listed in .stn-coloc"]  # the other has no image's extension
    assert scan([tree / "sub", tree / "b.png"]).notes == found.notes
    (tree / "list.txt").write_text("sub\nb.png\n")
    assert names(tree / "list.txt") == ["b.png"]
    assert names(tree / "sub/c.jpg") == ["c.jpg"]  # named itself
    write_image(tree / "sub/c.jpg", make_image(7, size=(90, 90))[0])
    assert "sub/c.jpg" in names(tree)  # a person's own picture came in its place


# ---- several sources and their names


def test_names_stay_unique_however_sources_overlap(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    sources = ["b.png", str(tree / "b.png"), "./sub/../b.png", "sub", "sub/c.jpg", "sub/deep", str(tree)]
    found = scan(sources)
    assert sorted(f.name for f in found.images) == ["a.JPG", "b.png", "looks.jpg", "sub/c.jpg", "sub/deep/no_extension"]


def test_equal_names_in_several_folders(tmp_path: Path) -> None:
    for folder in ("a", "b", "b/c"):
        write_image(tmp_path / folder / "x.png", make_image(0)[0])
    assert names([tmp_path / "a", tmp_path / "b"]) == ["a/x.png", "b/c/x.png", "b/x.png"]
    assert names([tmp_path / "a"]) == ["x.png"]


def test_a_folder_through_a_link_and_hidden_files(tree: Path) -> None:
    write_image(tree / "sub/.hidden.jpg", make_image(0)[0])
    (tree / "way").symlink_to(tree / "sub")
    assert names(tree / "way") == [".hidden.jpg", "c.jpg", "deep/no_extension"]


@pytest.mark.parametrize(
    ("source", "words"), [("a\0b.jpg", "no such file"), ("http://x.org/a.jpg", "download it first"), ("", "no such")]
)
def test_sources_that_are_none(source: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        scan(source)


def test_a_misspelt_folder_among_several_is_an_error_and_a_vanished_picture_a_row(tree: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder: 'subb'"):
        scan([tree / "sub", "subb"])
    found = scan([tree / "b.png", tree / "gone.png"])
    assert [(os.path.basename(s.file), s.reason) for s in found.skipped] == [("gone.png", "No such file or directory")]


def test_a_large_tree_is_listed_without_a_look_at_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is opened or asked for its size: a hundred thousand would take minutes on a slow disk."""
    for n in range(100):
        (tmp_path / f"{n:03d}").mkdir()
        for k in range(100):
            (tmp_path / f"{n:03d}/{k:03d}.jpg").touch()
    looked: list[str] = []
    for name in ("stat", "lstat", "open"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda path, *a, _real=real, **k: (looked.append(os.fspath(path)), _real(path, *a, **k))[1]
        )
    found = scan(tmp_path)
    monkeypatch.undo()
    assert len(found.images) == 10_000
    assert not [path for path in looked if path.endswith(".jpg")]


def test_a_video_among_images_is_said_to_be_left_out(tmp_path: Path) -> None:
    for name in ("a.png", "clip.mp4", "below/CLIP.MOV", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = scan(tmp_path)
    assert [f.name for f in found.images] == ["a.png"]
    assert found.notes == ["2 videos left out: name a video itself, and its frames are taken"]
    assert found.skipped == []
