"""The pages hold together: links, names, tables and figures; docs/transformers.md is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stn_cli.cli import train_flags as command
from stn_cli.stn import KERNELS, TRANSFORMS, TRANSFORMS_3D
from tests.conftest import QUICK, ROOT, make_folder

TEXT = (ROOT / "docs" / "transformers.md").read_text()


def test_help_names_every_transformation() -> None:
    assert set(command.TRANSFORMS) == set(TRANSFORMS)


def test_every_transformation_and_kernel_is_shown() -> None:
    for name in TRANSFORMS | TRANSFORMS_3D:
        assert f"`{name}`" in TEXT
        assert f"figures/{name}.png" in TEXT
    for name in KERNELS:
        assert f"`{name}`" in TEXT
    for picture in re.findall(r"\((figures/\w+\.png)\)", TEXT):
        assert (ROOT / "docs" / picture).is_file(), picture


def test_the_five_lines_run() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    scope: dict[str, object] = {}
    exec(compile(block, "transformers.md", "exec"), scope)
    crops, theta = scope["crops"], scope["theta"]
    assert isinstance(crops, torch.Tensor)
    assert isinstance(theta, torch.Tensor)
    assert crops.shape == (8, 1, 28, 28)
    assert theta.shape == (8, 32)


PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "sample_data/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in {slug(h) for h in re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.M)}, link


def test_every_page_is_in_the_site_and_in_the_list_of_the_front_page() -> None:
    listed = set(re.findall(r"^([\w-]+)$", (ROOT / "docs" / "index.md").read_text("utf-8"), re.M))
    front = (ROOT / "README.md").read_text("utf-8")
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert listed == pages
    for name in pages - {"api", "api-stn", "contributing", "changelog", "samples"}:
        assert f"(docs/{name}.md" in front, name


def test_every_benchmark_that_is_named_exists() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        for module in re.findall(r"python -m (benchmarks\.\w+(?:\.\w+)*)", text):
            place = ROOT / module.replace(".", "/")
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), (page.name, module)
        for path in re.findall(r"python ((?:benchmarks|docs)/[\w/]+\.py)", text):
            assert (ROOT / path).is_file(), (page.name, path)


def test_every_public_name_is_in_the_page_of_the_api() -> None:
    import stn_cli

    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    for name in set(stn_cli.__all__) - {"__version__"}:
        assert re.search(rf"stn_cli\.{name}\b", text), name


def test_every_name_of_the_glossary_is_one_of_the_code() -> None:
    """A row's third column: a name is defined somewhere in the package, an option is one of a command."""
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "stn_cli").rglob("*.py"))
    rows = re.findall(r"^\| [^|]*\| [^|]*\| ([^|]*)\| [^|]*\|$", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.M)
    names = [name for cell in rows for name in re.findall(r"`([^`]+)`", cell)]
    assert len(names) > 30
    for name in names:
        if name.startswith("--"):
            option, _, value = name.removeprefix("--").partition(" ")
            assert re.search(rf"\b{option.replace('-', '_')}: ", code), name
            assert not value or f'"{value}"' in code, name
        else:
            assert re.search(rf"(class|def|for|lambda) {name}\b|\b{name}(: | = |,)", code), name


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    from stn_cli import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ColocError)]
    codes = {kind.exit_code for kind in kinds}
    table = (ROOT / "docs" / "faq.md").read_text("utf-8").split("## Exit codes")[1].split("##")[0]
    assert codes | {0, 130, 143} == {
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for code in row.split(",")
    }


def test_the_citation_names_this_version_and_the_paper() -> None:
    import stn_cli

    text = (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.search(rf"^version: {re.escape(stn_cli.__version__)}$", text, re.M)
    assert "1506.02025" in text


def test_the_figure_of_the_front_page_can_be_drawn(tmp_path: Path) -> None:
    """The script looks into the package: it must move with it."""
    import importlib.util

    from stn_cli import Localiser, TrainConfig, train

    make_folder(tmp_path / "set")
    train(
        tmp_path / "set" / "images", tmp_path / "run", TrainConfig(**QUICK, search="deformable"), report=False, progress=False
    )

    place = ROOT / "docs" / "figures" / "steps.py"
    spec = importlib.util.spec_from_file_location("steps", place)
    assert spec is not None
    assert spec.loader is not None
    steps = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(steps)
    image, score_map, net, crop = steps.row(Localiser.load(tmp_path / "run"), tmp_path / "set" / "images" / "000.png")
    assert image.shape == score_map.shape == net.shape
    assert crop.shape == (image.shape[0], image.shape[0], 3)
    assert (net != image).any()


def test_the_walks_for_a_stranger_lead_to_what_they_name() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    steps = re.findall(r"`(\w+)` in \[[^\]]+\]\(([^)]+)\)", text)
    assert len(steps) >= 12
    for name, path in steps:
        assert re.search(rf"^ *(?:class|def) {name}\b|^{name}\b.* = ", (ROOT / path).read_text("utf-8"), re.M), (name, path)


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """What `make docs` does: links and docstrings are checked on the way, and every page and figure is there."""
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-E", "-q", "-b", "html", "-d", tmp_path / "doctrees"]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*words, ROOT / "docs", tmp_path / "site"], capture_output=True, text=True, env=surroundings)
    assert done.returncode == 0, done.stderr
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert pages <= {page.stem for page in (tmp_path / "site").glob("*.html")}
    start = (tmp_path / "site" / "index.html").read_text("utf-8")
    for picture in ("strip.jpg", "steps.jpg"):
        assert f"_images/{picture}" in start
        assert (tmp_path / "site" / "_images" / picture).is_file()
    api = (tmp_path / "site" / "api.html").read_text("utf-8")
    assert 'id="stn_cli.Localiser.localise"' in api or 'id="stn_cli.coloc.model.localiser.Localiser.localise"' in api
