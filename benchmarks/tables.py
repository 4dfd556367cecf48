"""The tables of README.md and docs, each made from its result file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benchmarks.provenance import RESULTS
from benchmarks.soak import record


def result(name: str) -> dict[str, Any]:
    """A result file."""
    return dict(json.loads((RESULTS / f"{name}.json").read_text("utf-8")))


def soak() -> str:
    return record.table(result("soak"))


TABLES: dict[str, Callable[[], str]] = {"soak": soak}
