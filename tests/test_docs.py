"""README.md and docs/: links lead somewhere, and the examples in them work."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.job.model import Job

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
MAX_README_LINES = 150


def anchors(page: Path) -> set[str]:
    """Return the names by which a page's headings can be linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (page, code) of every block of a language."""
    return [
        (page.name, code)
        for page in PAGES
        for code in re.findall(
            rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_the_readme_is_an_overview() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def whole_jobs() -> list[Any]:
    jobs = []
    for page, code in blocks("yaml"):
        document = yaml.safe_load(code)
        # The source of extending.md is added by its own test.
        if page != "extending.md" and isinstance(document, dict) and {"source", "output"} <= document.keys():
            jobs.append(pytest.param(document, id=f"{page}-{len(jobs)}"))
    return jobs


@pytest.mark.parametrize("document", whole_jobs())
def test_job_files_are_valid(document: dict[str, Any]) -> None:
    """Keys, values and sections; whether files match is asked of a job that runs."""
    assert Job.model_validate(document).output


@pytest.mark.parametrize("code", [code for page, code in blocks("python") if page == "README.md"])
def test_the_readmes_python_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
