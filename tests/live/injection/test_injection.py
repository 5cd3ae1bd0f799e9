"""A process that was not prepared: entered while it trains, and left as it was; and plain words where it cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from tests.live.attached.conftest import goes_on, runtime
from tui_params.errors import OpenError
from tui_params.live.attached.finding import find_serving
from tui_params.live.attached.source import AttachedSource
from tui_params.live.bundle import make_guest
from tui_params.live.injection import debugger, entering
from tui_params.live.injection.elf_symbols import SymbolsError, find_symbols
from tui_params.live.injection.entering import enter, plan
from tui_params.live.injection.target import find_target
from tui_params.live.watching.condition import parse_condition
from tui_params.live.watching.watch import Watch, choose_watched

__all__ = ["runtime"]

needs_gdb = pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")

UNPREPARED = """
import torch
from torch import nn

class Trainer:
    def __init__(self):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
        self.optim = torch.optim.AdamW(self.network.parameters())
        self.loss = nn.MSELoss()

    def fit(self):
        data = torch.ones(4, 8)
        while True:
            self.optim.zero_grad()
            self.loss(self.network(data), data).backward()
            self.optim.step()

torch.set_num_threads(1)
trainer = Trainer()
print("training", flush=True)
trainer.fit()
"""
PLAIN = "import sys; print('here', flush=True); sys.stdin.readline()"


@contextmanager
def running(script: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has no tui-params, and has said its first word."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "XDG_RUNTIME_DIR")}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd="/"
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def entered(pid: int) -> Any:
    """What ``enter`` returns; a test is skipped where gdb cannot call functions at all."""
    try:
        return enter(pid)
    except OpenError as error:
        if "cannot call a function on its processor" in str(error):
            pytest.skip(str(error))
        raise


@needs_gdb
def test_a_training_loop_is_entered_looked_at_and_left(runtime: Path) -> None:
    with running(UNPREPARED) as process:
        (found,) = entered(process.pid)
        assert (found.name, found.model, found.pid) == ("network", "Sequential", process.pid)
        with AttachedSource(found.path) as viewer:
            assert isinstance(viewer, AttachedSource)
            names = viewer.names()
            assert "0.weight" in names
            # Its optimizer was found too.
            assert "optimizer.0.weight.exp_avg" in names
            assert viewer.read("0.weight").shape == (16, 8)
            assert viewer.read("2.bias.grad").shape == (8,)
            assert goes_on(viewer)
            listing, conditions = viewer.listing, [parse_condition("norm>1e-30")]
            choice = choose_watched(listing, (), listing.gradients.values(), conditions)
            watch = Watch(viewer, choice, hold_seconds=60)
            look = watch.look(20)
            assert look is not None
            assert {event.info.name for event in look.events} == {info.name for info in listing.gradients.values()}
            watch.hold()
            while (held := watch.held()) is not None and not held.step:
                watch.look(0.01)
            stood = viewer.page.steps
            assert viewer.read("2.bias.grad").shape == (8,)
            assert (viewer.page.steps, viewer.page.held) == (stood, stood)
        assert process.poll() is None
        assert [each.pid for each in find_serving()] == [process.pid]


@needs_gdb
def test_a_process_without_torch_is_told(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entering, "TORCH_SECONDS", 0.2)
    script = "import sys\nprint('here', flush=True)\nwhile True:\n    [str(number) for number in range(1000)]\n"
    with running(script) as process:
        with pytest.raises(OpenError, match="serves nothing: it has not imported torch"):
            entered(process.pid)
        assert process.poll() is None


@needs_gdb
def test_a_process_that_sleeps_is_let_go_again(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debugger, "STOP_SECONDS", 0.3)
    with running(PLAIN) as process:
        with pytest.raises(OpenError, match="did not come to a place where it can be entered"):
            enter(process.pid)
        assert process.poll() is None
        # No breakpoint was left in it: it would be killed by the first call.
        process.communicate(b"go on\n", timeout=30)
        assert process.returncode == 0


def test_a_gdb_that_cannot_call_functions_is_told_at_once() -> None:
    gdb = object.__new__(debugger._Gdb)
    gdb._pid, gdb._lines, gdb._said = 1, SimpleQueue(), []
    gdb._lines.put("(gdb) Couldn't write extended state status: Bad address.\n")
    words = r"cannot call a function on its processor \(Couldn't write extended state status: Bad address\.\)"
    with pytest.raises(OpenError, match=words):
        gdb.expect("entered", 5.0)


def test_the_guest_leaves_when_nobody_looks(runtime: Path) -> None:
    from torch import nn

    from tui_params.live.inside import guest

    kept = nn.Linear(3, 3)
    servers = guest.serve_all("", patience=0.1)
    assert servers
    (stays,) = [thread for thread in threading.enumerate() if thread.name == "tui-params guest"]
    stays.join(100)
    assert not stays.is_alive()
    assert find_serving() == []
    assert kept.in_features == 3


def test_the_script_can_fail_without_a_word_to_its_process(runtime: Path) -> None:
    space: dict[str, object] = {"exec": None}
    exec(make_guest(str(runtime / "nowhere"), 0.01), space)
    assert set(space) == {"exec", "__builtins__"}


def test_what_would_be_run_is_printed(runtime: Path) -> None:
    with running(PLAIN) as process:
        words = plan(process.pid)
        assert f"gdb: attach {process.pid}" in words or "sys.remote_exec" in words
        assert "def enter(folder" in words
        assert process.poll() is None
    assert not (runtime / "tui-params").exists()


def test_processes_that_cannot_be_entered_are_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(OpenError, match="there is no process 4194399"):
        find_target(4_194_399)
    with subprocess.Popen(["sleep", "60"]) as process:
        with pytest.raises(OpenError, match=rf"process {process.pid} is no Python \(sleep\)"):
            find_target(process.pid)
        process.kill()


def fake_process(folder: Path, maps: str, scope: str = "0") -> Path:
    (folder / "self").mkdir()
    (folder / "7").mkdir()
    (folder / "7" / "maps").write_text(maps)
    (folder / "7" / "exe").symlink_to("/usr/bin/python3.12")
    (folder / "sys/kernel/yama").mkdir(parents=True)
    (folder / "sys/kernel/yama/ptrace_scope").write_text(scope)
    return folder


LINE = "{start:x}-{stop:x} r-xp {offset:08x} 08:01 1 {path}\n"


def test_a_python_that_is_linked_statically_is_found_in_the_program(tmp_path: Path) -> None:
    maps = LINE.format(start=0x401000, stop=0x500000, offset=0x1000, path="/usr/bin/python3.12")
    maps += LINE.format(start=0x7F0000026000, stop=0x7F0000100000, offset=0x26000, path="/lib/libc.so.6")
    maps += LINE.format(start=0x7F1000000000, stop=0x7F1000100000, offset=0, path="/x/libtorch_cpu.so")
    target = find_target(7, fake_process(tmp_path, maps))
    assert (target.version, target.bases, target.has_torch) == ((3, 12), (0x400000, 0x7F0000000000), True)
    assert target.libc == tmp_path.joinpath("7", "root", "lib", "libc.so.6")


def test_a_static_program_is_told(tmp_path: Path) -> None:
    maps = LINE.format(start=0x401000, stop=0x500000, offset=0x1000, path="/usr/bin/python3.12")
    with pytest.raises(OpenError, match=r"static program: it has no C library .* put tui_params\.serve"):
        find_target(7, fake_process(tmp_path, maps))


@pytest.mark.parametrize(
    ("scope", "words"),
    [("1", "run this with sudo"), ("2", "only root"), ("3", "nobody may"), ("0", "capability SYS_PTRACE")],
)
def test_what_forbids_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str, words: str) -> None:
    def forbid(path: Path, *_: object, **__: object) -> str:
        if path.name == "maps":
            raise PermissionError(13, "Permission denied")
        return scope

    folder = fake_process(tmp_path, "", scope)
    monkeypatch.setattr(Path, "read_text", forbid)
    with pytest.raises(OpenError, match=words):
        find_target(7, folder)


def test_another_users_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(OpenError, match=r"process 7 belongs to another user \(0\)|belongs to another user"):
        find_target(7, fake_process(tmp_path, ""))


def test_without_gdb_the_line_to_write_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(OpenError, match=r"gdb is needed .* tui_params\.serve\(model\)"):
        debugger.find_gdb()


def test_the_addresses_of_a_library_are_those_that_it_has() -> None:
    import ctypes

    target = find_target(os.getpid())
    found, is_shared = find_symbols(target.libc, ["malloc", "mmap", "no_such_function"])
    assert set(found) == {"malloc", "mmap"}
    libc = ctypes.CDLL(None)
    for name, address in found.items():
        expected = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value
        assert address + target.bases[1] * is_shared == expected


@pytest.mark.parametrize(
    "content", [b"", b"MZ" + bytes(100), b"\x7fELF\x01\x01" + bytes(100), b"\x7fELF\x02\x01" + bytes(58)]
)
def test_what_is_no_library_has_no_addresses(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lib").write_bytes(content)
    with pytest.raises(SymbolsError):
        find_symbols(tmp_path / "lib", ["malloc"])


def test_a_damaged_library_raises_nothing_else(tmp_path: Path) -> None:
    target = find_target(os.getpid())
    whole = target.libc.read_bytes()
    for length in range(0, len(whole), len(whole) // 60):
        (tmp_path / "lib").write_bytes(whole[:length])
        try:
            find_symbols(tmp_path / "lib", ["malloc"])
        except SymbolsError:
            continue
