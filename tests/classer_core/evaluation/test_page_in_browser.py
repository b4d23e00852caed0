"""The page in Debian's Chromium: its pictures are drawn, its hostile texts do nothing, and it asks for nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from classer_core.evaluation import render_page
from tests.classer_core.evaluation.test_page import ATTACK, report

pytestmark = pytest.mark.integration

PICTURES = ("confusion", "reliability", "coverage")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
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
    assert _fits(browser)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#mistakes tr")) == 26
    assert len(browser.find_elements(By.CSS_SELECTOR, "#labels tr")) == labels + 1


def test_hostile_texts_do_nothing(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, tmp_path, 3, hostile=True)
    assert browser.title == f"Evaluation of {ATTACK}"
    assert not browser.find_elements(By.CSS_SELECTOR, "script, img")
    assert _fits(browser)
    assert ATTACK in browser.find_element(By.CSS_SELECTOR, "#mistakes .text").text
    assert len(browser.find_elements(By.CSS_SELECTOR, "#confusion .cell.right")) == 3


def test_nothing_is_fetched_or_complained_of(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, tmp_path, 15)
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert fetched == []
    assert browser.get_log("browser") == []


def test_night_and_day_differ_and_can_be_read(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, tmp_path, 15)
    seen = {}
    for scheme in ("light", "dark"):
        feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        panel = browser.find_element(By.CSS_SELECTOR, ".panel")
        seen[scheme] = [_brightness(panel.value_of_css_property(name)) for name in ("background-color", "color")]
    assert seen["light"][0] - seen["light"][1] > 150 and seen["dark"][1] - seen["dark"][0] > 150, seen


def _fits(browser: webdriver.Chrome) -> bool:
    """Whether nothing is cut off: the page itself never scrolls sideways."""
    return bool(browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"))


def _fill(browser: webdriver.Chrome, selector: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, selector).value_of_css_property("fill")


def _brightness(colour: str) -> float:
    """`rgba(1, 2, 3, 1)` as 0-255."""
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3
