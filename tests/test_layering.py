"""The shape that newcomers see from the folders holds in the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import classer_core

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "classer_core").rglob("*.py"))
PIPELINES = sorted((ROOT / "pipelines").rglob("*.py"))
# Imported where they are needed: help, check and a worker that only reads must start at once.
HEAVY = {"torch", "transformers", "sentence_transformers"}


def imports(path: Path, at_top: bool = False) -> Iterator[str]:
    """Modules that a file imports; `at_top`: only those that importing it loads."""
    nodes = ast.iter_child_nodes(ast.parse(path.read_text())) if at_top else ast.walk(ast.parse(path.read_text()))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", CORE, ids=str)
def test_the_core_knows_nothing_of_beam(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"apache_beam", "pipelines", "runners"}


@pytest.mark.parametrize("path", PIPELINES, ids=str)
def test_the_graph_knows_nothing_of_runners(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"runners"}


@pytest.mark.parametrize("path", CORE + PIPELINES, ids=str)
def test_heavy_libraries_are_loaded_when_needed(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path, at_top=True)} & HEAVY


def test_the_public_names_are_there() -> None:
    assert all(hasattr(classer_core, name) for name in classer_core.__all__)
    assert classer_core.__all__ == sorted(classer_core.__all__, key=lambda name: (name.islower(), name))
