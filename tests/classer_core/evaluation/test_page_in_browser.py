"""The page in Debian's Chromium: its pictures are drawn, its hostile texts do nothing, and it asks for nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from classer_core.evaluation import render_page
from tests.browser import contrasts, fits, open_browser
from tests.classer_core.evaluation.test_page import ATTACK, report

pytestmark = pytest.mark.integration

PICTURES = ("confusion", "reliability", "coverage")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


def show(browser: webdriver.Chrome, folder: Path, labels: int, hostile: bool = False) -> None:
    page = folder / "report.html"
    page.write_text(render_page(report(labels, 3_000, hostile)))
    browser.get(page.as_uri())


@pytest.mark.parametrize("labels", [2, 150])
def test_pictures_are_drawn_and_fit(browser: webdriver.Chrome, tmp_path: Path, labels: int) -> None:
    show(browser, tmp_path, labels)
    for name in PICTURES:
        box = browser.find_element(By.ID, name).rect
        assert box["width"] > 200 and box["height"] > 200, (name, box)
    cells = browser.find_elements(By.CSS_SELECTOR, "#confusion .cell")
    assert len(cells) == 4 if labels == 2 else len(cells) > 1_000
    assert len(browser.find_elements(By.CSS_SELECTOR, "#confusion .cell.right")) == labels
    assert all(5 < cell.rect["width"] < 100 for cell in cells[:20])
    # Coloured by the style sheet, which the page's policy lets in: the two kinds differ, and none is black.
    colours = {kind: _fill(browser, f"#confusion .cell.{kind}") for kind in ("right", "wrong")}
    assert len({*colours.values(), "rgb(0, 0, 0)"}) == 3, colours
    assert len(browser.find_elements(By.CSS_SELECTOR, "#reliability .bar")) >= 10
    tall = [bar.rect["height"] for bar in browser.find_elements(By.CSS_SELECTOR, "#reliability .bar")]
    assert tall[-1] > 1.25 * tall[0]  # surer answers are right more often
    line = browser.find_element(By.CSS_SELECTOR, "#coverage .line").rect
    assert line["width"] > 200 and line["height"] > 20
    assert browser.find_element(By.CSS_SELECTOR, "#coverage .chosen").is_displayed()
    assert fits(browser)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#mistakes tr")) == 26
    assert len(browser.find_elements(By.CSS_SELECTOR, "#labels tr")) == labels + 1


def test_hostile_texts_do_nothing(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, tmp_path, 3, hostile=True)
    assert browser.title == f"Evaluation of {ATTACK}"
    assert not browser.find_elements(By.CSS_SELECTOR, "script, img")
    assert fits(browser)
    assert ATTACK in browser.find_element(By.CSS_SELECTOR, "#mistakes .text").text
    assert len(browser.find_elements(By.CSS_SELECTOR, "#confusion .cell.right")) == 3


def test_nothing_is_fetched_or_complained_of(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, tmp_path, 15)
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert fetched == []
    assert browser.get_log("browser") == []


def test_night_and_day_differ_and_can_be_read(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, tmp_path, 15)
    seen = contrasts(browser, ".panel")
    assert seen["light"][0] - seen["light"][1] > 150 and seen["dark"][1] - seen["dark"][0] > 150, seen


def _fill(browser: webdriver.Chrome, selector: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, selector).value_of_css_property("fill")
