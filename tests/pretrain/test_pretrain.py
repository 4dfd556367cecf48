"""Pretraining: that its parts do what they say, and that a short one goes through, is resumed and is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stn_cli.encoders.small import FILE, SmallEncoder
from stn_cli.errors import CheckpointError, InputError, Interrupted
from stn_cli.media.cache import build_cache
from stn_cli.media.scan import scan
from stn_cli.pretrain.__main__ import main
from stn_cli.pretrain.folder import pretrain_folder
from stn_cli.pretrain.objectness import box_cells
from stn_cli.pretrain.pictures import load_shards, random_views
from stn_cli.pretrain.selfsupervised import SelfSupervisedRecipe, matching_cells, train_selfsupervised, vicreg
from stn_cli.pretrain.state import load_pretraining
from stn_cli.pretrain.supervised import cutmix, mosaic
from stn_cli.runtime.stopping import StopRequest
from tests.conftest import make_folder

CPU = torch.device("cpu")


def make_shard(path: Path, count: int = 48, classes: int = 2) -> Path:
    """Pictures of 64 x 64: a disc (class 0) or a square (class 1) of its own colour, anywhere on grey noise."""
    rng = np.random.default_rng(0)
    blobs, offset, labels = [], [0], []
    for n in range(count):
        image = rng.integers(90, 140, (64, 64, 3), np.uint8)
        x, y = rng.integers(16, 48, 2).tolist()
        if n % classes == 0:
            cv2.circle(image, (x, y), 10, (30, 40, 210), -1)
        else:
            cv2.rectangle(image, (x - 9, y - 9), (x + 9, y + 9), (200, 120, 20), -1)
        blobs.append(cv2.imencode(".webp", image)[1].tobytes())
        offset.append(offset[-1] + len(blobs[-1]))
        labels.append(n % classes)
    np.savez(path, blob=np.frombuffer(b"".join(blobs), np.uint8), offset=np.array(offset), label=np.array(labels, np.int16))
    return path


@pytest.mark.parametrize("axis", [0, 1])
def test_views_are_where_they_say(axis: int) -> None:
    """A view of a grey picture that holds one of its coordinates shows the coordinate of its affine map, up to contrast."""
    line = 0.3 + 0.4 * (torch.arange(64) + 0.5) / 64
    picture = line.expand(64, 64) if axis == 0 else line[:, None].expand(64, 64)
    views = random_views(picture.expand(8, 3, 64, 64), 32, torch.Generator().manual_seed(0))
    assert views.images.shape == (8, 3, 32, 32)
    at = torch.nn.functional.affine_grid(views.affine, [8, 3, 32, 32], align_corners=False)
    assert float(at.abs().max()) <= 1
    for n in range(8):
        seen, wanted = views.images[n].mean(0).flatten(), at[n, ..., axis].flatten()
        assert float(torch.corrcoef(torch.stack([seen, wanted]))[0, 1]) > 0.99


def test_views_stay_on_the_image() -> None:
    rectangles = torch.tensor([[-1.0, -0.4, 1.0, 0.4]]).expand(16, 4)
    views = random_views(torch.rand(16, 3, 32, 32), 16, torch.Generator().manual_seed(0), 0.1, rectangles)
    corners = torch.nn.functional.affine_grid(views.affine, [16, 3, 16, 16], align_corners=False)
    assert float(corners[..., 1].abs().max()) <= 0.4


def test_cells_in_boxes_follow_the_view() -> None:
    boxes = torch.tensor([[-0.5, -0.5, 0.5, 0.5]])
    whole = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    assert float(box_cells(boxes, whole, (8, 8)).sum()) == 16
    corner = torch.tensor([[[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]])  # the lower right quarter: the box fills its upper left
    seen = box_cells(boxes, corner, (8, 8))[0]
    assert float(seen[:4, :4].mean()) == 1
    assert float(seen.sum()) == 16


def test_cutmix_mixes_targets_by_area() -> None:
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, 16, 16)
    target = torch.eye(4)
    mixed, shares = cutmix(images, target, torch.Generator().manual_seed(3))
    for n in range(4):
        kept = float((mixed[n, 0] == n).float().mean())
        assert float(shares[n, n]) == pytest.approx(kept)
        assert float(shares[n, (n - 1) % 4]) == pytest.approx(1 - kept)


def test_mosaics_hold_four_pictures_each_in_its_quarter() -> None:
    """Pictures of one grey each keep their order when a quarter's cells are pooled; a ramp stays a ramp."""
    grey = torch.linspace(0.2, 0.6, 10)
    seen = mosaic(grey[:, None, None, None].expand(10, 3, 64, 64), torch.Generator().manual_seed(0))
    each, _, side, _ = seen.images.shape
    assert each == 2
    corners = [seen.images[..., r, c] for r in (0, side - 1) for c in (0, side - 1)]
    for stride in (8, 16):
        pooled = seen.pool(F.avg_pool2d(seen.images, stride))
        torch.testing.assert_close(pooled, torch.cat(corners), atol=1e-5, rtol=0)
    ramp = (0.3 + 0.4 * (torch.arange(64) + 0.5) / 64).expand(4, 3, 64, 64)
    laid = mosaic(ramp, torch.Generator().manual_seed(4))
    x, y = laid.split[0] * 16, laid.split[1] * 16
    shown = laid.images[0, :, :y, :x].mean(0)
    assert float((shown - shown[:1]).abs().max()) < 1e-5  # nothing turned, nothing of the other quarters
    steps = shown[0].diff()
    assert float((steps * steps.sum().sign()).min()) > -1e-6  # the ramp, or its mirror image
    assert float(shown.std()) > 0.01


