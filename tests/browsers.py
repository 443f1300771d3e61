"""A real browser, without a window."""

import shutil
from contextlib import contextmanager
from importlib import util

import pytest


def skip_without_chromium():
    for command, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        if shutil.which(command) is None:
            pytest.skip(f"needs {command}: apt-get install {package}", allow_module_level=True)
    if util.find_spec("selenium") is None:
        pytest.skip("needs the package selenium: pip install 'selenium>=4.20'", allow_module_level=True)


@contextmanager
def chromium():
    """A driver that is closed at the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,1250"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def as_seen_in(driver, scheme):
    """The reader prefers "light" or "dark"."""
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
