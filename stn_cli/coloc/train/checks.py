"""What a saved state must hold before a training goes on from it: a run folder may come from a stranger."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from stn_cli.coloc.model.architecture import check_dimensions
from stn_cli.runs.config import MOST_KINDS, TrainConfig
from stn_cli.runs.metrics import STAGES
from stn_cli.stn.transforms import TRANSFORMS

OWN = frozenset({"lr", "full", "params"})
"""Entries of an optimiser's groups that may differ between a new one and one that goes on."""


def check_state(state: dict[str, Any], config: TrainConfig, images: int) -> None:
    """See that a state is one of a training with these settings.

    Args:
        state: as `checkpoint.load_state` gives it.
        config: the run's settings.
        images: how many there are.

    Raises:
        ValueError: it is not; the text says what is wrong.
    """
    stage, number, level, step = _progress(state.get("progress"), config)
    if not isinstance(state.get("again", False), bool) or (stage == "corrections" and not state.get("again")):
        raise ValueError("what it goes on from is absurd")
    kinds = state.get("kinds", [])
    if not isinstance(kinds, list) or len(kinds) > MOST_KINDS or (stage != "search") != bool(kinds):
        raise ValueError("kinds of objects do not fit its stage")
    for kind in kinds:
        _kind(kind, config, images)
    if kinds and not number < len(kinds):
        raise ValueError("progress is beyond the last kind of object")
    if level >= config.cascade:
        raise ValueError("progress is beyond the last level")
    if stage == "finetune" and step > 0:
        before = state.get("before")
        if not isinstance(before, dict) or not isinstance(before.get("objective"), float):
            raise ValueError("what fine-tuning began from is missing")
        _tensors(before.get("weights"), "weights")


def check_optimiser(saved: object, optimiser: torch.optim.Optimizer) -> None:
    """See that a saved optimiser's state is one of an optimiser like this one.

    Args:
        saved: the state, of any origin.
        optimiser: that is to take it.

    Raises:
        ValueError: it is not.
    """
    groups = saved.get("param_groups") if isinstance(saved, dict) else None
    if not isinstance(saved, dict) or not isinstance(groups, list) or len(groups) != len(optimiser.param_groups):
        raise ValueError("no state of an optimiser")
    parameters: list[Tensor] = []
    for group, mine in zip(groups, optimiser.param_groups, strict=True):
        others = mine.keys() - OWN
        if not isinstance(group, dict) or group.keys() != mine.keys() or any(_differ(group[n], mine[n]) for n in others):
            raise ValueError("options of the optimiser differ")
        if not all(isinstance(group[n], float) and 0 <= group[n] <= 100 for n in ("lr", "full")):
            raise ValueError("a learning rate is absurd")
        parameters += mine["params"]
    moments = saved.get("state")
    if not isinstance(moments, dict):
        raise ValueError("no state of an optimiser")
    for index, held in moments.items():
        if type(index) is not int or not 0 <= index < len(parameters):
            raise ValueError("the optimiser knows other weights")
        _tensors(held, "moments")
        if {n: tuple(t.shape) for n, t in held.items()} != {
            "step": (), "exp_avg": tuple(parameters[index].shape), "exp_avg_sq": tuple(parameters[index].shape),
        }:  # fmt: skip
            raise ValueError("the optimiser knows other weights")


def _differ(a: object, b: object) -> bool:
    return (list(a) != list(b)) if isinstance(a, list | tuple) and isinstance(b, list | tuple) else (type(a), a) != (type(b), b)


def _progress(progress: object, config: TrainConfig) -> tuple[str, int, int, int]:
    if not isinstance(progress, list) or len(progress) != 7:
        raise ValueError("no progress")
    stage, number, level, step, best, stale, warnings = progress
    whole = all(type(v) is int and v >= 0 for v in (number, level, step, stale))
    if stage not in STAGES[:-1] or not whole or not isinstance(best, float) or step > max(config.steps, config.finetune):
        raise ValueError("progress is absurd")
    if not isinstance(warnings, list) or not all(isinstance(w, str) for w in warnings):
        raise ValueError("warnings are no texts")
    return stage, number, level, step


def _kind(kind: object, config: TrainConfig, images: int) -> None:
    if not isinstance(kind, dict) or config.transform not in TRANSFORMS:
        raise ValueError("no kind of object")
    scorer = _tensors(kind.get("scorer"), "scorer")
    check_dimensions(str(kind.get("kind")), kind.get("dimensions"), sum(t.numel() for t in scorer.values()))
    _tensors(kind.get("finder"), "finder")
    places = kind.get("places")
    if not isinstance(places, list) or len(places) != 3 or not all(isinstance(p, Tensor) for p in places):
        raise ValueError("places of objects are missing")
    boxes, angles, present = places
    if boxes.ndim != 3 or boxes.shape[::2] != (images, 4) or not 1 <= boxes.shape[1] <= MOST_KINDS:
        raise ValueError("places are not those of the images")
    if angles.shape != boxes.shape[:2] or present.shape != boxes.shape[:2] or present.dtype != torch.bool:
        raise ValueError("places are not those of the images")
    _finite({"boxes": boxes, "angles": angles}, "places")
    choice, options, curve = kind.get("choice"), kind.get("options"), kind.get("curve")
    if not isinstance(choice, list) or len(choice) != 3 or not all(v is None or isinstance(v, float) for v in choice):
        raise ValueError("the choice of a kind is absurd")
    if not isinstance(curve, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in curve):
        raise ValueError("the curve of a kind is absurd")
    if not isinstance(options, dict) or not all(isinstance(v, float) and math.isfinite(v) for v in options.values()):
        raise ValueError("options of a transform are absurd")


def _tensors(value: object, name: str) -> dict[str, Tensor]:
    if not isinstance(value, dict) or not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in value.items()):
        raise ValueError(f"{name} is no table of tensors")
    _finite(value, name)
    return value


def _finite(tensors: dict[str, Tensor], name: str) -> None:
    if not all(bool(t.isfinite().all()) for t in tensors.values() if t.is_floating_point()):
        raise ValueError(f"{name} holds what is no number")
