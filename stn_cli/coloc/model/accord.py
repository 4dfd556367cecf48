"""How well a student agrees with the run that it learnt from, and its scores put right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.model.settings import FAST
from stn_cli.errors import counted
from stn_cli.instances.student import StudentNetwork
from stn_cli.records import EVEN, ImageRecord, overlap

SAME = 0.5
"""IoU above which two boxes are of one object."""


@dataclass(frozen=True, slots=True)
class Accord:
    """How well a student agrees with the run's own path in images that it has not learnt from.

    Attributes:
        images: so many.
        same: share of them in which the student's best box is one that the run believes (IoU above .5): CorLoc, with the run's boxes as truth.
        iou: of these two boxes, the mean.
        correlation: of both best scores.
        believed, wanted: boxes that score at least .5, of the student and of the run.
    """

    images: int
    same: float
    iou: float
    correlation: float
    believed: int
    wanted: int

    @classmethod
    def of(cls, mine: Sequence[ImageRecord], theirs: Sequence[ImageRecord]) -> Accord:
        """Compare what was found in the same images.

        Args:
            mine: by the student.
            theirs: by the run's own path.
        """
        pairs = [
            (a.objects[0], b.with_believed().objects) for a, b in zip(mine, theirs, strict=True) if a.objects and b.objects
        ]
        count = max(1, sum(bool(b.objects) for b in theirs))
        ious = [max(overlap(a.box, other.box) for other in others) for a, others in pairs]
        scores = torch.tensor([[a.score, others[0].score] for a, others in pairs], dtype=torch.float64)
        told = len(pairs) > 1 and bool((scores.std(0) > 0).all())
        correlation = float(torch.corrcoef(scores.T)[0, 1]) if told else 0.0
        likely = (sum(found.score >= EVEN for record in of for found in record.objects) for of in (mine, theirs))
        return cls(len(mine), sum(iou > SAME for iou in ious) / count, sum(ious) / count, correlation, *likely)

    def words(self) -> str:
        """For people."""
        return (
            f"the same box in {100 * self.same:.0f}% of {counted(self.images, 'image')} held out, mean IoU {self.iou:.2f}, "
            f"correlation of scores {self.correlation:.2f}, {self.believed} boxes of at least {EVEN} for {self.wanted}"
        )


def calibrate_student(network: StudentNetwork, mine: Sequence[ImageRecord], theirs: Sequence[ImageRecord]) -> None:
    """Stretch and move a student's log odds until its scores are, in the mean, the run's of the same boxes.

    What is learnt in few steps is too careful: half of the boxes that should score 0.5 do not.

    Args:
        network: whose last layer is changed.
        mine: what it finds.
        theirs: what the run finds in the same images.
    """
    for kind in range(network.kinds):
        pairs = [
            (found.score, max((o.score for o in b.objects if o.kind == kind and overlap(o.box, found.box) > SAME), default=0.0))
            for a, b in zip(mine, theirs, strict=True)
            for found in a.objects
            if found.kind == kind
        ]
        if pairs:
            said, wanted = torch.tensor(pairs, dtype=torch.float64).unbind(1)
            slope, offset = _logistic(said.logit(1e-4), wanted)
            network.stretch(kind, slope, offset)


def _logistic(odds: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Slope and offset of log odds by which they say the wanted probabilities: Newton's method, held to a slope near 1."""
    design = torch.stack([odds, torch.ones_like(odds)], 1)
    beta = torch.tensor([1.0, 0.0], dtype=torch.float64)
    ridge = torch.eye(2, dtype=torch.float64)
    start = beta.clone()
    for _ in range(FAST.newton_rounds):
        p = torch.sigmoid(design @ beta)
        gradient = design.T @ (p - wanted) + ridge @ (beta - start)
        curve = (design * (p * (1 - p))[:, None]).T @ design + ridge
        beta = beta - torch.linalg.solve(curve, gradient).clamp(-1, 1)
    return float(beta[0].clamp(min=0.2)), float(beta[1])
