from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stn_cli.errors import UsageError
from stn_cli.stn import (
    TRANSFORMS,
    Cascade,
    CnnLocalisation,
    FcnLocalisation,
    Gaussian,
    HeatmapLocalisation,
    ParallelTransformers,
    SpatialTransformer,
    TransformerPool,
    TrunkLocalisation,
    append_theta,
    base_grid,
    by_name,
    diversity_loss,
    flatten_volume,
    spread_starts,
)


class Fixed(nn.Module):
    """An f_loc that always says the same."""

    def __init__(self, theta: torch.Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, U: torch.Tensor) -> torch.Tensor:
        return self.theta.expand(len(U), -1)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("kind", ["fcn", "cnn", "heatmap", "trunk"])
def test_training_begins_at_the_identity(name: str, kind: str) -> None:
    transform = by_name(name)
    torch.manual_seed(0)
    f_loc = {
        "fcn": lambda: FcnLocalisation(transform, 20 * 20),
        "cnn": lambda: CnnLocalisation(transform, 1),
        "heatmap": lambda: HeatmapLocalisation(transform, 1, width=8),
        "trunk": lambda: TrunkLocalisation(transform, nn.Conv2d(1, 4, 3), 4),
    }[kind]()
    U = torch.rand(3, 1, 20, 20)
    V, theta = SpatialTransformer(f_loc, transform, (20, 20))(U)
    assert theta.shape == (3, transform.theta_dim)
    if name == "fixed_attention":  # the middle, at twice the size
        expected = F.interpolate(U[..., 5:15, 5:15], size=(20, 20), mode="bilinear", align_corners=False)
        torch.testing.assert_close(V[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-5, rtol=0)
    else:
        torch.testing.assert_close(V, U, atol=1e-4, rtol=0)


def test_a_stated_start() -> None:
    transform = by_name("attention")
    start = torch.tensor([0.5, 0.1, -0.1])
    theta = FcnLocalisation(transform, 16, start=start)(torch.rand(2, 1, 4, 4))
    torch.testing.assert_close(theta, start.expand(2, 3))
    theta = HeatmapLocalisation(transform, 1, width=8, start=(0.25, 0.25))(torch.rand(2, 1, 8, 8))
    torch.testing.assert_close(theta, torch.tensor([[0.25, 0, 0]]).expand(2, 3), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_gradients_reach_f_loc_through_the_sampler(name: str) -> None:
    transform = by_name(name)
    torch.manual_seed(0)
    transformer = SpatialTransformer(CnnLocalisation(transform, 1), transform, (8, 8))
    V, _ = transformer(torch.rand(2, 1, 32, 32))
    V.square().sum().backward()
    assert float(transformer.localisation.head.weight.grad.abs().sum()) > 0


def test_it_learns_to_look_at_a_bright_spot() -> None:
    """The transformer alone, by gradient through the sampler: the crop's brightness rises."""
    transform = by_name("attention")
    torch.manual_seed(0)
    U = torch.zeros(16, 1, 24, 24)
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    for i in range(16):
        cx, cy = (torch.rand(2) * 12 + 6).tolist()
        U[i, 0] = torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 40)
    start = torch.tensor([0.3, 0.0, 0.0])
    transformer = SpatialTransformer(CnnLocalisation(transform, 1, start=start), transform, (8, 8))
    optimiser = torch.optim.Adam(transformer.parameter_groups(0.05, 0.1))
    before = float(transformer(U)[0].mean().detach())
    for _ in range(60):
        optimiser.zero_grad()
        (-transformer(U)[0].mean()).backward()
        optimiser.step()
    assert float(transformer(U)[0].mean().detach()) > before + 0.15


def test_on_a_feature_map_in_the_middle_of_a_network() -> None:
    transform = by_name("affine")
    network = nn.Conv2d(3, 16, 3)
    features = network(torch.rand(2, 3, 20, 20))
    V, _ = SpatialTransformer(CnnLocalisation(transform, 16), transform, (9, 9))(features)
    assert V.shape == (2, 16, 9, 9)


def test_the_rate_of_f_loc_is_a_stated_fraction() -> None:
    transform = by_name("box")
    (group,) = SpatialTransformer(CnnLocalisation(transform, 1), transform, (8, 8)).parameter_groups(0.2, 0.05)
    assert group["lr"] == pytest.approx(0.01)


def test_a_learned_basis_and_kernel_are_trained_at_the_base_rate() -> None:
    transform = by_name("structured")
    transformer = SpatialTransformer(CnnLocalisation(transform, 1), transform, (8, 8), kernel=Gaussian())
    slow, other = transformer.parameter_groups(0.2, 0.05)
    assert other["lr"] == 0.2
    assert {p.numel() for p in other["params"]} == {64, 1}  # 4 x 16 values of B, and sigma
    assert len(slow["params"]) + 2 == len(list(transformer.parameters()))
    before = transform.values.detach().clone()
    optimiser = torch.optim.Adam([slow, other])
    for _ in range(2):  # the bends' own weights start at 0: the basis moves from the second step on
        optimiser.zero_grad()
        transformer(torch.rand(4, 1, 16, 16))[0].square().sum().backward()
        optimiser.step()
    assert not torch.equal(before, transform.values)


def test_f_loc_shares_weights_with_the_network_behind() -> None:
    torch.manual_seed(0)
    transform = by_name("affine")
    trunk = nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2))
    transformer = SpatialTransformer(TrunkLocalisation(transform, trunk, 6), transform, (20, 20))
    network = nn.ModuleDict({"transformer": transformer, "head": nn.Linear(6 * 64, 10)})
    crop, _ = transformer(torch.rand(2, 1, 20, 20))
    network["head"](trunk(crop).flatten(1)).sum().backward()
    (slow,) = transformer.parameter_groups(1.0, shared=trunk)
    assert len(slow["params"]) == 2  # the head alone
    assert trunk[0].weight.grad is not None


