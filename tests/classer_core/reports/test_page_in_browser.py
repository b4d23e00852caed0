"""The page of a run in Debian's Chromium: drawn by day and night, reached by keyboard, and it asks for nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from classer_core.reports import RunReport, render_page
from classer_core.reports.drift import compared
from tests.browser import contrasts, fits, open_browser
from tests.classer_core.evaluation.test_page import ATTACK
from tests.classer_core.reports.test_report import drawn, gathered, hostile

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


def show(browser: webdriver.Chrome, folder: Path, report: RunReport) -> None:
    page = folder / "report.html"
    page.write_text(render_page(report))
    browser.get(page.as_uri())


def test_it_is_drawn_and_fits(browser: webdriver.Chrome, tmp_path: Path) -> None:
    before = gathered(drawn(1)).report("before")
    show(browser, tmp_path, compared(gathered(drawn(40, first=0.65)).report("now"), before))
    assert len(browser.find_elements(By.CSS_SELECTOR, "#labels .spark .bar")) > 20
    heights = [bar.rect["height"] for bar in browser.find_elements(By.CSS_SELECTOR, "svg.confidence .bar")]
    assert max(heights) > 60 and min(heights) < max(heights) / 3
    assert len(browser.find_elements(By.CSS_SELECTOR, "#unsure tr")) == 26
    assert "have changed more than chance" in browser.find_element(By.ID, "drift").text
    assert fits(browser)
    browser.set_window_size(420, 900)
    assert fits(browser), "on a telephone, too"
    browser.set_window_size(1400, 1000)
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []
    seen = contrasts(browser, ".panel")
    assert seen["light"][0] - seen["light"][1] > 150 and seen["dark"][1] - seen["dark"][0] > 150, seen


def test_hostile_texts_do_nothing_and_the_keyboard_opens_failures(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, tmp_path, hostile())
    assert browser.title == f"Report of {ATTACK}"
    assert not browser.find_elements(By.CSS_SELECTOR, "script, img")
    assert fits(browser)
    assert ATTACK in browser.find_element(By.CSS_SELECTOR, "#unsure .text").text
    summary, record = (
        browser.find_element(By.CSS_SELECTOR, f"#failures {part}") for part in ("summary", "details > bdi")
    )
    assert not record.is_displayed()
    summary.send_keys(Keys.ENTER)
    assert record.is_displayed() and record.text == ATTACK
