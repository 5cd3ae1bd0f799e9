"""A runtime folder of the test's own, in which sockets are short enough."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.attached.trainers import LOOP, training
from tui_params.live.attached.source import AttachedSource


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that only this user can enter, as ``XDG_RUNTIME_DIR``; its path fits into a socket's."""
    folder = Path(tempfile.mkdtemp(prefix="rt"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def served_loop() -> Iterator[Path]:
    """The socket of a loop that trains as long as the tests of a module run."""
    folder = Path(tempfile.mkdtemp(prefix="rt"))
    with training(LOOP, folder, "served", "0"):
        (path,) = (folder / "tui-params").glob("*.sock")
        yield path
    shutil.rmtree(folder, ignore_errors=True)


def goes_on(viewer: AttachedSource) -> bool:
    """Whether the training makes a step more, in a minute or two."""
    before, deadline = viewer.beat().steps, time.monotonic() + 100
    while viewer.beat().steps <= before and time.monotonic() < deadline:
        viewer.read("0.weight.grad")  # waits for the end of a step
    return viewer.beat().steps > before
