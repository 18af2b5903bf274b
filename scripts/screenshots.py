"""``python scripts/screenshots.py URL``: pages of a running ``namesae serve``, as the docs show them.

Five pages, on a desktop and a telephone, light and dark. Needs Chromium, and a store with named features, a
finished run, an evaluation and names to compare.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

SIZES = {"desktop": (1440, 1000), "phone": (390, 844)}
COLOURS = 128
"""Of a saved picture: flat pages lose nothing that is seen, and half their bytes."""


def main() -> None:
    asked = _arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    pages = dict(each.split("=", 1) for each in asked.page)
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for device in SIZES:
            for scheme in ("light", "dark"):
                for name, path in pages.items():
                    target = asked.out / f"{name}-{device}-{scheme}.png"
                    _shoot(
                        browser, asked.url.rstrip("/") + path, target, device=device, dark=scheme == "dark"
                    )
        browser.close()


def _shoot(browser: Browser, url: str, target: Path, *, device: str, dark: bool) -> None:
    width, height = SIZES[device]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        device_scale_factor=1,
    )
    page = context.new_page()
    page.goto(url)
    # Parts that are asked for after the page is shown; live pages are never idle.
    page.wait_for_timeout(2500)
    page.screenshot(path=target)
    context.close()
    with Image.open(target) as image:
        reduced = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    reduced.save(target, optimize=True)


def _arguments() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("url")
    asked.add_argument("--out", type=Path, default=Path("docs/images/service"))
    asked.add_argument("--page", action="append", required=True, metavar="NAME=/PATH")
    return asked.parse_args()


if __name__ == "__main__":
    main()
