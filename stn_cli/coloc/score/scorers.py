"""The three scorers as one type, and what a model or a state stores of them.

A scorer keeps what the search found in a form that can be stored and asked about any crop of any image, and that gradients pass through:
`margins` says how much more a crop is like the object than like a random patch, d(crop, random) - d(crop, object); `loss` is the objective.
"""

from __future__ import annotations

from torch import Tensor, nn

from stn_cli.coloc.score.dense import DenseScorer
from stn_cli.coloc.score.rigid import RigidScorer
from stn_cli.coloc.score.words import WordsScorer
from stn_cli.encoders import Encoder

__all__ = ["DenseScorer", "RigidScorer", "Scorer", "WordsScorer", "dimensions", "encoder_state", "make_scorer", "own_state"]

Scorer = RigidScorer | WordsScorer | DenseScorer


def encoder_state(encoder: Encoder) -> dict[str, Tensor]:
    """An encoder's tensors as a model stores them.

    Args:
        encoder: any.

    Returns:
        Tensors by names; none where it has no weights.
    """
    return {f"encoder.{name}": value for name, value in encoder.state_dict().items()} if isinstance(encoder, nn.Module) else {}


def own_state(scorer: Scorer) -> dict[str, Tensor]:
    """A scorer's tensors without those of its encoder, which several scorers share.

    Args:
        scorer: any.

    Returns:
        Tensors by names.
    """
    return {name: value for name, value in scorer.state_dict().items() if not name.startswith("encoder.")}


def dimensions(scorer: Scorer) -> list[int]:
    """What `make_scorer` needs to build a scorer of the same shape.

    Args:
        scorer: any.

    Returns:
        Whole numbers, as many as its kind takes.
    """
    if isinstance(scorer, RigidScorer):
        return [scorer.prototype.numel()]
    if isinstance(scorer, WordsScorer):
        return list(scorer.words.shape)
    return [scorer.basis.shape[0], int(scorer.objectness), scorer.basis.shape[1], len(scorer.examples)]


def make_scorer(kind: str, dimensions: list[int], encoder: Encoder) -> Scorer:
    """An empty scorer, to load a state into.

    Args:
        kind: `rigid`, `words` or `dense`.
        dimensions: of a scorer of that kind, see `dimensions`.
        encoder: that it reads.

    Returns:
        The scorer, on the CPU.
    """
    if kind == RigidScorer.kind:
        return RigidScorer(encoder, *dimensions)
    if kind == WordsScorer.kind:
        return WordsScorer(encoder, *dimensions)
    channels, objectness, components, examples = dimensions
    return DenseScorer(encoder, channels, bool(objectness), components, examples)
