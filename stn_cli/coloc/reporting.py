"""How long work tells its caller where it stands."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """What a caller may want to hear while a training runs."""

    def stage(self, name: str, total: int | None) -> None:
        """A stage begins; `total` steps if known."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Steps were done."""

    def warn(self, text: str) -> None:
        """Something the user should know."""


class Silent:
    """A reporter that says nothing."""

    def stage(self, name: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""
