"""A page in headless Chromium, for the tests that open one; without a browser they are skipped."""

import base64
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (BROWSER and DRIVER), reason="Chromium or chromedriver is not installed")

FLAGS = "headless=new no-sandbox disable-gpu no-first-run disable-background-networking disable-component-update"
DESKTOP, PHONE = (1280, 900), (390, 844)


class Window:
    """A page in the browser, its console, and what it asked the network for."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, page: Path, size: tuple[int, int] = DESKTOP, scheme: str = "light", at: str = "") -> None:
        self.driver.get("about:blank")
        self.logs()
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme_feature]})
        self.driver.get(page.as_uri() + at)
        self.run("localStorage.clear()")
        # Only cards near the window exist.
        self.run("document.getElementById('gallery')?.scrollIntoView({behavior: 'instant'})")
        self.settle()

    def run(self, code: str, *arguments):
        return self.driver.execute_script(code, *arguments)

    def settle(self) -> None:
        """Until two frames are drawn and the pictures in sight are there."""
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(() => arguments[0]()))")

    def all(self, selector: str) -> list:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str):
        return self.driver.find_element("css selector", selector)

    def press(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)
        self.settle()

    def set(self, selector: str, value: str, event: str = "input") -> None:
        code = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event(arguments[2], {bubbles: true}))"
        self.run(code, self.one(selector), value, event)
        self.settle()

    def names(self) -> list[str]:
        return [element.text for element in self.all(".shot .name bdi")]

    def logs(self) -> tuple[list[str], list[str]]:
        """Complaints of the console, and addresses asked for that the policy let through, since the last call."""
        console = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        blocked = {e["params"]["requestId"] for e in events if e["params"].get("blockedReason") == "csp"}
        asked = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return console, [one["request"]["url"] for one in asked if one["requestId"] not in blocked]

    def wait(self, until) -> None:
        """Until something is true, for ten seconds."""
        end = time.monotonic() + 10
        while not until() and time.monotonic() < end:
            time.sleep(0.05)

    def printed(self) -> int:
        """How many pictures the page has as a PDF."""
        made = self.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
        return len(re.findall(rb"/Subtype\s*/Image", base64.b64decode(made["data"])))

    def boxes(self, side: str) -> int:
        return len(self.all(f"#v-{side} svg .frame"))

    def picture(self) -> tuple[int, int]:
        """Native size of the picture in the viewer; 0 where it did not load."""
        size = "i.decode().then(() => [i.naturalWidth, i.naturalHeight])"
        return tuple(self.run(f"const i = document.querySelector('#v-after img'); return {size}"))


@pytest.fixture(scope="module")
def window(tmp_path_factory) -> Iterator[Window]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS.split(), "disable-sync"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(30)
    yield Window(driver)
    driver.quit()