def test_theta_is_fed_forward() -> None:
    theta = torch.tensor([[1.0, 2.0]])
    assert append_theta(torch.zeros(1, 3), theta).tolist() == [[0, 0, 0, 1, 2]]
    maps = append_theta(torch.zeros(1, 3, 2, 2), theta)
    assert maps.shape == (1, 5, 2, 2)
    assert maps[0, 4].unique().tolist() == [2]


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_pooling_transformer_starts_as_mean_pooling(factor: int) -> None:
    transform = by_name("affine")
    U = torch.rand(2, 5, 16, 24)
    pool = TransformerPool(CnnLocalisation(transform, 5), transform, factor)
    torch.testing.assert_close(pool(U), F.avg_pool2d(U, factor), atol=1e-5, rtol=0)
    with pytest.raises(UsageError, match="factor"):
        TransformerPool(CnnLocalisation(transform, 5), transform, 0)


def test_parallel_transformers_take_different_things() -> None:
    """Two crops that both want brightness: with the diversity term they take two spots, without it the same one."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    U = sum(a * torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 60) for cx, cy, a in ((13, 20, 1.0), (27, 20, 0.9)))[None, None]
    apart = {}
    for weight in (0.0, 1.0):
        starts = torch.tensor([[0.3, -0.15, 0.1], [0.3, -0.05, -0.1]])
        transform = by_name("attention")
        parallel = ParallelTransformers([SpatialTransformer(Fixed(s), transform, (8, 8)) for s in starts])
        optimiser = torch.optim.Adam(parallel.parameters(), lr=0.02)
        for _ in range(150):
            V, theta = parallel(U)
            optimiser.zero_grad()
            (-V.mean() + weight * diversity_loss(transform, theta) + (theta[..., 0] - 0.3).square().sum()).backward()
            optimiser.step()
        assert V.shape == (1, 2, 1, 8, 8)
        apart[weight] = float((theta[0, 0, 1] - theta[0, 1, 1]).abs().detach())
    assert apart[0.0] < 0.15
    assert apart[1.0] > 0.5


def test_diversity_is_one_together_and_falls_apart() -> None:
    transform = by_name("attention")
    together = torch.tensor([[[0.5, 0.1, 0.1], [0.5, 0.1, 0.1]]])
    assert float(diversity_loss(transform, together)) == pytest.approx(1, abs=1e-4)
    apart = torch.tensor([[[0.5, -0.5, 0.0], [0.5, 0.5, 0.0]]])
    assert float(diversity_loss(transform, apart)) == pytest.approx(2.718281828 ** (-2), rel=1e-3)
    assert float(diversity_loss(transform, apart[:, :1])) == 0
    assert float(diversity_loss(transform, apart[:0])) == 0
    starts = spread_starts(transform, 3)
    assert starts.shape == (3, 3)
    assert float(diversity_loss(transform, starts[None])) < 0.7


def test_a_cascade_samples_the_original_once() -> None:
    """Its crop is that of the composed theta, and detail that the coarse level cannot show is there."""
    transform = by_name("similarity")
    torch.manual_seed(0)
    U = torch.rand(1, 1, 64, 64)
    first, second = torch.tensor([0.25, 0.1, 0.2, -0.1]), torch.tensor([0.4, -0.1, -0.3, 0.2])
    coarse = SpatialTransformer(Fixed(first), transform, (4, 4))
    fine = SpatialTransformer(Fixed(second), transform, (16, 16))
    V, thetas = Cascade([coarse, fine])(U)
    alone, _ = SpatialTransformer(Fixed(transform.compose(first, second)), transform, (16, 16))(U)
    torch.testing.assert_close(V, alone, atol=1e-5, rtol=0)
    assert [t.shape for t in thetas] == [(1, 4), (1, 4)]
    twice, _ = fine(coarse(U)[0])  # what sampling the coarse crop again would give
    assert float(V.detach().std()) > 3 * float(twice.detach().std())


def test_a_cascade_may_mix_transformations() -> None:
    levels = [
        SpatialTransformer(CnnLocalisation(by_name(n), 1), by_name(n), (20, 20)) for n in ("attention", "thin_plate_spline")
    ]
    U = torch.rand(2, 1, 20, 20)
    cascade = Cascade(levels)
    V, thetas = cascade(U)
    torch.testing.assert_close(V, U, atol=1e-4, rtol=0)
    points = cascade.through(thetas, base_grid((3, 3)).view(-1, 2))
    torch.testing.assert_close(points, base_grid((3, 3)).view(-1, 2).expand(2, -1, -1), atol=1e-5, rtol=0)


def test_volumes_are_cut_and_flattened() -> None:
    transform = by_name("affine3d")
    U = torch.rand(2, 1, 6, 8, 10)
    transformer = SpatialTransformer(FcnLocalisation(transform, 480), transform, (6, 8, 10), kernel="trilinear")
    V, theta = transformer(U)
    assert theta.shape == (2, 12)
    torch.testing.assert_close(V, U, atol=1e-5, rtol=0)
    torch.testing.assert_close(flatten_volume(V, "z"), U.sum(2), atol=1e-4, rtol=0)
    assert flatten_volume(V, "x").shape == (2, 1, 6, 8)
    assert flatten_volume(V, "y", how="mean").shape == (2, 1, 6, 10)
    with pytest.raises(UsageError, match="axis x, y or z"):
        flatten_volume(V, "w")


def test_bounds_keep_a_transformer_on_the_image() -> None:
    transform = by_name("affine")
    wild = torch.tensor([9.0, 0, 5, 0, 9, 0])
    transformer = SpatialTransformer(Fixed(wild), transform, (8, 8), inside=True, sides=(0.1, 0.5))
    _, theta = transformer(torch.rand(1, 1, 16, 16))
    assert not bool(transform.leaves(theta).any())
    assert float(transform.sides(theta).max().detach()) <= 0.5 + 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (8, 8, 8)}, "size of a crop of affine must be 2 sides"),
        ({"size": (0, 8)}, "at least 1"),
        ({"padding": "mirror"}, "unknown padding"),
        ({"kernel": "bicubic", "antialias": True}, "antialias needs the bilinear kernel"),
        ({"padding": "reflection", "antialias": True}, "antialias needs"),
    ],
)
def test_wrong_arguments_are_usage_errors(options: dict[str, object], message: str) -> None:
    transform = by_name("affine")
    with pytest.raises(UsageError, match=message):
        SpatialTransformer(Fixed(transform.identity()), transform, **{"size": (8, 8), **options})  # type: ignore[arg-type]


def test_several_that_do_not_fit_together_are_usage_errors() -> None:
    a, b, c = (SpatialTransformer(Fixed(by_name(n).identity()), by_name(n), s)
               for n, s in (("affine", (8, 8)), ("box", (8, 8)), ("affine3d", (8, 8, 8))))  # fmt: skip
    with pytest.raises(UsageError, match="parallel transformers must be"):
        ParallelTransformers([a, b])
    with pytest.raises(UsageError, match="a cascade needs"):
        Cascade([a, c])
    with pytest.raises(UsageError, match="a cascade needs"):
        Cascade([])


def test_empty_batches_pass_through() -> None:
    transform = by_name("affine")
    V, theta = SpatialTransformer(CnnLocalisation(transform, 1), transform, (8, 8))(torch.rand(0, 1, 20, 20))
    assert (V.shape, theta.shape) == ((0, 1, 8, 8), (0, 6))


def test_heatmap_is_equivariant_and_keeps_to_valid_cells() -> None:
    transform = by_name("attention")
    torch.manual_seed(0)
    f_loc = HeatmapLocalisation(transform, 2, width=8, depth=1)
    for p in f_loc.parameters():
        torch.nn.init.normal_(p, std=0.3)
    f_loc.requires_grad_(False)
    x = torch.zeros(1, 2, 24, 24)
    x[..., 6:9, 6:9] = 3
    _, _, a = f_loc.read(f_loc.see(x))
    _, _, b = f_loc.read(f_loc.see(x.roll((4, 5), (2, 3))))
    torch.testing.assert_close(a[:, 4:12, 4:12], b[:, 8:16, 9:17], atol=1e-3, rtol=1e-3)
    valid = torch.zeros(1, 24, 24, dtype=torch.bool)
    valid[:, :, 18:] = True
    centre, _, heat = f_loc.read(f_loc.see(x, valid))
    assert float(centre[0, 0]) > 0.5
    assert float(heat.exp()[~valid].sum()) == 0


def test_peaks_of_a_heatmap_are_read_in_turn() -> None:
    from stn_cli.stn.localisation import Seen

    transform = by_name("attention")
    f_loc = HeatmapLocalisation(transform, 1, width=8, start=(0.2, 0.2))
    logits = torch.full((1, 20, 20), -8.0)
    logits[0, 4, 5], logits[0, 14, 15], logits[0, 14, 16] = 5.0, 3.0, 3.0
    shapes = torch.zeros(1, 1, 20, 20)
    (a, _), (b, shape) = f_loc.peaks(Seen(logits, shapes), 2)
    torch.testing.assert_close(a, torch.tensor([[-0.45, -0.55]]), atol=2e-3, rtol=0)
    torch.testing.assert_close(b, torch.tensor([[0.6, 0.45]]), atol=2e-3, rtol=0)  # between the two cells
    torch.testing.assert_close(shape.exp(), torch.tensor([[0.2]]))


def test_angles_are_averaged_as_vectors() -> None:
    """Cells that say 170 and -170 degrees mean 180 and not 0."""
    from stn_cli.stn.localisation import Seen

    transform = by_name("similarity")
    f_loc = HeatmapLocalisation(transform, 1, width=8)
    shapes = torch.zeros(1, 3, 1, 2)
    angle = torch.tensor([170.0, -170.0]).deg2rad()
    shapes[0, 1, 0], shapes[0, 2, 0] = angle.cos() - 1, angle.sin()
    _, shape, _ = f_loc.read(Seen(torch.zeros(1, 1, 2), shapes))
    assert abs(float(shape[0, 1].detach())) == pytest.approx(3.14159, abs=1e-3)
