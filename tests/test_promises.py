"""The table of promises names tests that are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "promises.md"
NAME = re.compile(r"`(?:(tests/[\w/]+\.py)(?:::)?)?(test_\w+)?`")


def rows() -> list[str]:
    return [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]


def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_each_promise_names_a_test_that_is_there() -> None:
    """A name without a file is one of the file before it."""
    assert len(rows()) > 15
    for row in rows():
        cells = row.strip("| ").split(" | ")
        assert len(cells) == 2, row
        names = re.findall(r"`[^`]+`", cells[1])
        assert names and re.sub(r"`[^`]+`|, ", "", cells[1]) == "", row
        file = ""
        for name in names:
            found = NAME.fullmatch(name)
            assert found and (found[1] or found[2]), name
            file = found[1] or file
            assert functions(file), file
            assert found[2] is None or found[2] in functions(file), name
