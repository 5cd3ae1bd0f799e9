"""The pages in a real browser without a screen: nothing to complain of, and the figures in the DOM are the commands'.

The usual tests leave these out; ``just browser`` runs them. They need Chromium or Chrome.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import tui_params
from tests.reports import figures
from tests.reports.dom import Node, parse
from tests.reports.sources import HOSTILE, hostile_file, pair, run_folder
from tui_params.cli.app import run
from tui_params.core.text import clean

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 120


class Shown(NamedTuple):
    """What a browser makes of a page: its tree, and what it complains of."""

    page: Node
    complaints: list[str]


Show = Callable[[str], Shown]


def browser() -> str:
    """The program; an error if there is none."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert program is not None, f"none of {', '.join(BROWSERS)} is installed"
    return program


@pytest.fixture
def show(tmp_path: Path) -> Show:
    """Open a page from a file, without a network, and take its DOM."""

    def shown(page: str) -> Shown:
        file = tmp_path / "page.html"
        file.write_text(page, encoding="utf-8")
        command = [
            browser(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
            file.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
        text = done.stdout.strip().removeprefix("<!DOCTYPE html>").strip()
        return Shown(parse(text), re.findall(r"CONSOLE.*", done.stderr))

    return shown


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def document(*arguments: str) -> Any:
        run([*arguments, "--json"])
        return msgspec.json.decode(capsys.readouterr().out)

    return document


def test_two_sources(tmp_path: Path, show: Show, printed: Callable[..., Any]) -> None:
    a, b = map(str, pair(tmp_path))
    page, complaints = show(tui_params.report(a, b))
    assert complaints == []
    figures.compare_difference(page, printed("diff", a, b))
    for part, path in zip(page.one("section", id="problems").all(class_="source"), (a, b), strict=True):
        figures.compare_check(part, printed("check", path))
    figures.compare_listing(page, printed("ls", b), printed("ls", b, "--kinds"))
    assert figures.compare_statistics(page, printed("stats", b)) > 100


def test_a_run(tmp_path: Path, show: Show, printed: Callable[..., Any]) -> None:
    folder = str(run_folder(tmp_path / "run"))
    page, complaints = show(tui_params.report(folder))
    assert complaints == []
    figures.compare_timeline(page, printed("timeline", folder))


def test_names_that_are_markup_run_nothing_and_are_shown_as_they_are(tmp_path: Path, show: Show) -> None:
    page, complaints = show(tui_params.report(str(hostile_file(tmp_path / "x.pt"))))
    assert complaints == []
    assert not page.all("script")
    assert not page.all("img")
    for name in HOSTILE:
        assert (clean(name) or "(empty name)") in page.one("body").text


def test_a_script_would_be_refused_and_told(tmp_path: Path, show: Show) -> None:
    text = tui_params.report(str(hostile_file(tmp_path / "x.pt")))
    script = "<script>document.body.dataset.ran = 1</script><img src='https://example.org/x.png'>"
    page, complaints = show(text.replace("</body>", f"{script}</body>"))
    assert "data-ran" not in page.one("body").attributes
    assert len([line for line in complaints if "Content Security Policy" in line]) == 2
