from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_kernels import compiled, engine
from tui_params.core import kernels
from tui_params.core.compiled import Compilation
from tui_params.core.kernels import LANES, WORDS, Kernels, NumpyKernels, Sums, ordered, unordered

__all__ = ["engine"]
pytest.importorskip("numba")


def words(count: int, seed: int = 0) -> NDArray[np.uint32]:
    found = np.random.default_rng(seed).integers(0, 1 << 32, count, np.uint32)
    found[::7] = 0
    found[1::11] = 0x80000000
    found[2::13] = 0x7F800000
    found[3::17] = 0xFF800000
    found[4::19] &= np.uint32(0x8000FFFF)
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 1001, 16_384, 16_385, 50_001, 140_000])
def test_compiled_float32_is_that_of_numpy(count: int) -> None:
    both = []
    for each in (NumpyKernels(), _compiled()):
        packed, squares = np.zeros(WORDS, np.uint64), np.zeros(512, np.uint64)
        found = each.float32(words(count), packed, squares)
        both.append((found, packed.tolist(), squares.tolist()))
    assert both[0] == both[1]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1001, 140_003])
def test_compiled_counts_are_those_of_numpy(count: int) -> None:
    both = []
    for each in (NumpyKernels(), _compiled()):
        lanes = np.zeros((LANES, WORDS), np.uint32)
        each.count16(words(count).view(np.uint16)[:count], lanes)
        each.count16(np.full(count, 0xFFFF, np.uint16), lanes)
        both.append(lanes.sum(0).tolist())
    assert both[0] == both[1]


@pytest.mark.parametrize("kind", ["<i4", "<u4", "<i8", "<u8"])
@pytest.mark.parametrize("count", [1, 2, 1001, 140_003])
def test_compiled_sums_of_integers_are_those_of_numpy(kind: str, count: int) -> None:
    values = words(2 * count).view(kind)[:count]
    extremes = np.iinfo(kind)
    for some in (values, np.full(count, extremes.min, kind), np.full(count, extremes.max, kind)):
        both = []
        for each in (NumpyKernels(), _compiled()):
            counts = np.zeros(1 << 19, np.int64)
            both.append((each.integers(some, counts), counts.nonzero()[0].tolist(), counts[counts > 0].tolist()))
        assert both[0] == both[1]
        whole = some.tolist()
        assert both[0][0] == Sums(sum(whole), sum(value * value for value in whole), min(whole), max(whole))


@pytest.mark.usefixtures("engine")
def test_read_only_and_unaligned_input_is_taken() -> None:
    raw = np.frombuffer(bytes(range(256)) * 4 + b"\0", np.uint8)[1:]
    assert not raw.flags.writeable
    lanes = np.zeros((LANES, WORDS), np.uint32)
    kernels.current().count16(raw.view("<u2"), lanes)
    assert lanes.sum() == 512
    found = kernels.current().float32(raw.view("<u4"), np.zeros(WORDS, np.uint64), np.zeros(512, np.uint64))
    assert unordered(found.high) == raw.copy().view("<f4").max()
    rows = np.zeros(4, np.uint16)
    kernels.current().maxima(raw.view("<u2").reshape(4, 128), rows, rows[:0], 0xFFFF, is_doubled=False)
    assert rows.tolist() == raw.copy().view("<u2").reshape(4, 128).max(1).tolist()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
@settings(deadline=None)
def test_ordered_words_have_the_order_of_the_floats(values: list[float]) -> None:
    floats = np.array(values, np.float32)
    keys = ordered(floats.view(np.uint32))
    assert [unordered(key) for key in keys.tolist()] == floats.tolist()
    assert np.all(np.diff(floats[np.argsort(keys)]) >= 0)


def _compiled() -> Kernels:
    found = compiled().kernels
    assert found is not None
    return found


class Miscounting(NumpyKernels):
    def count16(self, words: NDArray[np.uint16], lanes: NDArray[np.uint32]) -> None:
        super().count16(words[1:], lanes)


@pytest.mark.parametrize("error", [ImportError("no numba"), RuntimeError("no locator"), TypeError(), OSError()])
def test_whatever_is_wrong_with_numba_is_a_reason(error: Exception) -> None:
    asked: list[bool] = []

    def build(has_cache: bool) -> Kernels:
        asked.append(has_cache)
        raise error

    compilation = Compilation(build)
    compilation.run()
    assert compilation.done.is_set()
    assert compilation.kernels is None
    assert compilation.reason == f"{type(error).__name__}: {error}"
    assert asked == [True, False]


def test_a_broken_cache_is_done_without() -> None:
    def build(has_cache: bool) -> Kernels:
        if has_cache:
            raise EOFError("Ran out of input")
        return NumpyKernels()

    compilation = Compilation(build)
    compilation.run()
    assert (compilation.reason, compilation.kernels is not None) == (None, True)


def test_a_loop_that_counts_wrongly_is_not_used() -> None:
    compilation = Compilation(lambda has_cache: Miscounting())
    compilation.run()
    assert compilation.kernels is None
    assert compilation.reason == "RuntimeError: a compiled loop counts wrongly"


def test_numba_is_not_imported_before_much_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[None] = []
    monkeypatch.setattr(kernels, "_compilation", None)
    monkeypatch.setattr(kernels, "_wanted", 0)
    monkeypatch.setattr(kernels, "start_compiling", lambda: started.append(None))
    kernels.expect(kernels.WORTH_COMPILING - 1)
    assert not started
    kernels.expect(1)
    assert len(started) == 1


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    assert done.stderr == ""
    return done.stdout.strip()


COMPILE = """
from tui_params.core import kernels
compilation = kernels.start_compiling()
compilation.done.wait(60)
print(compilation.reason, kernels.ready())
"""


def test_importing_the_numbers_does_not_import_numba() -> None:
    modules = ", ".join(f"tui_params.core.{name}" for name in ("sweep", "maxima", "summary", "kernels"))
    assert run(f"import sys, {modules}; print('numba' in sys.modules)") == "False"


def test_a_cache_folder_that_is_broken_is_done_without(tmp_path: Path) -> None:
    folder = tmp_path / "a file"
    folder.write_text("no folder")
    assert run(COMPILE, NUMBA_CACHE_DIR=str(folder)) == "None True"


def test_where_numba_is_told_not_to_compile_numpy_serves() -> None:
    assert run(COMPILE, NUMBA_DISABLE_JIT="1") == "RuntimeError: numba is told not to compile False"


def test_without_numba_numpy_serves() -> None:
    assert run("import sys; sys.modules['numba'] = None\n" + COMPILE).endswith(" False")
