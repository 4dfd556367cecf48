"""The figures in README.md and docs are those of the result files: this writes them there, and a test compares.

    python -m benchmarks.pages

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, wherever such marks are, and is made by its function in
`benchmarks/tables.py`. A figure in a sentence is one of `benchmarks/claims.py`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

from benchmarks.claims import ANY, CLAIMS
from benchmarks.common import parser
from benchmarks.provenance import ROOT
from benchmarks.tables import TABLES

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.S)


def filled(page: Path) -> str:
    """A page's text with every table and figure as the result files have it."""
    text = BLOCK.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[3]}", page.read_text("utf-8"))
    for claim in CLAIMS:
        if claim.page in (ANY, page.relative_to(ROOT).as_posix()):
            text = claim.put_into(text)
    return text


def write() -> list[Path]:
    """Bring the pages up to date; those that were not."""
    changed = []
    for page in PAGES:
        if (now := filled(page)) != page.read_text("utf-8"):
            page.write_text(now, "utf-8")
            changed.append(page)
    return changed


def main() -> None:
    parser(__doc__).parse_args()
    for page in write():
        print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
