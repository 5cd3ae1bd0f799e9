from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from threading import Thread

import pytest

from tests.factories_kernels import COMPILE, run
from tui_params.cache.figures import ENVIRONMENT
from tui_params.core.kernels import compilation as attempts
from tui_params.core.kernels import compiler, machine_code
from tui_params.core.kernels.compilation import Compilation
from tui_params.core.kernels.machine_code import Store, decode

NO_PYTHON = "Python runs inside another program, which cannot be started to compile False False"


@pytest.mark.parametrize("error", [ImportError("no numba"), RuntimeError("no locator"), TypeError("x"), OSError("y")])
def test_whatever_is_wrong_with_compiling_is_a_reason(error: Exception) -> None:
    def build() -> bytes:
        raise error

    compilation = Compilation(build=build)
    compilation.run()
    assert compilation.done.is_set()
    assert compilation.kernels is None
    assert compilation.reason == str(error)


def test_importing_the_numbers_does_not_import_numba() -> None:
    names = ("reading.sweep", "numbers.maxima", "numbers.summary", "kernels.compilation")
    modules = ", ".join(f"tui_params.core.{name}" for name in names)
    unwanted = "{'numba', 'tui_params.core.kernels.compiler'}"
    assert run(f"import sys, {modules}; print({unwanted} & set(sys.modules))") == "set()"


def test_numba_is_imported_by_another_process_and_its_machine_code_kept(code_folder: Path, tmp_path: Path) -> None:
    # The folder was filled by a process in which numba was not imported: the fixture looks.
    (made,) = code_folder.iterdir()
    assert made.suffix == ".code"
    assert made.stat().st_mode & 0o777 == 0o600
    folder = tmp_path / "cache"
    folder.mkdir(0o700)
    kept = Path(shutil.copy(made, folder))
    # Where nothing can be compiled, what is kept serves.
    script = "import sys; sys.executable = ''\n" + COMPILE
    assert run(script, **{ENVIRONMENT: str(folder)}) == "None True False"
    data = bytearray(kept.read_bytes())
    data[-100] ^= 1
    kept.write_bytes(data)
    assert run(script, **{ENVIRONMENT: str(folder)}) == NO_PYTHON


class Refusing:
    """A store that keeps nothing."""

    asked: list[str]

    def __init__(self) -> None:
        self.asked = []

    def read(self, name: str) -> None:
        return None

    def write(self, name: str, data: bytes) -> None:
        self.asked.append(name)


_refusing = Refusing()


def refusing() -> Store:
    return _refusing


def no_store() -> None:
    return None


@pytest.mark.parametrize("keeper", ["", f"{__name__}:no_store", f"{__name__}:refusing"])
def test_the_compiler_gives_what_it_made_whether_or_not_it_can_be_kept(
    keeper: str, code_folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (kept,) = code_folder.iterdir()
    code = decode(kept.read_bytes())
    monkeypatch.setattr(compiler, "build", lambda: code)
    monkeypatch.setattr(os, "nice", lambda increment: 0)
    _refusing.asked.clear()
    compiler.main(keeper)
    assert decode(capfdbinary.readouterr().out) == code
    assert _refusing.asked == ([machine_code.file_name()] if keeper.endswith("refusing") else [])


def test_the_compiler_is_told_the_function_that_finds_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def popen(command: list[str], **_: object) -> None:
        started.append(command)
        raise OSError("not in a test")

    monkeypatch.setattr(subprocess, "Popen", popen)
    for find_store in (None, refusing):
        compilation = Compilation(find_store)
        compilation.run()
        assert compilation.reason == "not in a test"
    assert [command[5] for command in started] == ["", f"{__name__}:refusing"]
    # The script names a module as text: it must be the one that is there.
    assert f"from {compiler.__name__} import main\n" in started[0][4]


def test_where_numba_is_told_not_to_compile_numpy_serves() -> None:
    pytest.importorskip("numba")
    found = run(COMPILE, NUMBA_DISABLE_JIT="1", TUI_PARAMS_CACHE="off")
    assert found == "RuntimeError: numba is set not to compile (NUMBA_DISABLE_JIT) False False"


def test_without_llvm_numpy_serves() -> None:
    code = "import sys; sys.modules['llvmlite'] = None\n" + COMPILE
    assert run(code, NUMBA_DISABLE_JIT="1", TUI_PARAMS_CACHE="off").endswith(" False False")


@pytest.fixture
def endless() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when it is killed, or with this one."""
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=read, stdout=PIPE, stderr=PIPE
    )
    os.close(read)
    yield process
    os.close(write)
    process.wait()


def test_a_compiler_that_hangs_ends_with_its_parent(
    endless: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "start", lambda find_store: endless)
    compilation = Compilation()
    running = Thread(target=compilation.run)
    running.start()
    compilation.stop()
    running.join()
    assert compilation.reason == "the compiler ended with -9"


def test_a_compiler_that_takes_too_long_is_given_up(
    endless: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "start", lambda find_store: endless)
    monkeypatch.setattr(attempts, "SECONDS", 0.01)
    compilation = Compilation()
    compilation.run()
    assert compilation.reason == "compiling took longer than 0 s"
    assert endless.poll() is not None
