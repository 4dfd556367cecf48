"""Letterboxes that are kept between trainings: the same pixels, and new ones of files that changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stn_cli.errors import OutputError
from stn_cli.media import letterbox_store as module
from stn_cli.media.cache import Cache, Letterbox, build_cache, load_letterbox
from stn_cli.media.decode import MAX_PIXELS
from stn_cli.media.letterbox_store import LetterboxStore
from stn_cli.media.scan import ImageFile, scan
from stn_cli.records import Skipped
from tests.conftest import QUICK_FLAGS, make_folder, make_image, write_image

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded."""
    names = list[str]()

    def loading(file: ImageFile, side: int, most: int = MAX_PIXELS) -> Letterbox | Skipped:
        names.append(file.name)
        return load_letterbox(file, side, most)

    monkeypatch.setattr(module, "load_letterbox", loading)
    return names


def built(folder: Path, images: Path, side: int = 40, most: int = MAX_PIXELS, warned: list[str] | None = None) -> Cache:
    with LetterboxStore(folder, side, (warned if warned is not None else []).append) as store:
        return build_cache(scan(images).images, side, max_pixels=most, workers=2, load=store.load)


def same(one: Cache, other: Cache) -> bool:
    return (
        one.names == other.names and one.frames == other.frames and one.skipped == other.skipped and one.notes == other.notes
        and np.array_equal(np.asarray(one.pixels), np.asarray(other.pixels))
    )  # fmt: skip


def test_what_did_not_change_is_not_decoded_again(tmp_path: Path, decoded: list[str]) -> None:
    make_folder(tmp_path, 6)
    images, kept = tmp_path / "images", tmp_path / "kept"
    (images / "bad.jpg").write_bytes(b"no image")
    plain = build_cache(scan(images).images, 40)
    assert same(built(kept, images), plain)
    assert len(decoded) == 7
    decoded.clear()
    assert same(built(kept, images), plain)
    assert decoded == ["bad.jpg"]  # what cannot be used is looked at again: it may have been mended
    write_image(images / "003.png", make_image(77)[0])
    os.utime(images / "004.png", ns=(1, 1))
    write_image(images / "new.png", make_image(78)[0])
    decoded.clear()
    assert same(built(kept, images), build_cache(scan(images).images, 40))
    assert sorted(decoded) == ["003.png", "004.png", "bad.jpg", "new.png"]
    decoded.clear()
    assert same(built(kept, images), build_cache(scan(images).images, 40))
    assert decoded == ["bad.jpg"]
    assert len(built(kept, images, most=100).skipped) == 8  # too many pixels are too many, also where they are kept
    decoded.clear()
    built(kept, images, side=32)
    assert len(decoded) == 8  # another side is another folder


@pytest.mark.parametrize("tokens", ["0123456789", "9876543210"])
def test_of_two_lists_the_one_that_fits_is_taken(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, tokens: str
) -> None:
    """Lists are read in the order of their names, which say nothing of their age."""
    make_folder(tmp_path, 2)
    images, kept, names = tmp_path / "images", tmp_path / "kept", iter(tokens)
    monkeypatch.setattr(module.secrets, "token_hex", lambda _: next(names))
    built(kept, images)
    os.utime(images / "001.png", ns=(1, 1))
    built(kept, images)
    decoded.clear()
    built(kept, images)
    assert decoded == []


@pytest.mark.parametrize("damage", ["pixels", "short", "list", "gone", "version"])
def test_what_is_damaged_is_decoded_again(damage: str, tmp_path: Path, decoded: list[str]) -> None:
    make_folder(tmp_path, 4)
    images, kept = tmp_path / "images", tmp_path / "kept"
    plain = built(kept, images)
    (rows,), (index,) = kept.glob("*/*.rows"), kept.glob("*/*.jsonl")
    data = bytearray(rows.read_bytes())
    if damage == "pixels":
        listed = [json.loads(line).get("path", "") for line in index.read_text().splitlines()[1:]]
        row = [path.endswith("001.png") for path in listed].index(True)  # they are kept as they come
        data[row * 40 * 40 * 3 + 5] ^= 255
        rows.write_bytes(data)
    elif damage == "short":
        rows.write_bytes(data[:-1])
    elif damage == "list":
        index.write_text(index.read_text()[:-9])
    elif damage == "gone":
        rows.unlink()
    else:
        head, *lines = index.read_text().splitlines()
        index.write_text("\n".join([json.dumps(json.loads(head) | {"version": "0.0"}), *lines]))
    decoded.clear()
    assert same(built(kept, images), plain)
    assert sorted(decoded) == (["001.png"] if damage == "pixels" else [f"{n:03d}.png" for n in range(4)])


def test_a_stop_keeps_what_was_decoded_and_a_full_disk_stops_nothing(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path, 4)
    files, kept = scan(tmp_path / "images").images, tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt), LetterboxStore(kept, 40, pytest.fail) as store:
        store.load(files[0], 40, MAX_PIXELS)
        raise KeyboardInterrupt
    decoded.clear()
    warned = list[str]()
    monkeypatch.setattr(module.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert len(built(kept, tmp_path / "images", warned=warned)) == 4
    assert len(decoded) == 3
    assert warned == [f"decoded images cannot be kept in {kept / 'letterboxes-40'} (No space left on device)"]
    assert len(list(kept.rglob("*"))) == 3  # the folder, and what the stopped one left
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--cache"):
        LetterboxStore(tmp_path / "file", 40, pytest.fail)


def test_a_training_with_kept_images_is_the_same(tmp_path: Path, cli: Call) -> None:
    make_folder(tmp_path, 8)
    models = []
    for name in ("first", "second"):
        call = ["train", tmp_path / "images", "-q", "--no-report", "--cache", tmp_path / "kept", "-o", tmp_path / name]
        assert cli(*call, *QUICK_FLAGS, "--encoder", "gradient")[0] == 0
        models.append((tmp_path / name / "model.safetensors").read_bytes())
    assert models[0] == models[1]
    assert len(list((tmp_path / "kept").glob("*/*.rows"))) == 1
