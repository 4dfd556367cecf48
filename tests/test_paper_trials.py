"""The experiments beyond the paper's tables: each runs, and its pictures and costs are what they are said to be."""

from __future__ import annotations

import importlib
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.paper import (
    basis,
    high_resolution,
    house_numbers,
    oversampling,
    parts,
    pooling,
    segmentation,
    theta_forward,
    trials,
)
from benchmarks.paper.mnist import SIZES, placed, translated
from benchmarks.paper.pictures import drawn_digits
from tests.conftest import SHARED

needs_mnist = pytest.mark.skipif(not (SHARED / "data" / "mnist").is_dir(), reason="MNIST is not part of the project")
DIGITS, LABELS = drawn_digits([2, 3, 4, 5]), torch.tensor([2, 3, 4, 5])

# module, and rows that its table must have
QUICK = [
    pytest.param("pooling", ["max-pooling", "two transformers"], marks=needs_mnist),
    pytest.param("theta_forward", ["R, crop alone", "T, crop and theta"], marks=needs_mnist),
    pytest.param("house_numbers", ["64, after convolution 1", "128 eased, at the input"], marks=needs_mnist),
    pytest.param("basis", ["E, thin plate spline", "waves, structured, B learned"], marks=needs_mnist),
    pytest.param("high_resolution", ["TC 256 eased, f_loc at 32", "RTS 300, shared convolutions"], marks=needs_mnist),
    pytest.param("oversampling", ["crop of 20, bicubic", "no transformer, enlarged 3 times"], marks=needs_mnist),
    pytest.param("segmentation", ["reduced to 19 x 19", "through a transformer"], marks=needs_mnist),
    pytest.param("parts", ["whole image, 32 x 32", "4 transformers"]),
]


@pytest.mark.parametrize(("name", "rows"), QUICK)
def test_quick(
    name: str, rows: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    module = importlib.import_module(f"benchmarks.paper.{name}")
    monkeypatch.setattr("sys.argv", [name, "--quick"])
    monkeypatch.setattr("benchmarks.provenance.RESULTS", tmp_path)
    module.main()
    out = capsys.readouterr().out
    for row in rows:
        assert row in out
    assert not list(tmp_path.iterdir())


def test_multiply_adds_of_a_convolution_a_layer_and_what_a_transformer_reads() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 3, 5, padding=2), nn.Flatten(), nn.Linear(3 * 64, 7))
    assert trials.multiply_adds(plain, torch.zeros(2, 1, 8, 8)) == 64 * 3 * 25 + 3 * 64 * 7
    network = pooling.network("two transformers", 28, 4)
    counted, pool = trials.multiply_adds(network, torch.zeros(1, 1, 28, 28)), pooling.transformer(4)
    assert counted > trials.multiply_adds(pooling.network("max-pooling", 28, 4), torch.zeros(1, 1, 28, 28))
    assert trials.multiply_adds(pool, torch.zeros(1, 4, 28, 28)) > 4 * 4 * 14 * 14


def test_networks_with_and_without_pooling_transformers_cost_the_same() -> None:
    x = torch.zeros(1, 1, SIZES[pooling.KIND], SIZES[pooling.KIND])
    for way in pooling.WAYS:
        network = trials.widest(lambda width, way=way: pooling.network(way, SIZES[pooling.KIND], width), x, pooling.BUDGET)
        assert 0.9 * pooling.BUDGET < trials.multiply_adds(network, x) <= pooling.BUDGET, way


def test_mean_and_the_least_and_the_most_of_the_seeds() -> None:
    assert trials.told([1.0, 3.0]) == "2.0 (1.0 to 3.0)"
    assert trials.told([1.25], 2) == "1.25"


def test_a_digits_place_and_angle_are_those_of_its_ink() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = theta_forward.batch_of("T", DIGITS, LABELS, g, 8)
    at = (torch.arange(60) + 0.5) / 30 - 1
    ink = x[:, 0] / x.sum((1, 2, 3))[:, None, None]
    middle = torch.stack([(ink * at).sum((1, 2)), (ink * at[:, None]).sum((1, 2))], 1)
    assert (middle - y[:, 1:]).abs().max() < 0.1
    x, y = theta_forward.batch_of("R", DIGITS[:1], LABELS[:1], g, 8)
    back = placed(x, -theta_forward.angle_of(y[:, 1:]), torch.ones(8), torch.zeros(8, 2), 28)
    assert (back - DIGITS[:1] / 255).abs().mean() < 0.05 < (x - DIGITS[:1] / 255).abs().mean()


@pytest.mark.parametrize("side", [64, 128])
def test_numbers_lie_inside_and_have_as_many_digits_as_is_said(side: int) -> None:
    x, y = house_numbers.numbers(DIGITS, LABELS, side, torch.Generator().manual_seed(0), 32)
    assert x.shape == (32, 1, side, side)
    two = y[:, 1] != house_numbers.NONE
    assert 0 < int(two.sum()) < 32
    assert (y[:, 0] != house_numbers.NONE).all()
    ink = x.sum((1, 2, 3))
    assert ink[two].mean() > 1.7 * ink[~two].mean()
    assert x[..., [0, -1], :].max() < 0.1


