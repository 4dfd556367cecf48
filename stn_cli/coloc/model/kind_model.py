"""What finds and scores one kind of object, and the names that its tensors have in a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stn_cli.coloc.crops import Crops
from stn_cli.coloc.model.architecture import Architecture, KindFacts
from stn_cli.coloc.model.finder import Finder, make_finder
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.calibration import Calibration
from stn_cli.coloc.score.objects import candidates, separate
from stn_cli.coloc.score.scorers import DenseScorer, Scorer, dimensions, encoder_state, make_scorer, own_state
from stn_cli.coloc.score.settings import OBJECTS, TAUGHT
from stn_cli.coloc.search.background import Background
from stn_cli.encoders import Encoder
from stn_cli.instances.proposer import Proposer
from stn_cli.runs.config import MOST_OBJECTS
from stn_cli.stn import Transformation


@dataclass(slots=True)
class KindModel:
    """A trained model of one kind of object.

    Attributes:
        finder: where the objects are in an image.
        scorer: how much a crop is like them.
        calibration: what that is worth as a score.
        objects: how many there are in an image at most; 0 for any number.
        proposer: proposes whole objects; None where the finder's crops are all.
        background: of fixed cameras; None where the set was of none.
    """

    finder: Finder
    scorer: Scorer
    calibration: Calibration
    objects: int
    proposer: Proposer | None = None
    background: Background | None = None

    @classmethod
    def empty(cls, built: Architecture, kind: KindFacts, encoder: Encoder) -> KindModel:
        """A model with the right shapes, to load weights into.

        Args:
            built: the whole model's architecture.
            kind: the part of it that is about this kind.
            encoder: the model's own; kinds share it.

        Returns:
            The model, on the CPU, untrained.
        """
        scorer = make_scorer(kind.kind, kind.scorer, encoder)
        own = Proposer(loaded=False) if built.closely and isinstance(scorer, DenseScorer) else None
        crops = 1 if own is not None else max(1, kind.objects)
        finder = make_finder(built.transform, kind.options, crops, built.cascade, scorer)
        return cls(finder, scorer, Calibration(), kind.objects, own, Background(kind.cameras) if kind.cameras else None)

    def facts(self, options: dict[str, float]) -> KindFacts:
        """What `empty` needs to build a model of these shapes; `options` are those of its transformation."""
        cameras = 0 if self.background is None else len(self.background.pictures)
        return KindFacts(self.scorer.kind, dimensions(self.scorer), self.objects, options, cameras)


def tensors_of(encoder: Encoder, kinds: Sequence[KindModel]) -> dict[str, Tensor]:
    """Every tensor of a model by its name in model.safetensors.

    Args:
        encoder: the model's; its tensors are `encoder.*`, and there are none where it has no weights.
        kinds: in order; those of the first are `0.finder.*`, `0.scorer.*`, `0.calibration.*`, `0.proposer.*` and `0.background.*`.

    Returns:
        The tensors themselves, not copies: what is written into them is loaded.
    """
    tensors = encoder_state(encoder)
    for number, kind in enumerate(kinds):
        states = {
            "finder": kind.finder.state_dict(),
            "scorer": own_state(kind.scorer),
            "calibration": kind.calibration.state_dict(),
            "proposer": {} if kind.proposer is None else kind.proposer.weights(),
            "background": {} if kind.background is None else kind.background.state_dict(),
        }
        tensors |= {f"{number}.{part}.{name}": value for part, state in states.items() for name, value in state.items()}
    return tensors


def find(model: KindModel, scene: Scene, closely: Scene) -> tuple[Crops, Tensor]:
    """The objects of one kind in a batch of images.

    Args:
        model: of the kind.
        scene: B images as the finder looks at them.
        closely: the same images as the proposer does.

    Returns:
        Crops, R of each image, and their scores (B, R), below 0 where an image has fewer.
    """
    crops = model.finder(scene)
    if model.proposer is None or not isinstance(model.scorer, DenseScorer):
        return crops, model.calibration(model.scorer.margins(scene, crops))
    windows = crops.boxes()[:, 0]
    found = candidates(model.proposer, model.scorer, model.background, scene, closely, windows, TAUGHT)
    index, there = separate(found.boxes, found.odds, model.objects or MOST_OBJECTS, OBJECTS.least)
    rows = torch.arange(len(index), device=index.device)[:, None]
    boxes, odds = found.drawn[rows, index], found.odds[rows, index]
    scores = model.calibration.most * odds.sigmoid()
    return upright(crops, boxes, index == 0), scores.masked_fill(~there, -1.0)


def upright(crops: Crops, boxes: Tensor, own: Tensor) -> Crops:
    """Boxes as crops of a finder's transformation.

    Args:
        crops: of the finder, the first of each of B images.
        boxes: (B, R, 4) normalised letterbox boxes.
        own: (B, R) which of them are the finder's own, kept as it placed it.

    Returns:
        R crops of each image.
    """
    matrix = of_boxes(crops.transform, boxes).matrix
    return Crops(crops.transform, torch.where(own[..., None, None], crops.matrix[:, :1], matrix))


def of_boxes(transform: Transformation, boxes: Tensor) -> Crops:
    """Boxes as upright crops of a transformation.

    Args:
        transform: T_theta.
        boxes: (B, R, 4) normalised letterbox boxes.

    Returns:
        R crops of each image.
    """
    centre, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    shape = transform.shape_of_box(half.clamp(min=1e-4))
    return Crops(transform, transform.matrix(transform.theta(centre, shape)))
