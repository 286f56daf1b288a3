"""Headless Chromium for pages that need no network."""

import json
import os
import shutil
import time

import pytest

BINARY = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
NEEDED = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BINARY is None or DRIVER is None,
        reason="needs Debian's packages chromium and chromium-driver (apt-get install both)",
    ),
]


def start(home, width, height=900):
    """Return a browser of a width, with the addresses that it asks for written down."""
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = BINARY
    for argument in (
        "--headless=new",
        "--no-sandbox",  # which a container's root user cannot have
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={home}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    os.environ["SE_OFFLINE"] = "true"  # the driver is given: nothing is to be looked up
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    driver.width = width
    return driver


def wait(driver, script, *arguments):
    """Return the first value of a script that is true, within seconds."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = driver.execute_script(script, *arguments)
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never true: {script}")


def open_page(driver, address):
    """Open a page that says when it is ready."""
    driver.get_log("performance")
    driver.get_log("browser")
    driver.get(address)
    wait(driver, "return document.body.dataset.ready === 'true'")


def errors_of(driver):
    """Return what the console was told since the page was opened, but for information."""
    return [entry for entry in driver.get_log("browser") if entry["level"] != "INFO"]


def asked_by(driver):
    """Return the addresses that were asked for since the page was opened."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
