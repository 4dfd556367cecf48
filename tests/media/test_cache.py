from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stn_cli.geometry import Frame
from stn_cli.media import rows
from stn_cli.media.cache import build_cache, letterbox_side, load_letterbox, place
from stn_cli.media.scan import ImageFile, scan
from stn_cli.records import Skipped
from stn_cli.runtime.ordered import ordered_map
from tests.conftest import make_folder, make_image, write_image


def test_results_keep_their_order_and_few_are_under_way() -> None:
    running: list[int] = []

    def slow(i: int) -> int:
        running.append(i)
        time.sleep(0.002 * (i % 3))
        return i

    results = ordered_map(slow, range(1000), workers=2)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(running) < 30
    results.close()


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def fail(i: int) -> int:
        if i == 3:
            raise ValueError("three")
        return i

    with pytest.raises(ValueError, match="three"):
        list(ordered_map(fail, range(10), workers=2))


@pytest.mark.parametrize("size", [(30, 60), (60, 30), (48, 48), (12, 100)])
def test_the_image_lies_centred_and_its_edge_is_repeated(size: tuple[int, int]) -> None:
    image, _ = make_image(0, size=size, side=8)
    frame = Frame(size[1], size[0], 32)
    letterbox = place(image, frame)
    left, top, _, _ = frame.content
    assert letterbox.shape == (32, 32, 3)
    if top > 0:
        np.testing.assert_array_equal(letterbox[0], letterbox[top])
    if left > 0:
        np.testing.assert_array_equal(letterbox[:, 0], letterbox[:, left])


def test_small_sets_are_not_enlarged(tmp_path: Path) -> None:
    make_folder(tmp_path, 3)  # 60 x 48
    files = scan(tmp_path / "images").images
    assert letterbox_side(files, 128) == 60
    assert letterbox_side(files, 40) == 40


@pytest.mark.parametrize("kept", [False, True])
def test_cache_holds_what_could_be_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    make_folder(tmp_path, 4)
    (tmp_path / "images/001.png").write_bytes(b"")
    files = scan(tmp_path / "images").images
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    cache = build_cache(files, 48, tmp_path if kept else None, workers=2)
    assert cache.names == ["000.png", "002.png", "003.png"]
    assert [(s.file, s.reason) for s in cache.skipped] == [("001.png", "empty")]
    batch = cache.batch(torch.tensor([2, 0]), torch.device("cpu"))
    assert batch.shape == (2, 3, 48, 48)
    alone = load_letterbox(ImageFile(str(tmp_path / "images/003.png"), "x"), 48)
    np.testing.assert_allclose(batch[0].permute(1, 2, 0).numpy() * 255, alone.pixels, atol=1e-3)  # type: ignore[union-attr]


def test_jpeg_on_the_letterbox_does_not_depend_on_reduced_decoding(tmp_path: Path) -> None:
    image, _ = make_image(3, size=(600, 800), side=300)
    write_image(tmp_path / "a.png", image)
    write_image(tmp_path / "a.jpg", image)
    a, b = (load_letterbox(ImageFile(str(tmp_path / n), n), 64) for n in ("a.png", "a.jpg"))
    assert np.abs(a.pixels.astype(int) - b.pixels).mean() < 4  # type: ignore[union-attr]


def test_11_an_animation_is_one_image_and_one_note(tmp_path: Path) -> None:
    frames = [Image.fromarray(make_image(n)[0]) for n in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    letterbox = load_letterbox(ImageFile(str(tmp_path / "a.gif"), "a.gif"), 48)
    assert not isinstance(letterbox, Skipped)
    assert letterbox.note == "animated: first frame only"
