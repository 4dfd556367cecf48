from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from stn_cli.errors import InputError
from stn_cli.media.scan import scan
from stn_cli.results import Results
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
