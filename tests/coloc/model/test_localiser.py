from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.coloc.scene import Scene
from stn_cli.errors import ResourceError
from stn_cli.media.scan import scan
from stn_cli.records import ImageRecord, Localisation
from tests.conftest import Trained, make_image


@pytest.fixture
def localiser(trained: Trained) -> Localiser:
    return Localiser.load(trained.run)


def test_scores_tell_the_object_from_its_absence(localiser: Localiser) -> None:
    rng = np.random.default_rng(9)
    present = [localiser.localise(make_image(n)[0]).score for n in range(600, 612)]
    noise = [rng.integers(60, 150, (48, 60, 1), np.uint8).repeat(3, 2) for _ in range(12)]
    absent = [localiser.localise(image).score for image in noise]
    wins = sum(p > a for p in present for a in absent) / 144
    assert wins >= 0.9
    assert np.mean(present) > 0.6
    assert np.mean(absent) < 0.5


def test_record_is_consistent(localiser: Localiser) -> None:
    image, _ = make_image(700, size=(90, 60))
    found = localiser.localise(image, "a.png")
    assert (found.file, found.width, found.height) == ("a.png", 60, 90)
    xs, ys = zip(*found.quad, strict=True)
    clipped = (max(0, min(xs)), max(0, min(ys)), min(60, max(xs)), min(90, max(ys)))
    assert found.box == pytest.approx(clipped, abs=1e-3)
    a, b, tx, c, d, ty = found.theta
    assert ((-a - b + tx + 1) * 30, (-c - d + ty + 1) * 45) == pytest.approx(found.quad[0], abs=1e-3)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copied", "pickled"])
def test_copies_find_the_same(localiser: Localiser, how: Callable[[Localiser], Localiser]) -> None:
    """All modules of a model: encoder, finder, scorer, calibration."""
    image, _ = make_image(701)
    assert how(localiser).localise(image) == localiser.localise(image)


def test_batches_and_singles_agree(localiser: Localiser, trained: Trained) -> None:
    files = scan(trained.images).images
    together = list(localiser.localise_files(files, batch=7))
    for file, record in zip(files, together, strict=True):
        assert isinstance(record, ImageRecord)
        alone = localiser.localise(file.path, file.name)
        assert record.objects[0].box == pytest.approx(alone.box, abs=0.05)


def test_low_scores_keep_the_image_without_the_object(localiser: Localiser, trained: Trained) -> None:
    records = list(localiser.localise_files(scan(trained.images).images[:3], min_score=1.0))
    assert [len(r.objects) for r in records if isinstance(r, ImageRecord)] == [0, 0, 0]


def test_a_crop_shows_the_object_at_full_resolution(localiser: Localiser) -> None:
    image = np.zeros((400, 600, 3), np.uint8)
    image[100:200, 300:500] = (10, 200, 30)
    found = Localisation("", 600, 400, (0, 0, 0, 0), ((0, 0),) * 4, (1 / 3, 0, 1 / 3, 0, 1 / 4, -1 / 4), 1.0)
    crop = localiser.crop(image, found, 100)
    assert crop.shape == (50, 100, 3)
    assert (crop[2:-2, 2:-2] == (10, 200, 30)).all()
    half = localiser.crop(np.ascontiguousarray(image[::2, ::2]), found, 100)  # the same crop of a reduced picture
    assert np.abs(half[3:-3, 3:-3].astype(int) - (10, 200, 30)).max() <= 1


def test_a_crop_may_reach_outside(localiser: Localiser) -> None:
    image = np.full((40, 40, 3), 77, np.uint8)
    found = Localisation("", 40, 40, (0, 0, 0, 0), ((0, 0),) * 4, (0.5, 0, 1.4, 0, 0.5, -3.0), 1.0)
    assert (localiser.crop(image, found, 16) == 77).all()


def test_out_of_memory_halves_the_batch(localiser: Localiser, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 47."""
    real = Localiser.look
    notes: list[str] = []

    def tight(self: Localiser, scene: Scene) -> list[tuple[Crops, torch.Tensor]]:
        if len(scene) > 3:
            raise torch.OutOfMemoryError("pretend")
        return real(self, scene)

    monkeypatch.setattr(Localiser, "look", tight)
    records = list(localiser.localise_files(scan(trained.images).images, batch=16, warn=notes.append))
    assert len(records) == 20
    assert "batches of 2" in notes[-1]

    def never(self: Localiser, scene: Scene) -> list[tuple[Crops, torch.Tensor]]:
        raise torch.OutOfMemoryError("pretend")

    monkeypatch.setattr(Localiser, "look", never)
    with pytest.raises(ResourceError, match="out of memory"):
        list(localiser.localise_files(scan(trained.images).images))


def test_paths_and_arrays(localiser: Localiser, trained: Trained) -> None:
    found = localiser.localise(Path(trained.images / "000.png"))
    assert found.file == "000.png"
