"""The shape that newcomers see from the folders holds in the imports."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import classer_core

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "classer_core").rglob("*.py"))
PIPELINES = sorted((ROOT / "pipelines").rglob("*.py"))
RUNNERS = sorted((ROOT / "runners").rglob("*.py"))
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


def test_no_file_needs_itself() -> None:
    """Imports inside functions count too: a circle is a circle wherever it closes."""
    modules = {_module_name(path): path for path in CORE + PIPELINES + RUNNERS}
    needed = {name: {used for used in _imported(path) if used in modules} for name, path in modules.items()}
    try:
        TopologicalSorter(needed).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imported(path: Path) -> Iterator[str]:
    """Yield what a file imports: `from package import name` is a module, if there is one of that name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                submodule = ROOT / node.module.replace(".", "/") / name.name
                is_module = submodule.is_dir() or submodule.with_suffix(".py").exists()
                yield f"{node.module}.{name.name}" if is_module else node.module


def test_public_names_are_the_same_for_type_checkers_and_at_run_time() -> None:
    tree = ast.parse((ROOT / "classer_core" / "__init__.py").read_text())
    [checked] = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        name.name: f"{node.module}" for node in checked.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert {name: f"classer_core.{home}" for name, home in classer_core._HOMES.items()} == typed
    assert set(classer_core.__all__) == typed.keys()
    assert all(getattr(classer_core, name).__name__ == name for name in classer_core.__all__)
