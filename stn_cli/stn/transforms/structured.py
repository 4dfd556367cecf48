"""The structured form T_theta(G) = M_theta B with a basis B that can be learned (paper, end of section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cli.errors import UsageError
from stn_cli.stn.transforms.affine import linear_of_shape, shape_of_linear
from stn_cli.stn.transforms.limits import points_within
from stn_cli.stn.transforms.thin_plate_spline import ThinPlateSpline
from stn_cli.stn.transforms.transformation import Transformation


class Structured(nn.Module, Transformation):
    """B = (x, y, 1, f_1(x, y), ..., f_m(x, y)): affine maps, and m smooth bends that the task may choose for itself.

    Each f_j is a thin plate spline through m x K x K learnable values, less its value at the crop's centre. They begin as the m smoothest
    bends that there are, the principal warps of the lattice (Bookstein 1989), so that an m of K K - 3 is the whole thin plate spline.

    theta = M row by row, 2 (3 + m), in the order of B. shape = that of `affine`, then the bends of x and of y in the frame of the crop (2 m).

    Args:
        terms: m, how many bends.
        control: K, control points along a side of the lattice that carries their values.
        learned: whether B is learned with the network, or stays fixed.
    """

    name = "structured"
    log_sides = 2
    angle = 2
    values: Tensor

    def __init__(self, terms: int = 4, control: int = 4, *, learned: bool = True) -> None:
        super().__init__()
        self.spline = ThinPlateSpline(control)
        if not 1 <= terms <= control**2 - 3:
            raise UsageError(f"bends must be 1 to {control**2 - 3} on {control} x {control} control points", terms)
        self.terms = terms
        _, warps = torch.linalg.eigh(self.spline.bending())  # from smooth to rough; the first three are affine
        start = warps[:, 3 : 3 + terms].T.float()
        start = start * torch.sign(
            start.gather(1, start.abs().argmax(1, keepdim=True))
        )  # an eigenvector has no sign of its own
        start = start / start.abs().amax(1, keepdim=True)
        if learned:
            self.values = nn.Parameter(start)
        else:
            self.register_buffer("values", start)

    @property
    def theta_dim(self) -> int:  # type: ignore[override]
        """2 (3 + m)."""
        return 2 * (3 + self.terms)

    @property
    def shape_dim(self) -> int:  # type: ignore[override]
        """4 + 2 m."""
        return 4 + 2 * self.terms

    def basis(self, targets: Tensor) -> Tensor:
        """B: (..., N, 2) -> (..., N, 3 + m)."""
        values = self.values.to(targets.dtype).T
        with torch.autocast(targets.device.type, enabled=False):
            bends = (self.spline.basis(targets) - self.spline.basis(targets.new_zeros(1, 2))) @ values
        return torch.cat([targets, torch.ones_like(targets[..., :1]), bends], -1)

    def basis_slopes(self, targets: Tensor) -> Tensor:
        """dB: (..., N, 2) -> (..., N, 2, 3 + m)."""
        with torch.autocast(targets.device.type, enabled=False):
            bends = self.spline.basis_slopes(targets) @ self.values.to(targets.dtype).T
        return torch.cat([super().basis_slopes(targets), bends], -1)

    def matrix(self, theta: Tensor) -> Tensor:
        """theta (..., 2 (3 + m)) -> M (..., 2, 3 + m)."""
        return theta.unflatten(-1, (2, -1))

    def after(self, affine: Tensor, matrix: Tensor) -> Tensor:
        """The linear part times M, the translation onto the column of 1."""
        out = affine[..., :2] @ matrix
        return torch.cat([out[..., :2], out[..., 2:3] + affine[..., 2:], out[..., 3:]], -1)

    def theta(self, centre: Tensor, shape: Tensor) -> Tensor:
        """Centre (..., 2) and shape -> theta."""
        linear = linear_of_shape(shape[..., :4])
        bends = linear @ shape[..., 4:].unflatten(-1, (2, -1))
        return torch.cat([linear, centre[..., None], bends], -1).flatten(-2)

    def pose(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta -> centre (..., 2), shape (..., 4 + 2 m)."""
        m = self.matrix(theta)
        bends = torch.linalg.solve(m[..., :2], m[..., 3:])
        return m[..., 2], torch.cat([shape_of_linear(m[..., :2]), bends.flatten(-2)], -1)

    def shape_of_box(self, sides: Tensor) -> Tensor:
        """Half sides (..., 2) -> an upright shape without bends."""
        return torch.cat([sides.log(), sides.new_zeros(*sides.shape[:-1], 2 + 2 * self.terms)], -1)

    def fit(self, targets: Tensor, sources: Tensor) -> Tensor:
        """The theta whose T comes closest to taking targets to sources, in least squares.

        Args:
            targets, sources: (..., N, 2).

        Returns:
            (..., theta_dim).
        """
        return torch.linalg.lstsq(self.basis(targets), sources).solution.transpose(-1, -2).flatten(-2)

    def inverse(self, theta: Tensor) -> Tensor:
        """The least-squares inverse on the crop."""
        lattice = points_within(self, theta)
        return self.fit(self.points(theta, lattice), lattice.expand(*theta.shape[:-1], *lattice.shape))

    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """The least-squares composition on the crop; exact for affine maps."""
        lattice = points_within(self, inner)
        sources = self.points(outer, self.points(inner, lattice))
        return self.fit(lattice.expand(sources.shape), sources)

    def scaled(self, theta: Tensor, factor: Tensor) -> Tensor:
        """Scaled about the centre along the crop's own axes, bends with it."""
        m = self.matrix(theta)
        linear = m[..., :2] * factor[..., None, :]
        bends = linear @ torch.linalg.solve(m[..., :2], m[..., 3:])
        return torch.cat([linear, m[..., 2:3], bends], -1).flatten(-2)

    def shifted(self, theta: Tensor, shift: Tensor) -> Tensor:
        """The centre moved."""
        m = self.matrix(theta)
        return torch.cat([m[..., :2], m[..., 2:3] + shift[..., None], m[..., 3:]], -1).flatten(-2)

    def sides(self, theta: Tensor) -> Tensor:
        """Lengths of the columns of the linear part."""
        return self.matrix(theta)[..., :2].norm(dim=-2)

    def unfolded(self, theta: Tensor) -> Tensor:
        """Bends shrunk until the slope that they add in the crop's frame stays below 1, measured on a lattice of points."""
        m = self.matrix(theta)
        bends = torch.linalg.solve(m[..., :2], m[..., 3:])  # (..., 2, m)
        flat = torch.zeros_like(m)
        flat[..., :2] = torch.eye(2, device=m.device, dtype=m.dtype)
        flat[..., 3:] = bends
        with torch.no_grad():
            slopes = self.jacobian(flat.flatten(-2), points_within(self, theta)) - torch.eye(2, device=m.device, dtype=m.dtype)
        steepest = torch.linalg.matrix_norm(slopes, 2).amax(-1)[..., None, None]
        factor = (0.95 / steepest.clamp(min=1e-12)).clamp(max=1)
        return torch.cat([m[..., :3], m[..., :2] @ (bends * factor)], -1).flatten(-2)

    def extra_repr(self) -> str:
        """For print()."""
        return f"terms={self.terms}, control={self.spline.control}, learned={isinstance(self.values, nn.Parameter)}"
