"""How long work tells its caller where it stands."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from tqdm.auto import tqdm

from stn_cli.errors import printable


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


class Remarks:
    """Remarks on single images: the first of each kind is passed on as it comes, the others are counted.

    Args:
        warn: called with each remark that is passed on.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._kinds: Counter[str] = Counter()

    def add(self, name: str, note: str) -> None:
        """An image's remark; what stands before its colon is its kind."""
        kind = note.split(":")[0]
        if not self._kinds[kind]:
            self._warn(f"{name}: {note}")
        self._kinds[kind] += 1

    def close(self) -> None:
        """Say how many more there were."""
        for kind, count in self._kinds.items():
            if count > 1:
                self._warn(f"{count} images in all: {kind}")


class Bar:
    """A bar for each stage, on a terminal or in a notebook; in a file it would be noise, and only warnings are said."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def stage(self, name: str, total: int | None) -> None:
        """Begin a bar; of work whose end is not known a line that counts."""
        self.close()
        form = None if total is not None else f"{name:<12} {{n_fmt}} [{{elapsed}}{{postfix}}]"
        notebook = "ipykernel" in sys.modules  # its streams are no terminals, and show bars all the same
        self._bar = tqdm(total=total, desc=f"{name:<12}", unit="", disable=False if notebook else None, bar_format=form)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Move it."""
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)

    def warn(self, text: str) -> None:
        """A line of its own."""
        tqdm.write(f"warning: {printable(text)}", file=sys.stderr)

    def close(self) -> None:
        """End the bar that is open."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
