"""Models and states of trainings of the version before this one: other words, the same numbers."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

FORMAT = 3
"""Number of the form that is read here."""
KINDS = {"template": "rigid", "region": "words"}
SEARCHES = {"template": "rigid", "region": "deformable"}
"""Values of the setting `search` as earlier versions wrote them."""


def renewed(tensors: dict[str, Tensor], facts: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A model of format 3 in today's words.

    Args:
        tensors: by name.
        facts: what the model says of itself; it may come from a stranger, so what is not as expected is left as it is, for the check of
            today's facts to refuse.

    Returns:
        Tensors and facts; the same values under other names.
    """
    renamed = {_renamed(name): value for name, value in tensors.items()}
    kinds = facts.get("kinds")
    newer = {("letterbox" if name == "canvas" else name): value for name, value in facts.items()}
    if isinstance(kinds, list):
        newer["kinds"] = [_kind(kind) if isinstance(kind, dict) else kind for kind in kinds]
    return renamed, newer


def renewed_state(state: dict[str, Any]) -> dict[str, Any]:
    """A training's state in today's words; one that has them stays as it is.

    Args:
        state: of any origin; what is not as expected is left as it is, for the check of today's states to refuse.

    Returns:
        The state; the same values under other names.
    """
    newer, kinds, before = dict(state), state.get("kinds"), state.get("before")
    if isinstance(kinds, list):
        newer["kinds"] = [_kind_of_state(kind) if isinstance(kind, dict) else kind for kind in kinds]
    if isinstance(before, dict):
        newer["before"] = {**before, "weights": _table(before.get("weights"))}
    return newer


def _kind_of_state(saved: dict[str, Any]) -> dict[str, Any]:
    kind = {("scorer" if name == "judge" else name): value for name, value in saved.items()}
    if isinstance(kind.get("kind"), str):
        kind["kind"] = KINDS.get(kind["kind"], kind["kind"])
    if "finder" in kind:
        kind["finder"] = _table(kind["finder"])
    return kind


def _table(tensors: Any) -> Any:
    if not isinstance(tensors, dict):
        return tensors
    return {(_renamed(name) if isinstance(name, str) else name): value for name, value in tensors.items()}


def _renamed(name: str) -> str:
    return re.sub(r"(^|\.)grid\.", r"\1transform.", name.replace(".judge.", ".scorer.", 1), count=1)


def _kind(facts: dict[str, Any]) -> dict[str, Any]:
    words = {"judge": "scorer", "in_each_image": "objects"}
    kind = {words.get(name, name): value for name, value in facts.items()}
    if isinstance(kind.get("kind"), str):
        kind["kind"] = KINDS.get(kind["kind"], kind["kind"])
    return kind
