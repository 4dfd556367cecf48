"""Which figures are older than the code that they measure.

    python -m benchmarks.check [FILE ...]

For every run of every result file: the files of the package that its figures depend on, as they were at its commit, followed
through later renames, and compared with what they are now. A file whose imports, docstrings and comments alone have changed
counts as the same. It always ends with 0: an old figure is no error, but it should be known for one.
"""

from __future__ import annotations

import ast
import functools
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.common import chosen
from benchmarks.provenance import RESULTS, ROOT, git

PACKAGE = "stn_cli"


@dataclass(frozen=True, slots=True)
class Change:
    """A commit, its date, and what it did: (status, path before, path after)."""

    commit: str
    date: str
    paths: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one run of a result file.

    Attributes:
        base: the commit whose code was measured, None where it is not known here.
        files: of the package, that the figures depend on.
        changed: of these, how many have other code now.
        last: the date of the last commit that changed one of them.
    """

    base: str | None
    files: int = 0
    changed: int = 0
    last: str = ""

    @property
    def words(self) -> str:
        """For the table."""
        if self.base is None:
            return "its commit is not in this clone"
        if not self.changed:
            return "current"
        return f"OLDER: {self.changed} of {self.files} files changed since, last {self.last}"


def base_of(run: dict[str, Any], path: Path) -> str | None:
    """The commit whose code was measured: the last one that had changed it, else the run's own, else the one that wrote the file."""
    for name in (run["code"], run["commit"]):
        if name and git("merge-base", "--is-ancestor", name, "HEAD") is not None:
            return str(name)
    return git("log", "-1", "--format=%h", "--", str(path.relative_to(ROOT))) or None if path.is_relative_to(ROOT) else None


@functools.cache
def changes_since(base: str) -> tuple[Change, ...]:
    """What became of the package after a commit, oldest first."""
    text = (
        git("log", "--reverse", "--topo-order", "--format=>%h\t%cs", "--name-status", "-M", f"{base}..HEAD", "--", PACKAGE)
        or ""
    )
    changes: list[Change] = []
    for line in filter(None, text.splitlines()):
        if line.startswith(">"):
            commit, date = line[1:].split("\t")
            changes.append(Change(commit, date, ()))
        else:
            status, before, *after = line.split("\t")
            last = changes[-1]
            changes[-1] = Change(last.commit, last.date, (*last.paths, (status[0], before, (after or [before])[0])))
    return tuple(changes)


@functools.cache
def blobs(commit: str) -> dict[str, str]:
    """Path -> content's hash, of the package at a commit."""
    lines = (git("ls-tree", "-r", commit, "--", PACKAGE) or "").splitlines()
    return {path: meta.split()[2] for meta, path in (line.split("\t") for line in lines)}


@functools.cache
def code(blob: str, path: str) -> str:
    """A Python file without imports, docstrings and comments; of any other file its hash."""
    text = git("cat-file", "-p", blob) if path.endswith(".py") else None
    if text is None:
        return blob
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [b for b in body if not _is_said(b)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_said(node: ast.stmt) -> bool:
    words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return words or isinstance(node, ast.Import | ast.ImportFrom)


def verdict_of(run: dict[str, Any], path: Path) -> Verdict:
    """How old a run of a result file is."""
    base = base_of(run, path)
    if base is None:
        return Verdict(None)
    then, now = blobs(base), blobs("HEAD")
    measured = tuple(run["measures"])
    place = {p: p for p in then if p in measured or p.startswith(tuple(f"{m}/" for m in measured))}
    touched: dict[str, str] = {}
    for change in changes_since(base):
        for status, before, after in change.paths:
            for origin in [o for o, p in place.items() if p == before and status != "A"]:
                place[origin] = after
                touched[origin] = change.date
    changed = [o for o in touched if place[o] not in now or code(then[o], o) != code(now[place[o]], place[o])]
    return Verdict(base, len(place), len(changed), max((touched[o] for o in changed), default=""))


def table(paths: Iterable[Path]) -> list[str]:
    """A line for every run."""
    rows = [("file", "rows", "commit", "date", "")]
    for path in paths:
        for run in json.loads(path.read_text("utf-8"))["runs"]:
            verdict = verdict_of(run, path)
            mark = "*" if run["provenance"] == "from the history" else " "
            rows.append(
                (path.stem, _short(run["rows"]), f"{run['commit'] or 'unknown'}{mark}", run["date"][:10], verdict.words)
            )
    wide = [max(len(row[i]) for row in rows) for i in range(4)]
    return ["  ".join([*(cell.ljust(w) for cell, w in zip(row, wide, strict=False)), row[4]]).rstrip() for row in rows]


def _short(rows: list[str]) -> str:
    text = ", ".join(rows) or "all"
    return text if len(text) <= 40 else f"{rows[0]} to {rows[-1]}"


def main() -> None:
    known = {path.stem: path for path in sorted(RESULTS.glob("*.json"))}
    names = chosen(__doc__, "FILE", known)
    if git("rev-parse", "--verify", "HEAD") is None:
        print("There is no git history here: how old the figures are cannot be told.")
        return
    if git("rev-parse", "--is-shallow-repository") == "true":
        print("This clone is shallow: commits are missing (git fetch --unshallow).")
    print("\n".join(table(known[name] for name in names)))
    print(
        "* commit and date are those of the commit that brought the figures, as the history has them; they were measured then or before."
    )


if __name__ == "__main__":
    main()
