from __future__ import annotations

import math

import pytest
import torch

from stn_cli.coloc.objective import triplet_margin_loss
from stn_cli.encoders import GradientEncoder, embed_crops, map_windows
from stn_cli.encoders.gradient_maps import blur, lab, opponent, orientation_bins, orientation_harmonics


def test_loss_is_the_papers_double_sum() -> None:
    torch.manual_seed(0)
    e, r = torch.rand(5, 7, dtype=torch.float64), torch.rand(5, 3, 7, dtype=torch.float64)
    total = 0.0
    for n in range(5):
        for m in range(5):
            if m != n:
                for k in range(3):
                    total += max(0.0, float((e[n] - e[m]).square().sum() - (e[n] - r[n, k]).square().sum()) + 0.4) / 3
    assert float(triplet_margin_loss(e, r, 0.4)) == pytest.approx(total / 20)


def test_loss_is_zero_when_the_margin_holds() -> None:
    e = torch.ones(4, 3)
    assert float(triplet_margin_loss(e, e[:, None] + 2, 1.0)) == 0
    assert float(triplet_margin_loss(e, e[:, None], 1.0)) == 1


def test_orientation_channels_are_powers_of_the_cosine() -> None:
    """cos(angle - k pi / 8)^6 times the magnitude, against the closed form, for edges at any angle."""
    for angle in (0.0, 0.3, 1.0, 2.2, 3.0):
        y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        ramp = 0.01 * (x * math.cos(angle) + y * math.sin(angle))
        bins = orientation_bins(orientation_harmonics(ramp[None, None].double()))[0, :, 8, 8]
        expected = torch.tensor([0.01 * math.cos(angle - k * math.pi / 8) ** 6 for k in range(8)], dtype=torch.float64)
        torch.testing.assert_close(bins, expected, atol=1e-6, rtol=1e-4)


def test_blur_keeps_means_and_constants() -> None:
    x = torch.full((1, 2, 9, 9), 0.7)
    torch.testing.assert_close(blur(x, 1.3), x)
    spot = torch.zeros(1, 1, 21, 21)
    spot[..., 10, 10] = 1
    out = blur(spot, 1.5)
    assert float(out.sum()) == pytest.approx(1, abs=1e-5)
    i = torch.arange(21.0) - 10
    assert float((out[0, 0].sum(0) * i.square()).sum().sqrt()) == pytest.approx(1.5, abs=0.1)


def test_lab_of_known_colours() -> None:
    """CIE values of sRGB white, black, red and blue (D65), divided by 100."""
    rgb = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)[..., None, None]
    expected = torch.tensor([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]], dtype=torch.float64)
    torch.testing.assert_close(lab(rgb)[..., 0, 0] * 100, expected, atol=0.2, rtol=0)


def test_grey_has_no_colour() -> None:
    assert not bool(opponent(torch.full((1, 3, 4, 4), 0.4)).any())


def test_windows_are_embedded_like_crops() -> None:
    """Every window of the dense map equals e() of that crop, but for the crop's own border."""
    torch.manual_seed(0)
    encoder = GradientEncoder()
    image = blur(torch.rand(1, 3, 64, 64), 2.0)
    seen = map_windows(encoder, image)
    z, left = seen.embed(), seen.left
    assert z.shape == seen.shape == (1, 81, 12 * 16)
    at = 4 * 9 + 4
    crop = image[..., int(left[4]) : int(left[4]) + 32, int(left[4]) : int(left[4]) + 32]
    e = embed_crops(encoder, crop)
    assert float(torch.cosine_similarity(e[0], z[0, at], dim=0)) > 0.98


def test_embedding_is_differentiable_everywhere() -> None:
    flat = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    embed_crops(GradientEncoder(), flat).sum().backward()
    assert bool(flat.grad.isfinite().all())  # type: ignore[union-attr]
