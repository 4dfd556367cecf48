"""What commands say: progress and notes on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from stn_cli.errors import InputError, counted, printable
from stn_cli.records import Skipped, reasons


class Progress:
    """A tqdm bar per stage and notes between them; plain lines where stderr is no terminal; nothing when quiet.

    It is the `Reporter` of `stn_cli.runtime.progress`.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: tqdm[Any] | None = None
        self._unbounded: str | None = None

    def stage(self, name: str, total: int | None) -> None:
        """Begin a bar; of work whose end is not known there is none, and what was done of it is counted."""
        self.close()
        if self.quiet:
            return
        if total is None:
            self._unbounded = name
            self.say(f"{name}...")
        elif sys.stderr.isatty():
            self._bar = tqdm(total=total, desc=f"{name:<12}", unit="", leave=True, dynamic_ncols=True, file=sys.stderr)
        else:
            self.say(f"{name}: {total}")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Move the bar."""
        if self._unbounded is not None and not self.quiet and sys.stderr.isatty():
            form = f"{self._unbounded:<12} {{n_fmt}} [{{elapsed}}, {{rate_fmt}}{{postfix}}]"
            self._bar, self._unbounded = tqdm(unit="", bar_format=form, leave=True, dynamic_ncols=True, file=sys.stderr), None
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif note and self.verbose and not self.quiet:
            self.say("  " + note)

    def warn(self, text: str) -> None:
        """A note that should be seen."""
        self._line("warning: " + text, "yellow")

    def say(self, text: str) -> None:
        """A plain note."""
        self._line(text, None)

    def _line(self, text: str, style: str | None) -> None:
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.clear()
        self.console.print(Text(printable(text), style or ""))

    def close(self) -> None:
        """End the bar that is open."""
        self._unbounded = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def skipped(self, rows: Sequence[Skipped]) -> None:
        """A summary of skipped files by reason."""
        if not rows:
            return
        self.warn(f"{reasons(rows)} (see skipped.jsonl)")
        if self.verbose:
            for row in rows:
                self.say(f"  {printable(row.file)}: {row.reason}")


def print_table(rows: Sequence[tuple[str, str]], title: str = "") -> None:
    """A two-column table on stdout.

    Args:
        rows: (name, value).
        title: above them.
    """
    table = Table(title=title or None, show_header=False, title_justify="left", box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(Text(name, style="bold"), Text(printable(value)))
    Console(highlight=False, soft_wrap=True).print(table)


def print_json(value: object) -> None:
    """JSON on stdout.

    Args:
        value: that JSON can hold.
    """
    print(json.dumps(value, allow_nan=False))


def conclude(
    place: Path | str, facts: dict[str, Any], skipped: Sequence[Skipped], folder: Path | str, *, json: bool, strict: bool
) -> None:
    """The end of a command: its result on stdout.

    Args:
        place: where the result is.
        facts: about it, printed instead with `json`.
        skipped: files that were left out.
        folder: has the list of them.
        json: print the facts.
        strict: files that were left out are an error.

    Raises:
        InputError: some were.
    """
    if json:
        print_json(facts)
    else:
        print(place)
    if strict and skipped:
        raise InputError(f"{counted(len(skipped), 'file')} skipped", f"{folder}/skipped.jsonl", "--strict")
