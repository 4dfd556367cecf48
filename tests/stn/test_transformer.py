from __future__ import annotations

import pytest
import torch

from stn_cli.stn import GRIDS, CnnLocalisation, FcnLocalisation, HeatmapLocalisation, SpatialTransformer, by_name


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("kind", ["fcn", "cnn", "heatmap"])
def test_training_begins_at_the_identity(name: str, kind: str) -> None:
    grid = by_name(name)
    torch.manual_seed(0)
    f_loc = {
        "fcn": lambda: FcnLocalisation(grid, 20 * 20),
        "cnn": lambda: CnnLocalisation(grid, 1),
        "heatmap": lambda: HeatmapLocalisation(grid, 1, width=8),
    }[kind]()
    U = torch.rand(3, 1, 20, 20)
    V, theta = SpatialTransformer(f_loc, grid, (20, 20))(U)
    assert theta.shape == (3, grid.theta_dim)
    torch.testing.assert_close(V, U, atol=1e-5, rtol=0)


def test_a_stated_start() -> None:
    grid = by_name("attention")
    start = torch.tensor([0.5, 0.1, -0.1])
    theta = FcnLocalisation(grid, 16, start=start)(torch.rand(2, 1, 4, 4))
    torch.testing.assert_close(theta, start.expand(2, 3))
    theta = HeatmapLocalisation(grid, 1, width=8, start=(0.25, 0.25))(torch.rand(2, 1, 8, 8))
    torch.testing.assert_close(theta, torch.tensor([[0.25, 0, 0]]).expand(2, 3), atol=1e-6, rtol=1e-6)


def test_gradients_reach_f_loc_through_the_sampler() -> None:
    grid = by_name("box")
    torch.manual_seed(0)
    transformer = SpatialTransformer(CnnLocalisation(grid, 1), grid, (8, 8))
    V, _ = transformer(torch.rand(2, 1, 32, 32))
    (V * torch.rand_like(V)).sum().backward()
    assert float(transformer.localisation.head.weight.grad.abs().sum()) > 0


def test_it_learns_to_look_at_a_bright_spot() -> None:
    """The transformer alone, by gradient through the sampler: the crop's brightness rises."""
    grid = by_name("attention")
    torch.manual_seed(0)
    U = torch.zeros(16, 1, 24, 24)
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    for i in range(16):
        cx, cy = (torch.rand(2) * 12 + 6).tolist()
        U[i, 0] = torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 40)
    start = torch.tensor([0.3, 0.0, 0.0])
    transformer = SpatialTransformer(CnnLocalisation(grid, 1, start=start), grid, (8, 8))
    optimiser = torch.optim.Adam(transformer.parameter_groups(0.05, 0.1))
    before = float(transformer(U)[0].mean().detach())
    for _ in range(60):
        optimiser.zero_grad()
        (-transformer(U)[0].mean()).backward()
        optimiser.step()
    assert float(transformer(U)[0].mean().detach()) > before + 0.15


def test_the_rate_of_f_loc_is_a_stated_fraction() -> None:
    grid = by_name("box")
    (group,) = SpatialTransformer(CnnLocalisation(grid, 1), grid, (8, 8)).parameter_groups(0.2, 0.05)
    assert group["lr"] == pytest.approx(0.01)


def test_heatmap_is_equivariant_and_keeps_to_valid_cells() -> None:
    grid = by_name("attention")
    torch.manual_seed(0)
    f_loc = HeatmapLocalisation(grid, 2, width=8, depth=1)
    for p in f_loc.parameters():
        torch.nn.init.normal_(p, std=0.3)
    f_loc.requires_grad_(False)
    x = torch.zeros(1, 2, 24, 24)
    x[..., 6:9, 6:9] = 3
    _, _, a = f_loc.look(x)
    _, _, b = f_loc.look(x.roll((4, 5), (2, 3)))
    torch.testing.assert_close(a[:, 4:12, 4:12], b[:, 8:16, 9:17], atol=1e-3, rtol=1e-3)
    valid = torch.zeros(1, 24, 24, dtype=torch.bool)
    valid[:, :, 18:] = True
    centre, _, heat = f_loc.look(x, valid)
    assert float(centre[0, 0]) > 0.5
    assert float(heat.exp()[~valid].sum()) == 0