def test_vicreg_against_its_equations() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn((64, 5), generator=g), torch.randn((64, 5), generator=g)
    wanted = 25 * ((x - y) ** 2).mean()
    for z in (x, y):
        c = torch.cov(z.T)
        wanted = wanted + 25 * torch.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() / 2
        wanted = wanted + (c.square().sum() - c.diag().square().sum()) / 5
    torch.testing.assert_close(vicreg(x, y), wanted)


def test_matching_cells_are_of_one_place() -> None:
    line = (torch.arange(16) + 0.5) / 8 - 1
    places = torch.stack([line.expand(16, 16), line[:, None].expand(16, 16)])[None]
    affine_a = torch.tensor([[[0.6, 0.0, -0.2], [0.0, 0.6, 0.1]]])
    affine_b = torch.tensor([[[-0.8, 0.0, 0.1], [0.0, 0.8, 0.0]]])  # mirrored

    def seen(affine: torch.Tensor) -> torch.Tensor:  # maps that hold the picture's coordinates
        return torch.einsum("bij,bjhw->bihw", affine[..., :2], places) + affine[..., 2, None, None]

    point = torch.rand((1, 12, 2), generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    here, there, both = matching_cells(seen(affine_a), seen(affine_b), affine_a, affine_b, point)
    assert int(both.sum()) > 4
    torch.testing.assert_close(here[both], there[both], atol=0.02, rtol=0)


def test_the_packages_own_recipe_goes_through(tmp_path: Path) -> None:
    shard = make_shard(tmp_path / "a.npz", 260)
    words = [str(shard), "--held-out", str(shard), "--out", str(tmp_path / "out"), "--epochs", "2", "--objectness-steps", "2"]
    main([*words, "--device", "cpu"])
    encoder = SmallEncoder(tmp_path / "out")
    assert encoder.facts["classes"] == 2
    assert encoder.head is not None
    main([*words, "--device", "cpu"])  # goes on from a finished state: the same weights
    for name, value in SmallEncoder(tmp_path / "out").state_dict().items():
        assert torch.equal(value, encoder.state_dict()[name]), name
    words[words.index(str(tmp_path / "out"))] = str(tmp_path / "more")
    main([*words, "--device", "cpu", "--start", str(tmp_path / "out"), "--lr", "1e-9"])
    more = SmallEncoder(tmp_path / "more")
    assert more.facts["epochs"] == 4
    torch.testing.assert_close(more.network.stem[0].weight, encoder.network.stem[0].weight, atol=1e-3, rtol=0)


def test_a_shard_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a shard of pictures"):
        load_shards([tmp_path / "x.npz"])


def test_a_folder_becomes_an_encoder(tmp_path: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    make_folder(tmp_path, 18)
    out = tmp_path / "encoder"
    code, text, err = cli("pretrain", tmp_path / "images", "-o", out, "--steps", 10, "--batch", 8, "--view", 32, "--imgsz", 48)
    assert code == 0, err
    assert text.strip() == str(out)
    encoder = SmallEncoder(out)
    assert encoder.head is None
    assert encoder.facts["from"] == "small"
    shipped = SmallEncoder().state_dict()
    assert any(not torch.equal(v, shipped[k]) for k, v in encoder.state_dict().items())
    code, _, err = cli(
        "train", tmp_path / "images", "-o", tmp_path / "run", "--encoder", out, "--search", "deformable", "--steps", 4, "--finetune", 1,
        "--imgsz", 48, "--batch", 4, "--no-report",
    )  # fmt: skip
    assert code == 0, err
    (out / FILE).unlink()
    code, _, err = cli("localise", tmp_path / "images", "-m", tmp_path / "run", "-o", tmp_path / "boxes")
    assert code == 0, err  # the run holds the weights


def test_pretraining_goes_on_bit_for_bit(tmp_path: Path) -> None:
    make_folder(tmp_path, 16)
    cache = build_cache(scan(tmp_path / "images").images, 48)
    recipe = SelfSupervisedRecipe(steps=8, batch=8, side=32)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, loss = train_selfsupervised(cache, tmp_path / "whole", recipe, CPU)
    assert loss < 1e3

    class Soon(StopRequest):
        count = 0

        def check(self, todo: str = "") -> None:
            self.count += 1
            if self.count == 3:
                self.signum = 2  # seen after the next step, which is saved first
                return
            super().check(todo)

    with pytest.raises(Interrupted):
        train_selfsupervised(cache, tmp_path / "parts", recipe, CPU, stop=Soon())
    assert load_pretraining(tmp_path / "parts", {})[0] == 4
    parts, _ = train_selfsupervised(cache, tmp_path / "parts", recipe, CPU)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_bad_input(tmp_path: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    make_folder(tmp_path, 3)
    with pytest.raises(InputError, match="16"):
        pretrain_folder(tmp_path / "images", tmp_path / "out")
    make_folder(tmp_path, 18)
    with pytest.raises(CheckpointError, match="nothing to resume"):
        pretrain_folder(tmp_path / "images", tmp_path / "out", resume=True)
    for flags, said in (
        (["--from", "there"], "unknown --from"),
        (["--steps", 1], "--steps must be"),
        (["--view", 512, "--imgsz", 64], "--view must be no larger"),
        (["--lr", 0], "--lr must be"),
    ):
        code, _, err = cli("pretrain", tmp_path / "images", "-o", tmp_path / "out", *flags)
        assert code == 2
        assert said in err
