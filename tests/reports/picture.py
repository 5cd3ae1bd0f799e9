"""Draws the picture of the README: ``python -m tests.reports.picture screenshots/report.png`` (needs Chromium)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import tui_params
from tests.reports.test_browser import browser
from tui_params.demo import make_demo


def draw(picture: Path) -> None:
    """The report of the demo checkpoint, as far as it is seen without scrolling."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(tui_params.report(make_demo(Path(folder) / "demo")), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1180,1250"]
        command = [browser(), *options, f"--user-data-dir={folder}/profile", f"--screenshot={picture.resolve()}"]
        subprocess.run([*command, page.as_uri()], capture_output=True, timeout=120, check=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
