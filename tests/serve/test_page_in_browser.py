"""The page at `/` in Debian's Chromium: it answers texts and documents, also by keyboard, and asks nobody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests import documents as make
from tests.browser import contrasts, fits, open_browser
from tests.serve.running import RunningServer

pytestmark = pytest.mark.integration

ATTACK = "<img src=x onerror=document.title='broken'>"
WAIT_S = 20


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: webdriver.Chrome, server: RunningServer) -> webdriver.Chrome:
    browser.get(server.url)
    return browser


def write(page: webdriver.Chrome, name: str, text: str) -> None:
    field = page.find_element(By.ID, name)
    field.clear()
    field.send_keys(text)


def wait_for(page: webdriver.Chrome, name: str) -> str:
    """Return the text of an element once it is shown."""
    WebDriverWait(page, WAIT_S).until(lambda _: page.find_element(By.ID, name).is_displayed())
    return page.find_element(By.ID, name).text


def bars(page: webdriver.Chrome) -> dict[str, float]:
    """Return the width of each label's bar, in pixels."""
    rows = page.find_elements(By.CSS_SELECTOR, "#bars li")
    return {
        row.find_element(By.TAG_NAME, "bdi").text: row.find_element(By.CLASS_NAME, "fill").rect["width"] for row in rows
    }


def test_a_text_is_answered_with_the_keyboard_alone(page: webdriver.Chrome) -> None:
    assert page.switch_to.active_element.get_attribute("id") == "text"
    write(page, "labels", "billing\nlogin")
    write(page, "text", "a billing question")
    page.switch_to.active_element.send_keys(Keys.CONTROL, Keys.ENTER)
    assert wait_for(page, "label") == "billing"
    widths = bars(page)
    assert set(widths) == {"billing", "login"} and widths["billing"] > widths["login"]
    assert page.find_element(By.ID, "tokens").text and "ms" in page.find_element(By.ID, "time").text
    assert fits(page)


def test_every_label_that_fits(page: webdriver.Chrome) -> None:
    write(page, "labels", "billing\nlogin")
    write(page, "text", "billing and login")
    page.find_element(By.CSS_SELECTOR, "input[value=tag]").click()
    page.find_element(By.ID, "classify").click()
    assert set(wait_for(page, "label").split(", ")) == {"billing", "login"}


def test_a_document_is_read(page: webdriver.Chrome, tmp_path: Path) -> None:
    (tmp_path / "letter.pdf").write_bytes(make.pdf("about the login"))
    write(page, "labels", "billing\nlogin")
    page.find_element(By.ID, "text").clear()
    page.find_element(By.ID, "file").send_keys(str(tmp_path / "letter.pdf"))
    WebDriverWait(page, WAIT_S).until(lambda _: page.find_element(By.ID, "chosen").text == "letter.pdf")
    page.find_element(By.ID, "classify").click()
    assert wait_for(page, "label") == "login"
    assert page.find_element(By.ID, "evidence").text == "page 1"


def test_errors_and_hostile_labels_are_shown_as_text(page: webdriver.Chrome) -> None:
    write(page, "labels", "same\nsame")
    page.find_element(By.ID, "classify").click()
    assert "same" in wait_for(page, "error")
    write(page, "labels", f"{ATTACK}\nother")
    page.find_element(By.ID, "classify").click()
    wait_for(page, "label")
    assert ATTACK in bars(page)
    assert page.title == "Classer" and not page.find_elements(By.TAG_NAME, "img")


def test_day_and_night_and_a_narrow_screen(page: webdriver.Chrome) -> None:
    seen = contrasts(page, ".panel")
    assert seen["light"][0] > 200 and seen["light"][1] < 100
    assert seen["dark"][0] < 100 and seen["dark"][1] > 150
    page.set_window_size(420, 900)
    assert fits(page)
    page.set_window_size(1400, 1000)


def test_nothing_is_asked_of_others(page: webdriver.Chrome, server: RunningServer) -> None:
    names = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert names and all(name.startswith((server.url, "data:")) for name in names)
    errors = [line["message"] for line in page.get_log("browser") if line["level"] == "SEVERE"]
    assert [message for message in errors if "status of 422" not in message] == []  # of wrong labels, in tests above