def test_eased_numbers_are_tight_for_the_first_half() -> None:
    make, g = partial(house_numbers.numbers, DIGITS, LABELS, 128), torch.Generator().manual_seed(0)
    batch = trials.Eased(partial(make, frame=64), make, steps=4)
    outside = torch.ones(128, 128)
    outside[32:96, 32:96] = 0
    ink = [float((batch(g, 16)[0] * outside).max()) for _ in range(6)]
    assert [most > 0.5 for most in ink] == [False, False, True, True, False, False]


def test_a_framed_digit_lies_in_the_middle() -> None:
    x = translated(DIGITS / 255, torch.Generator().manual_seed(0), side=128, clutter=0, frame=40)
    assert x[..., 44:84, 44:84].sum() == x.sum() > 0
    assert x[..., 50:78, 50:78].sum() < x.sum()


def test_a_learned_basis_is_learned_and_at_its_own_rate() -> None:
    def values_after(share: float) -> torch.Tensor:
        torch.manual_seed(0)
        network = basis.network("waves", "structured, B learned")

        def batch(g: torch.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
            index = torch.randint(4, (n,), generator=g)
            return basis.waved(DIGITS[index].float() / 255, g), LABELS[index]

        trials.fit(network, batch, trials.Schedule(4, 8, basis_lr=share))
        return network.transformer.transform.values.detach()

    start = basis.Structured(2).values
    assert torch.equal(values_after(0), start)
    assert 0 < (values_after(1) - start).abs().max() < (values_after(10) - start).abs().max()


def test_waves_are_one_and_a_half_sines() -> None:
    assert torch.allclose(basis.sines(torch.tensor([[0.0, 1 / 3], [1 / 3, 0.0]])), torch.eye(2), atol=1e-6)


def test_a_part_is_held_by_the_transformer_that_is_sent_there() -> None:
    x, y = parts.birds(6, 0)
    network = parts.InParts(2)
    for transformer, at in zip(network.transformers.transformers, (y[:, 1:3], y[:, 3:5]), strict=True):
        transformer.localisation = nn.Module()
        transformer.localisation.forward = lambda U, at=at: at
    held = parts.held(network, x.float() / 255, y)
    assert held[:, 0, 0].all()
    assert held[:, 1, 1].all()
    assert not held[:, 0, 1].any()
    for picture, row in zip(x, y, strict=True):
        px, py = (round(float(v + 1) * parts.SIDE / 2) for v in row[1:3])
        assert picture[0, py - 4 : py + 4, px - 4 : px + 4].max() > 200


def test_birds_differ_in_their_parts() -> None:
    _, y = parts.birds(200, 0)
    assert len(set(y[:, 0].tolist())) == parts.PATTERNS**2
    assert math.isclose(float(y[:, 1].mean() - y[:, 3].mean()), 1.0, abs_tol=0.15)


def test_shared_convolutions_are_counted_and_learned_once() -> None:
    own, shared = (high_resolution.sharing(way) for way in high_resolution.WAYS[1:])
    counts = [sum(p.numel() for p in network.parameters()) for network in (own, shared)]
    assert counts[0] - counts[1] == sum(p.numel() for p in high_resolution.body().parameters())
    assert shared.transformer.localisation.trunk is shared.classifier[0]


def test_the_cost_of_f_loc_is_that_of_what_it_sees_and_not_of_the_image() -> None:
    costs = [trials.multiply_adds(high_resolution.finder(side, 16), torch.zeros(1, 1, side, side)) for side in (64, 256)]
    assert len(set(costs)) == 1


def test_small_digits_have_ten_pixels_and_lie_inside() -> None:
    x = oversampling.reduced(DIGITS, torch.Generator().manual_seed(0))
    assert x.shape == (4, 1, oversampling.SIDE, oversampling.SIDE)
    area = (x > 0.2).sum((1, 2, 3))
    assert (area > 5).all()
    assert (area < oversampling.SMALL**2).all()
    assert oversampling.transformed(40, "bilinear", 4).transformer(x)[0].shape == (4, 1, 40, 40)


def test_the_pixels_asked_for_are_the_digits_own_and_an_answer_comes_back_where_it_was_cut() -> None:
    x, own = segmentation.scenes(DIGITS, torch.Generator().manual_seed(0))
    assert x.shape == own.shape == (4, 1, segmentation.SIDE, segmentation.SIDE)
    assert bool((x[own > 0] > segmentation.INK).all())
    assert float(own.sum()) == float((DIGITS / 255 > segmentation.INK).sum())
    assert float((x > segmentation.INK).sum()) > 1.5 * float(own.sum())  # the rest is clutter
    through = segmentation.Through()
    for weight in through.layers[-1].parameters():
        torch.nn.init.constant_(weight, 0.0)
    answer = through(x).detach()  # log odds 0 in the crop, which begins in the middle
    assert float(answer[..., 28:32, 28:32].abs().max()) < 1e-4
    assert bool((answer[..., :10, :] == segmentation.NOWHERE).all())
