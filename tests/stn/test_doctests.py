"""The examples in docstrings of the spatial transformers run, and show what comes of them."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import stn_cli.stn

MODULES = [
    module.name
    for module in pkgutil.walk_packages(stn_cli.stn.__path__, "stn_cli.stn.")
    if not module.name.endswith(".fused")  # needs Triton
]


def examples(name: str) -> list[doctest.DocTest]:
    module = importlib.import_module(name)
    return [found for found in doctest.DocTestFinder().find(module) if found.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in examples(name):
        assert runner.run(example).failed == 0, example.name


def test_the_front_functions_have_examples() -> None:
    names = {found.name.rpartition(".")[2] for name in MODULES for found in examples(name)}
    wanted = {"SpatialTransformer", "by_name", "affine_grid", "base_grid", "append_theta", "diversity_loss", "flatten_volume"}
    assert wanted <= names
