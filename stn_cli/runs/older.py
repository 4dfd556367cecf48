"""Models of the format before this one: other words, the same numbers."""

from __future__ import annotations

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


def _renamed(name: str) -> str:
    return name.replace(".judge.", ".scorer.", 1).replace(".grid.", ".transform.", 1)


def _kind(facts: dict[str, Any]) -> dict[str, Any]:
    words = {"judge": "scorer", "in_each_image": "objects"}
    kind = {words.get(name, name): value for name, value in facts.items()}
    if isinstance(kind.get("kind"), str):
        kind["kind"] = KINDS.get(kind["kind"], kind["kind"])
    return kind
