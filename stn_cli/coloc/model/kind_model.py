"""What finds and scores one kind of object, and the names that its tensors have in a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from stn_cli.coloc.model.architecture import Architecture, KindFacts
from stn_cli.coloc.model.finder import Finder, make_finder
from stn_cli.coloc.score.calibration import Calibration
from stn_cli.coloc.score.scorers import Scorer, dimensions, encoder_state, make_scorer, own_state
from stn_cli.encoders import Encoder


@dataclass(slots=True)
class KindModel:
    """A trained model of one kind of object.

    Attributes:
        finder: where the objects are in an image.
        scorer: how much a crop is like them.
        calibration: what that is worth as a score.
    """

    finder: Finder
    scorer: Scorer
    calibration: Calibration

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
        return cls(make_finder(built.transform, kind.options, kind.objects, built.cascade, scorer), scorer, Calibration())

    def facts(self, options: dict[str, float]) -> KindFacts:
        """What `empty` needs to build a model of these shapes; `options` are those of its transformation."""
        return KindFacts(self.scorer.kind, dimensions(self.scorer), self.finder.objects, options)


def tensors_of(encoder: Encoder, kinds: Sequence[KindModel]) -> dict[str, Tensor]:
    """Every tensor of a model by its name in model.safetensors.

    Args:
        encoder: the model's; its tensors are `encoder.*`, and there are none where it has no weights.
        kinds: in order; those of the first are `0.finder.*`, `0.scorer.*` and `0.calibration.*`.

    Returns:
        The tensors themselves, not copies: what is written into them is loaded.
    """
    tensors = encoder_state(encoder)
    for number, kind in enumerate(kinds):
        states = {
            "finder": kind.finder.state_dict(),
            "scorer": own_state(kind.scorer),
            "calibration": kind.calibration.state_dict(),
        }
        tensors |= {f"{number}.{part}.{name}": value for part, state in states.items() for name, value in state.items()}
    return tensors
