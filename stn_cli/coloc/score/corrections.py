"""A kind of object that is known already, corrected by a person's annotations."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cli.coloc.annotations import Annotations
from stn_cli.coloc.score.annotated_search import AnnotatedSearch
from stn_cli.coloc.score.dense import DenseScorer
from stn_cli.coloc.score.kinds import Kind, appearance_of
from stn_cli.coloc.search.searched import SearchedSet


def correct_kind(seen: SearchedSet, kind: Kind, annotations: Annotations, taken: Tensor | None = None) -> None:
    """Correct what is known of a kind of object; images without annotations are searched anew where objects are proposed.

    Args:
        seen: the set.
        kind: that a finished training knows; it is changed.
        annotations: of the kind.
        taken: (N, K, 4) boxes of the kinds before it; None for the first.
    """
    if kind.proposer is not None:
        found = annotated_search(seen, kind, annotations, taken).find(kind.proposer, kind.boxes[:, 0])
        kind.proposer, kind.scorer = found.proposer, found.scorer
        kind.boxes, kind.angles, kind.present = found.boxes[:, None], torch.zeros_like(kind.angles[:, :1]), found.there[:, None]
    kind.fix(annotations)


def annotated_search(seen: SearchedSet, kind: Kind, annotations: Annotations, taken: Tensor | None = None) -> AnnotatedSearch:
    """The search with annotations, of a kind that is known already.

    Args:
        seen: the set.
        kind: told by a network's features.
        annotations: of the kind.
        taken: (N, K, 4) boxes of the kinds before it; None for the first.

    Returns:
        The search, in the projection that the kind's scorer and finder know.
    """
    projection = kind.scorer.projection if isinstance(kind.scorer, DenseScorer) else None
    return AnnotatedSearch(seen, annotations, appearance_of(seen), taken, kind.background, projection)
