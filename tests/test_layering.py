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


def test_public_names_are_the_same_for_type_checkers_and_at_run_time() -> None:
    tree = ast.parse((ROOT / "classer_core" / "__init__.py").read_text())
    [checked] = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        name.name: f"{node.module}" for node in checked.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert {name: f"classer_core.{home}" for name, home in classer_core._HOMES.items()} == typed
    assert set(classer_core.__all__) == typed.keys()
    assert all(getattr(classer_core, name).__name__ == name for name in classer_core.__all__)


ROOMS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (*CORE, *PIPELINES, *RUNNERS)
}
# What a package inside a room may import of the others: protocols stand below, what chooses among them above.
ARROWS = {
    "pipelines.readers": set(),
    "pipelines.writers": set(),
    "pipelines.queues": {"pipelines.writers"},
    "pipelines.bigquery": {"pipelines.readers", "pipelines.writers"},
    "pipelines.streaming": {"pipelines.queues", "pipelines.readers", "pipelines.writers"},
    "pipelines.sources": {"pipelines.bigquery", "pipelines.queues", "pipelines.readers", "pipelines.streaming"},
    "pipelines.outputs": {"pipelines.bigquery", "pipelines.queues", "pipelines.writers"},
    "pipelines.job": {"pipelines.outputs", "pipelines.sources"},
    "runners.flink": set(),
    "runners.dataflow": set(),
    "runners.review": set(),
    "runners.commands": {"runners.review"},
    "runners.serve": set(),
}


def imported_modules(path: Path) -> set[str]:
    """Return the modules of the rooms that a file imports, anywhere in it, also for types only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{name.name}" for name in node.names}
            found |= names & ROOMS.keys() or {node.module}
    return found & ROOMS.keys()


def package_of(module: str) -> str:
    """Return the package inside a room that a module is of; the module itself, if it is of none."""
    package = ".".join(module.split(".")[:2])
    return package if ROOMS[package].name == "__init__.py" else module


def order(arrows: dict[str, set[str]]) -> list[str]:
    """Return modules so that each comes after those it imports.

    Raises:
        CycleError: there is no such order.
    """
    return list(TopologicalSorter(arrows).static_order())


def test_no_imports_in_circles() -> None:
    modules = {module: imported_modules(path) - {module} for module, path in ROOMS.items()}
    order(modules)
    packages: dict[str, set[str]] = {}
    for module, imported in modules.items():
        if module.count(".") and not module.startswith("classer_core."):
            package = package_of(module)
            packages.setdefault(package, set()).update(
                {package_of(name) for name in imported if "." in name} - {package}
            )
    order(packages)


def test_a_circle_is_seen() -> None:
    with pytest.raises(CycleError):
        order({"a": {"b"}, "b": {"c"}, "c": {"a"}})


@pytest.mark.parametrize("package", ARROWS)
def test_packages_import_what_is_below_them(package: str) -> None:
    inside = {module: path for module, path in ROOMS.items() if f"{module}.".startswith(f"{package}.")}
    imported = {package_of(name) for path in inside.values() for name in imported_modules(path) if "." in name}
    room = package.partition(".")[0]
    assert {name for name in imported & ARROWS.keys() if name.startswith(f"{room}.")} - {package} <= ARROWS[package]


def test_every_package_has_its_arrows() -> None:
    packages = {package_of(name) for name in ROOMS if "." in name and not name.startswith("classer_core.")}
    assert {name for name in packages if ROOMS[name].name == "__init__.py"} == ARROWS.keys()
