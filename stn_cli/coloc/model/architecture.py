"""What a model says of itself, checked before anything is built from it: a run folder may come from a stranger."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stn_cli.coloc.score.scorers import DenseScorer, RigidScorer, WordsScorer
from stn_cli.encoders import GradientEncoder
from stn_cli.encoders.pretrained import known_network, numbers_of
from stn_cli.encoders.small import BUILDS
from stn_cli.runs.config import MOST_KINDS, MOST_OBJECTS
from stn_cli.stn.transforms import TRANSFORMS

LEAST_SIDE, MOST_SIDE = 32, 2048
"""Longer side at which images are looked at; each further level of a cascade doubles the largest."""
LARGEST_SIDE = 2 * MOST_SIDE * 2**3
"""The same of what looks closely, whatever the cascade."""
MOST_CAMERAS = 64
"""Pictures of backgrounds in one model."""
WORDS = {RigidScorer.kind: "rigid (one layout in all images)"}
DEFORMABLE = "deformable (told by what it is made of)"
DIMENSIONS = {RigidScorer.kind: 1, WordsScorer.kind: 2, DenseScorer.kind: 4}
"""How many numbers say the shape of a scorer."""
LONGEST = 4096
"""Characters of a text."""
SCALES = (1e-4, 100.0)
"""Least and largest fixed scale of a transformation."""


@dataclass(frozen=True, slots=True)
class KindFacts:
    """One kind of object: its scorer and that one's dimensions, how many are in each image (0: all), the options of its transformation,
    and how many pictures of fixed cameras' backgrounds it has.
    """

    kind: str
    scorer: list[int]
    objects: int
    options: dict[str, float]
    cameras: int = 0


@dataclass(frozen=True, slots=True)
class Architecture:
    """What is needed to rebuild the networks of a run; see `TrainConfig` for the words.

    Attributes:
        letterbox: longer side at which the finders look at images, pixels.
        closely: the same of the instance network, at least `letterbox`; 0 where there is none.
    """

    transform: str
    encoder: str
    layer: str
    letterbox: int
    cascade: int
    kinds: list[KindFacts]
    closely: int = 0


def read_architecture(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Architecture:
    """The architecture of a model.

    Args:
        facts: what the model says of itself; also what a report shows of it is checked.
        tensors: its weights. Nothing that is built may have more numbers than they.

    Returns:
        What the networks can be built from.

    Raises:
        ValueError: a fact is missing, of the wrong kind, or absurd; the text says which.
    """
    transform, encoder = _text(facts, "transform"), _text(facts, "encoder")
    if transform not in TRANSFORMS:
        raise ValueError(f"no transform {transform!r}")
    numbers = sum(t.numel() for t in tensors.values())
    if encoder != GradientEncoder.name and encoder not in BUILDS.values():
        if not known_network(encoder):
            raise ValueError(f"no encoder {encoder!r}")
        if numbers_of(encoder) > numbers:
            raise ValueError(f"weights of encoder {encoder!r} are missing")
    kinds = facts.get("kinds")
    if not isinstance(kinds, list) or not 1 <= len(kinds) <= MOST_KINDS:
        raise ValueError(f"kinds must be a list of 1 to {MOST_KINDS}")
    _text(facts, "version")
    if type(facts.get("agreement")) not in (int, float):
        raise ValueError("agreement must be a number")
    warnings = facts.get("warnings")
    if not isinstance(warnings, list) or not all(map(_is_text, warnings)):
        raise ValueError("warnings must be a list of texts")
    cascade = _whole(facts, "cascade", 1, 4)
    letterbox = _whole(facts, "letterbox", LEAST_SIDE, MOST_SIDE * 2 ** (cascade - 1))
    closely = _whole(facts, "closely", letterbox, LARGEST_SIDE) if facts.get("closely", 0) != 0 else 0
    parts = [_kind(k, numbers) for k in kinds]
    return Architecture(transform, encoder, _text(facts, "layer"), letterbox, cascade, parts, closely)


def _kind(facts: object, most: int) -> KindFacts:
    if not isinstance(facts, dict):
        raise ValueError("a kind must be a table")
    kind, options = _text(facts, "kind"), facts.get("options")
    scorer = check_dimensions(kind, facts.get("scorer"), most)
    if not isinstance(options, dict) or not options.keys() <= {"scale"}:
        raise ValueError("options of a transform may hold a scale only")
    for name in options:
        if not SCALES[0] <= _number(options, name) <= SCALES[1]:
            raise ValueError(f"{name} must be {SCALES[0]:g} to {SCALES[1]:g}")
    cameras = _whole(facts, "cameras", 0, MOST_CAMERAS) if "cameras" in facts else 0
    return KindFacts(kind, scorer, _whole(facts, "objects", 0, MOST_OBJECTS), options, cameras)


def check_dimensions(kind: str, dimensions: object, most: int) -> list[int]:
    """The dimensions of a scorer, if it is one that can be.

    Args:
        kind: of the scorer.
        dimensions: see `stn_cli.coloc.score.scorers.dimensions`.
        most: numbers that its tensors may have.

    Returns:
        The dimensions.

    Raises:
        ValueError: no such kind, or no such dimensions.
    """
    if kind not in DIMENSIONS:
        raise ValueError(f"no kind {kind!r}")
    if not isinstance(dimensions, list) or len(dimensions) != DIMENSIONS[kind]:
        raise ValueError(f"a {kind} scorer has {DIMENSIONS[kind]} dimensions")
    if not all(type(d) is int and d >= 0 for d in dimensions):
        raise ValueError("dimensions of a scorer must be whole numbers")
    held = math.prod(dimensions)
    if kind == DenseScorer.kind:
        channels, _, components, examples = dimensions
        held = (channels + examples) * components
    if not 1 <= held <= most:
        raise ValueError("dimensions of a scorer do not fit its weights")
    return dimensions


def _text(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    if not isinstance(value, str) or not _is_text(value):
        raise ValueError(f"{name} must be text")
    return value


def _is_text(value: object) -> bool:
    """Whether a value is text that can be written and shown."""
    return isinstance(value, str) and len(value) <= LONGEST and value.isprintable()


def _whole(facts: dict[str, Any], name: str, least: int, most: int) -> int:
    value = facts.get(name)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} must be {least} to {most}")
    return value


def _number(facts: dict[str, Any], name: str) -> float:
    value = facts.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= SCALES[1]:
        raise ValueError(f"{name} must be a number of at most {SCALES[1]:g}")
    return float(value)


def in_words(kind: str) -> str:
    """What the object was taken for, for people.

    Args:
        kind: of the scorer.

    Returns:
        A few words.

    >>> in_words("rigid")
    'rigid (one layout in all images)'
    """
    return WORDS.get(kind, DEFORMABLE)
