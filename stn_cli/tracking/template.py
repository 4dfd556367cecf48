"""The object's layout: a linear function of the features read at even places of a box, that says how well the box fits.

It is the rigid embedding of the co-localisation, read off the window's maps by the sampler, and regressed on the intersection over union
of boxes around the object with its own: one number stands for place, size and shape. The regression is exact and recursive: old frames
fade from its normal equations, the first one stays.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from stn_cli.geometry import box_iou, boxes_around
from stn_cli.tracking.settings import LEARNING, TEMPLATE
from stn_cli.tracking.view import View

LEAST_CURVATURE = 1e-30
"""Keeps a step of the conjugate gradients finite where there is nothing left to gain."""


class Template:
    """How well boxes fit.

    Args:
        views: of one frame; the first one counts most.
        box: (4,) of the object in it.
        generator: of the boxes that are learnt from.
    """

    def __init__(self, views: Sequence[View], box: Tensor, generator: torch.Generator) -> None:
        self._generator = generator
        equations = [self.equations(view, box, TEMPLATE.boxes if i else TEMPLATE.first_boxes) for i, view in enumerate(views)]
        self._begin(*_mean(equations))

    def fit(self, view: View, boxes: Tensor, weighed: Tensor) -> Tensor:
        """How well boxes fit.

        Args:
            view: of a window.
            boxes: (N, 4) in pixels of the frame.
            weighed: of the same view.

        Returns:
            (N,) expected intersection over union with the object's box.
        """
        return view.sum_of(weighed, boxes, TEMPLATE.points, TEMPLATE.zoom) + self._weights[-1]

    def weighed(self, view: View) -> Tensor:
        """What `fit` reads, once for all boxes of a view.

        Args:
            view: of a window.

        Returns:
            (points ** 2, 1, h, w).
        """
        layout = self._weights[:-1].view(-1, TEMPLATE.points, TEMPLATE.points)
        return view.weighed(view.cells, layout / layout.numel() ** 0.5)

    def learned(self, view: View, box: Tensor, *, solve: bool) -> Template:
        """Learn from a box that is believed; it counts once the regression is solved anew.

        The old and the new one share their equations, which are changed in place: copying would take longer than learning. Use the new one.

        Args:
            view: of a window.
            box: (4,) in pixels of the frame.
            solve: solve the regression now.

        Returns:
            The new one.
        """
        rows, wanted = self._examples(view, box, TEMPLATE.boxes, None)
        self._normal.addmm_(rows.T, rows, beta=1 - LEARNING.template_rate, alpha=LEARNING.template_rate / len(rows))
        self._wanted.addmv_(rows.T, wanted, beta=1 - LEARNING.template_rate, alpha=LEARNING.template_rate / len(rows))
        out = copy.copy(self)
        if solve and out._improved < TEMPLATE.factored_every:
            out._improve()
        elif solve:
            out._solve()
        return out

    def relearn(self, equations: Sequence[tuple[Tensor, Tensor]], *, first: bool = False) -> None:
        """Forget what was learnt, and learn from other equations.

        Args:
            equations: whose mean is taken, each from `equations`.
            first: forget what the first frame said, too.
        """
        normal, wanted = _mean(equations)
        if first:
            self._begin(normal, wanted)
        else:
            self._normal, self._wanted = normal, wanted
            self._solve()

    def _begin(self, normal: Tensor, wanted: Tensor) -> None:
        self._first = normal, wanted
        self._normal, self._wanted = normal.clone(), wanted.clone()
        self._mixed = torch.empty_like(normal)
        self._solve()

    def _solve(self) -> None:
        """Solve the regression anew."""
        normal, wanted = self._equation()
        self._factor, _ = torch.linalg.cholesky_ex(normal)
        self._weights = self._precondition(wanted)
        self._improved = 0

    def _improve(self) -> None:
        """Solve it from where it was, by conjugate gradients; the last factor makes them converge, at a third of its cost."""
        normal, wanted = self._equation()
        x = self._weights
        r = wanted - normal @ x
        z = p = self._precondition(r)
        rz = r @ z
        for _ in range(TEMPLATE.steps):
            q = normal @ p
            step = rz / (p @ q).clamp(min=LEAST_CURVATURE)
            x, r = x + step * p, r - step * q
            z, before = self._precondition(r), rz
            rz = r @ z
            p = z + rz / before.clamp(min=LEAST_CURVATURE) * p
        self._weights = x
        self._improved += 1

    def _equation(self) -> tuple[Tensor, Tensor]:
        """The regression's normal matrix (d, d) and right side (d,)."""
        normal = torch.lerp(self._first[0], self._normal, 1 - LEARNING.first_frame, out=self._mixed)
        normal.diagonal().add_(TEMPLATE.shrinkage * normal.diagonal().mean())
        return normal, torch.lerp(self._first[1], self._wanted, 1 - LEARNING.first_frame)

    def _precondition(self, right: Tensor) -> Tensor:
        """Solve the last factored equation for a right side (d,)."""
        half = torch.linalg.solve_triangular(self._factor, right[:, None], upper=False)
        return torch.linalg.solve_triangular(self._factor.mT, half, upper=True)[:, 0]

    def _read(self, view: View, boxes: Tensor) -> Tensor:
        rows = view.sample(view.cells, boxes, TEMPLATE.points, TEMPLATE.zoom).flatten(1)
        return torch.cat([rows / rows.shape[1] ** 0.5, rows.new_ones(len(rows), 1)], 1)

    def equations(
        self, view: View, box: Tensor, count: int = TEMPLATE.boxes, others: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Normal equations of the regression on the overlap with a box.

        Args:
            view: of a window.
            box: (4,) in pixels of the frame.
            count: boxes around it that are read.
            others: (M, 4) objects of the same kind; boxes on them are left out, as they do not say what the object is not.

        Returns:
            The normal matrix (d, d), the right side (d,).
        """
        rows, wanted = self._examples(view, box, count, others)
        return rows.T @ rows / len(rows), rows.T @ wanted / len(rows)

    def _examples(self, view: View, box: Tensor, count: int, others: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is read in boxes around a box (4,), and their overlap with it: (N, d), (N,)."""
        sides, centre = box[2:] - box[:2], (box[:2] + box[2:]) / 2
        near = count // 2

        def normal(n: int, k: int, spread: float) -> Tensor:
            return torch.randn((n, k), generator=self._generator).to(box.device) * spread

        wide = torch.rand((count - near, 2), generator=self._generator).to(box.device) - 0.5
        boxes = torch.cat(
            [
                box.expand(TEMPLATE.true_boxes, 4),
                boxes_around(centre + normal(near, 2, TEMPLATE.near) * sides, sides * normal(near, 2, TEMPLATE.near).exp()),
                boxes_around(
                    centre + wide * (view.side - sides.min()), sides * normal(count - near, 1, TEMPLATE.far_stretch).exp()
                ),
            ]
        )
        wanted = box_iou(boxes, box)
        if others is not None and len(others):
            on_other = box_iou(boxes[:, None], others[None]).amax(1)
            clear = (on_other <= TEMPLATE.on_other) | (wanted > on_other)
            boxes, wanted = boxes[clear], wanted[clear]
        return self._read(view, boxes), wanted


def _mean(equations: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The mean of equations; one after the other: stacked, those of a video's objects would take half a gigabyte."""
    normal = sum((e[0] for e in equations), start=torch.zeros_like(equations[0][0]))
    wanted = sum((e[1] for e in equations), start=torch.zeros_like(equations[0][1]))
    return normal / len(equations), wanted / len(equations)
