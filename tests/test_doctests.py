"""The examples in docstrings."""

import doctest
import importlib.util
import pkgutil

import pytest

import classer_core
import pipelines
import runners


def modules_with_examples() -> list[str]:
    """Return the names of the modules whose source has an example."""
    names = []
    for package in (classer_core, pipelines, runners):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            spec = importlib.util.find_spec(module.name)
            if spec and spec.loader and ">>> " in (spec.loader.get_source(module.name) or ""):  # type: ignore[attr-defined]
                names.append(module.name)
    return names


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_are_true(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0 and results.failed == 0
