"""The tree of docs/design.md: every folder and file of the package, each with the first line of its docstring.

python docs/tree.py          # writes it between the markers of the page
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/design.md"
BEGIN, END = "<!-- tree -->", "<!-- end of tree -->"
FLOOR = [
    "errors.py",
    "bounds.py",
    "geometry.py",
    "files.py",
    "reading.py",
    "records.py",
    "version.py",
    "provenance.py",
    "runtime",
    "outputs",
    "stn",
    "media",
]
ROOMS = [
    "runs",
    "encoders",
    "coloc",
    "tracking",
    "pretrain",
    "formats",
    "evaluate",
    "report",
    "review",
    "data_sets",
    "jobs",
    "cli",
    "__init__.py",
    "__main__.py",
]
ORDER = FLOOR + ROOMS
"""The floor first, then the rooms in the order of their imports."""
COLOC = ["objective.py", "scene.py", "crops.py", "search", "score", "model", "train"]
WIDE = 30
PAGE_FILES = (".html", ".css", ".js")
"""Of a page in the browser; the first comment of each says what it is."""


def lines(folder: Path, order: list[str], depth: int = 0) -> list[str]:
    """A line for each file of a folder and, below it, of its folders."""
    here = [
        p
        for p in folder.iterdir()
        if p.suffix in (".py", ".j2", ".safetensors", *PAGE_FILES)
        or (p.is_dir() and any((p / name).is_file() for name in ("__init__.py", "index.html")))
    ]
    rank = {name: i for i, name in enumerate(order)}
    here = [p for p in here if p.name != "__init__.py" or depth == 0]
    out = []
    for path in sorted(here, key=lambda p: (rank.get(p.name, len(rank)), p.is_dir(), p.name)):
        name = path.name + "/" * path.is_dir()
        package = path / "__init__.py"
        said = first_line((package if package.is_file() else path / "index.html") if path.is_dir() else path)
        out.append(f"{'  ' * (depth + 1)}{name:{WIDE - 2 * depth}}{said}".rstrip())
        if path.is_dir():
            out += lines(path, COLOC if path.name == "coloc" else [], depth + 1)
    return out


def first_line(path: Path) -> str:
    """What a file says of itself."""
    if path.suffix in PAGE_FILES:
        comment = re.search(r"<!-- (.*?) -->|/\* (.*?) \*/|// (.*)", path.read_text(encoding="utf-8"))
        return next(filter(None, comment.groups())) if comment else ""
    if path.suffix != ".py":
        return {".j2": "the report's page", ".safetensors": "weights that are part of the package"}[path.suffix]
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def tree() -> str:
    """The whole tree, as a block of the page."""
    return "\n".join([BEGIN, "```text", "stn_cli/", *lines(ROOT / "stn_cli", ORDER), "```", END])


def renewed(page: str) -> str:
    """The page with the tree of today."""
    before, _, rest = page.partition(BEGIN)
    return before + tree() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)
