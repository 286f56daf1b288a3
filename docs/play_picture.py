"""Photograph the page of a run in headless Chromium: python docs/play_picture.py runs/demo.

Writes play.png beside this file. Needs Debian's packages chromium and chromium-driver.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver

from elegans.cli import main as elegans

TARGET = Path(__file__).parent / "play.png"
SIZE = {"width": 1280, "height": 790, "deviceScaleFactor": 1.25, "mobile": False}
SECONDS = 6.0
LARGEST = 200_000  # bytes


def photographed(page: Path) -> bytes:
    """Return a picture of a page some seconds after it was opened, right after a push."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    os.environ["SE_OFFLINE"] = "true"
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
        driver.get(page.as_uri())
        time.sleep(SECONDS)
        driver.execute_script("elegans.drive.kick(1)")
        time.sleep(0.12)
        taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    finally:
        driver.quit()
    return base64.b64decode(taken["data"])


def main(run: Path) -> None:
    """Write the picture and say how large it is."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "play.html"
        assert elegans(["play", str(run), "--out", str(page)]) == 0
        picture = Image.open(io.BytesIO(photographed(page))).convert("RGB")
    picture.quantize(256).save(TARGET, optimize=True)
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")
    assert TARGET.stat().st_size < LARGEST


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    main(parser.parse_args().run)
