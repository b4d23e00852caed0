"""Debian's Chromium, for tests of pages."""

from pathlib import Path

from selenium import webdriver

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


def open_browser(profile: Path) -> webdriver.Chrome:
    """A browser with a profile of its own; its log keeps what pages complain of."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))


def fits(browser: webdriver.Chrome) -> bool:
    """Whether nothing is cut off: the page itself never scrolls sideways."""
    return bool(browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"))


def contrasts(browser: webdriver.Chrome, selector: str) -> dict[str, tuple[float, float]]:
    """The brightness, 0-255, of an element's background and text, by day and by night."""
    seen = {}
    for scheme in ("light", "dark"):
        feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        panel = browser.find_element("css selector", selector)
        ground, text = (_brightness(panel.value_of_css_property(name)) for name in ("background-color", "color"))
        seen[scheme] = (ground, text)
    return seen


def _brightness(colour: str) -> float:
    """`rgba(1, 2, 3, 1)` as 0-255."""
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3
