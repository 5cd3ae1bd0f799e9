"""Calls of the operating system that a signal interrupts (EINTR): made again, wherever a file is opened or read."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.factories_safetensors import entry, file_bytes, write_index
from tui_params.core.health.checker import check
from tui_params.errors import OpenError
from tui_params.sources.bytes import system_calls
from tui_params.sources.detect import open_path

CALLS = ("stat", "fstat", "open", "pread", "preadv", "scandir", "listdir")


class Interrupted:
    """Stands for the functions of ``os``, each of which is interrupted ``times`` before each call that succeeds."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, times: int) -> None:
        self.folder = str(folder)
        self.times = times
        self.counts: Counter[str] = Counter()
        self._pending: Counter[tuple[str, int]] = Counter()
        for name in CALLS:
            if hasattr(os, name):
                patch.setattr(os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def interrupted(first: Any, *more: Any, **named: Any) -> Any:
            is_ours = isinstance(first, int) or str(first).startswith(self.folder)
            key = name, threading.get_ident()
            if is_ours and self._pending[key] < self.times:
                self._pending[key] += 1
                self.counts[name] += 1
                raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
            self._pending[key] = 0
            return call(first, *more, **named)

        return interrupted


def write_folder(folder: Path) -> None:
    data = np.random.default_rng(1).standard_normal(64).astype(np.float32).tobytes()
    for name in ("a", "b"):
        header = {f"{name}.weight": entry("F32", (8, 8), 0)}
        (folder / f"model-{name}.safetensors").write_bytes(file_bytes(header, data[::-1] if name == "b" else data))
    write_index(folder, {f"{name}.weight": f"model-{name}.safetensors" for name in ("a", "b")})


def test_a_folder_is_opened_and_checked_through_interruptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path)
    expected = check(open_path(tmp_path))
    with monkeypatch.context() as patch:
        system = Interrupted(patch, tmp_path, 3)
        with open_path(tmp_path) as source:
            report = check(source)
    assert report == expected
    assert report.checked == 2
    assert {"stat", "fstat", "open", "scandir"} <= set(system.counts)
    assert {"pread", "preadv"} & set(system.counts)


def test_a_zip_is_opened_and_read_through_interruptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(8, 8)
    torch.save({"x": values}, tmp_path / "x.pt")
    with monkeypatch.context() as patch:
        Interrupted(patch, tmp_path, 2)
        with open_path(tmp_path / "x.pt") as source:
            read = source.read("x")
            report = check(source)
    np.testing.assert_array_equal(read, values.numpy())
    assert (report.checked, report.unchecked) == (1, ())


def test_a_folder_that_holds_nothing_to_open_says_so_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "__0_0.distcp").write_bytes(b"x")
    with monkeypatch.context() as patch:
        system = Interrupted(patch, tmp_path, 1)
        with pytest.raises(OpenError, match="distributed checkpoint"):
            open_path(tmp_path)
    assert system.counts["scandir"]


def test_what_is_interrupted_for_ever_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path)
    monkeypatch.setattr(system_calls, "_MOST_INTERRUPTIONS", 3)
    with monkeypatch.context() as patch:
        Interrupted(patch, tmp_path, 100)
        with pytest.raises(OpenError, match="interrupted system call"):
            open_path(tmp_path / "model-a.safetensors")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers that send signals here")
def test_real_signals_during_a_check_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    data = np.random.default_rng(2).standard_normal(1 << 20).astype(np.float32).tobytes()
    path.write_bytes(file_bytes({"a.weight": entry("F32", (1024, 1024), 0)}, data))
    with open_path(path) as source:
        expected = check(source)
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: seen.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while len(seen) < 20:
            with open_path(path) as source:
                assert check(source) == expected
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
