"""Sockets that are left behind, and those that only look so: what listens, or may belong elsewhere, stays."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from tui_params.live.attached import stale
from tui_params.live.attached.finding import describe, find_serving
from tui_params.live.attached.stale import is_refused, remove_stale

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a refusal is no proof")


@pytest.fixture
def folder(runtime: Path) -> Path:
    found = runtime / "tui-params"
    found.mkdir(mode=0o700)
    return found


def bound(path: Path, *, listens: bool) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    if listens:
        listener.listen(1)
    return listener


def test_what_nobody_listens_at_is_removed_whatever_its_number(folder: Path) -> None:
    # The number of this very process, which lives: it is not by the number that it is judged.
    path = folder / f"{os.getpid()}.sock"
    bound(path, listens=True).close()
    assert is_refused(path)
    assert find_serving() == []
    assert list(folder.iterdir()) == []


def test_what_listens_stays_though_no_process_has_its_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.live.attached.finding.HELLO_SECONDS", 0.1)
    path = folder / "4194305.sock"  # above the largest number that Linux gives
    with bound(path, listens=True):
        assert not remove_stale(path)
        # It is listed as one that does not answer: it may be a process of another namespace.
        (found,) = find_serving()
        assert (found.pid, found.path) == (4_194_305, path)
        assert found.reason is not None
    assert describe(path) is None


def test_what_may_be_of_another_machine_is_not_offered_and_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale, "_LOCAL", frozenset())
    path = folder / "7.sock"
    bound(path, listens=True).close()
    assert find_serving() == []
    assert path.exists()


def test_a_socket_that_took_its_place_is_put_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "7.sock"
    bound(path, listens=True).close()
    fresh: list[socket.socket] = []

    def refused(asked: Path) -> bool:
        assert is_refused(asked)
        asked.unlink()
        (folder / "keeps the number of the file").touch()
        fresh.append(bound(asked, listens=True))
        return True

    monkeypatch.setattr(stale, "is_refused", refused)
    remove_stale(path)
    assert not is_refused(path)
    fresh[0].close()


def test_other_files_are_left_alone(folder: Path) -> None:
    path = folder / "7.sock"
    path.write_text("not a socket")
    assert remove_stale(path)
    assert find_serving() == []
    assert path.read_text() == "not a socket"
    assert remove_stale(folder / "nothing.sock")
