"""The documentation site: `make docs` writes build/docs/index.html. Warnings are errors."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

import stn_cli

HERE = Path(__file__).parent.resolve()
ROOT = HERE.parent
FROM_ROOT = {
    "index": "README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "samples": "sample_data/README.md",
}
"""Pages of the site that lie beside the code, where people look for them first."""

project = "stn-coloc"
author = "The stn-coloc authors"
version = release = stn_cli.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"stn-coloc {version}"
html_show_copyright = html_show_sphinx = False
myst_heading_anchors = 4
default_role = "code"  # docstrings mark code with single backticks
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"


def read_from_root(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the page's file before what the page says itself, its links turned to where they lead from here."""
    if page not in FROM_ROOT:
        return
    file = ROOT / FROM_ROOT[page]
    app.env.note_dependency(str(file))

    def turned(found: re.Match[str]) -> str:
        target = (file.parent / found[2]).resolve()
        known = next((name for name, path in FROM_ROOT.items() if ROOT / path == target), None)
        if known is None and target.suffix == ".md" and target.parent != HERE:
            return found[1]  # a page that the site does not have
        link = f"{known}.md" if known else os.path.relpath(target, HERE).replace(os.sep, "/")
        return f"[{found[1]}]({link})"

    source[0] = re.sub(r"\[([^\]]*)\]\((?!\w+:|#)([^)]+)\)", turned, file.read_text("utf-8")) + source[0]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read_from_root)
