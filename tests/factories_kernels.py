"""Engines for tests, one that computes by numpy alone and one with the compiled loops; values to compute with."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tui_params.api.opening import code_store
from tui_params.cache.figures import ENVIRONMENT
from tui_params.core.dtypes import from_torch, numpy_dtype
from tui_params.core.kernels.engine import Engine

NEVER = 1 << 62

COMPILE = """
import sys
from tui_params.api.opening import ENGINE
compilation = ENGINE.start_compiling()
compilation.done.wait()
print(compilation.reason, ENGINE.ready(), "numba" in sys.modules)
"""


def run(code: str, **environment: str) -> str:
    """What a script prints in a process of its own, which must say nothing on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    assert done.stderr == ""
    return done.stdout.strip()


def numpy_engine() -> Engine:
    """An engine that neither loads nor compiles anything, however much is read."""
    return Engine(worth_loading=NEVER, worth_compiling=NEVER)


@contextmanager
def kept_in(folder: Path | None) -> Iterator[None]:
    """Compiled loops are kept in a folder, or nowhere, while this lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, "off" if folder is None else str(folder))
        yield


@pytest.fixture(scope="session")
def code_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the compiled loops: compiled once in a test session, for all of its processes."""
    pytest.importorskip("numba")
    base = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own in that of the session.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            assert run(COMPILE, **{ENVIRONMENT: str(folder)}) == "None True False"
    return folder


@pytest.fixture(scope="session")
def compiled_engine(code_folder: Path) -> Engine:
    """An engine with the compiled loops."""
    engine = Engine(code_store)
    with kept_in(code_folder):
        compilation = engine.start_compiling()
    assert compilation.done.is_set()  # they were loaded
    assert compilation.reason is None
    assert engine.ready()
    return engine


@pytest.fixture(scope="module", params=["numpy", "numba"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Both engines, one after the other."""
    if request.param == "numpy":
        return numpy_engine()
    engine: Engine = request.getfixturevalue("compiled_engine")
    return engine


def finite_values(name: str, count: int, seed: int) -> NDArray[np.generic]:
    """Random patterns of a type, each of the narrow ones among them, that are finite."""
    dtype = from_torch(name)
    native = None if dtype is None else numpy_dtype(dtype)
    assert native is not None
    width = 8 * native.itemsize
    codes = np.random.default_rng(seed).integers(0, 1 << width, count, np.uint64)
    every = np.arange(1 << min(width, 16), dtype=np.uint64) << np.uint64(width - min(width, 16))
    codes[: every.size] = every[:count]
    values = codes.astype(f"u{native.itemsize}").view(native)
    with np.errstate(all="ignore"):
        values[~np.isfinite(values.astype(np.float64))] = 1
    return values
