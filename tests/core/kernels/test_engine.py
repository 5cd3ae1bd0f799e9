"""When compiled loops are loaded and compiled, and that the doors of the library really use them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from tests.factories_kernels import numpy_engine, run
from tui_params.api import opening
from tui_params.cache.figures import ENVIRONMENT
from tui_params.core.health.checksums import WatchedSource
from tui_params.core.kernels.by_numpy import NumpyKernels
from tui_params.core.kernels.compilation import Compilation
from tui_params.core.kernels.compiled import CompiledKernels
from tui_params.core.kernels.engine import WORTH_COMPILING, WORTH_LOADING, Engine
from tui_params.core.source import Source


@pytest.mark.parametrize(
    ("has_code", "nbytes", "expected"),
    [
        (True, WORTH_LOADING - 1, []),
        (True, WORTH_LOADING, ["load"]),
        (False, WORTH_COMPILING - 1, ["load"]),
        (False, WORTH_COMPILING, ["load", "run"]),
    ],
)
def test_loops_are_loaded_when_it_is_worth_it_and_compiled_when_that_is(
    monkeypatch: pytest.MonkeyPatch, has_code: bool, nbytes: int, expected: list[str]
) -> None:
    done: list[str] = []
    began = Event()

    def load(self: Compilation) -> bool:
        done.append("load")
        return has_code

    def run(self: Compilation) -> None:
        done.append("run")
        began.set()

    monkeypatch.setattr(Compilation, "load", load)
    monkeypatch.setattr(Compilation, "run", run)
    engine = Engine()
    engine.prepare(nbytes // 2)
    engine.expect(nbytes // 2)
    engine.expect(nbytes - nbytes // 2)
    if "run" in expected:
        assert began.wait(300)
    assert done == expected
    engine.expect(nbytes)
    assert done.count("load") <= 1


def test_engines_know_nothing_of_each_other(compiled_engine: Engine) -> None:
    other = numpy_engine()
    other.expect(1 << 40)
    assert isinstance(other.current(), NumpyKernels)
    assert not other.ready()
    assert isinstance(compiled_engine.current(), CompiledKernels)
    assert compiled_engine.ready()


def test_what_is_opened_by_a_path_has_the_engine_of_the_process_and_a_given_source_its_own(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model.safetensors", 1.0)
    with opening.open_source(path) as source:
        assert source.engine is opening.ENGINE
        assert source.engine is not Source.engine
        source.engine = numpy_engine()
        assert opening.open_source(source).engine is not opening.ENGINE
        assert WatchedSource(source, ()).engine is source.engine


def write_checkpoint(path: Path, value: float) -> Path:
    values = np.full(70_000, value, np.float32)
    header = json.dumps({"w": {"dtype": "F32", "shape": [700, 100], "data_offsets": [0, values.nbytes]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + values.tobytes())
    return path


@pytest.mark.parametrize(
    ("work", "loops"),
    [
        ("tui_params.open_source(a).summarize('w')", "float32"),
        ("tui_params.check(a)", "float32 maxima"),
        ("tui_params.compare(a, b)", "difference"),
    ],
)
def test_the_compiled_loops_are_in_use_where_a_path_is_read(
    work: str, loops: str, code_folder: Path, tmp_path: Path
) -> None:
    a, b = (write_checkpoint(tmp_path / f"{value}.safetensors", value) for value in (1.0, 2.0))
    script = f"""
import tui_params
from tui_params.api import opening
from tui_params.core.kernels.compiled import CompiledKernels
from tui_params.core.kernels.engine import Engine

used = set()
for name in ("float32", "maxima", "difference"):
    def loop(self, *arguments, _name=name, _loop=getattr(CompiledKernels, name), **options):
        used.add(_name)
        return _loop(self, *arguments, **options)
    setattr(CompiledKernels, name, loop)
opening.ENGINE = Engine(opening.code_store, worth_loading=1)
a, b = {str(a)!r}, {str(b)!r}
{work}
print(*sorted(used))
"""
    assert run(script, **{ENVIRONMENT: str(code_folder)}) == loops
