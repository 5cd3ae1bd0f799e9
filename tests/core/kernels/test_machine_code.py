from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.kernels import compilation as attempts
from tui_params.core.kernels import machine_code
from tui_params.core.kernels.compilation import Compilation
from tui_params.core.kernels.machine_code import MachineCode, Origin, decode, encode, file_name

ORIGIN = Origin("ab", "x86_64-unknown-linux-gnu", "znver4", "+avx")
CODE = MachineCode(ORIGIN, {"count16": "_Z1"}, b"\x7fELF\n\n\0end\n")


class Shelf:
    """A Store in memory."""

    def __init__(self, data: bytes | None) -> None:
        self.data = data

    def read(self, name: str) -> tuple[bytes, object] | None:
        assert name == file_name()
        return None if self.data is None else (self.data, None)

    def write(self, name: str, data: bytes) -> None:
        self.data = data


def test_machine_code_comes_back_as_it_was() -> None:
    assert decode(encode(CODE)) == CODE


@given(st.data())
def test_damaged_machine_code_is_never_believed(data: st.DataObject) -> None:
    whole = bytearray(encode(CODE))
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = data.draw(st.integers(1, 255))
    whole[place] ^= changed
    with pytest.raises(ValueError, match="damaged"):
        decode(bytes(whole))
    with pytest.raises(ValueError, match="damaged"):
        decode(encode(CODE)[:place])


@given(st.binary())
def test_random_bytes_are_no_machine_code(data: bytes) -> None:
    for some in (data, machine_code.MAGIC + data):
        with pytest.raises(ValueError, match="damaged"):
            decode(some)


def test_a_file_name_is_the_same_each_time_and_of_the_cache() -> None:
    assert file_name() == file_name()
    assert file_name().endswith(".code")
    assert len(file_name()) == 37


def test_code_is_compiled_anew_after_a_change_of_any_file_that_numba_compiles() -> None:
    folder = Path(machine_code.__file__).parent
    imports = re.compile(r"^ *(?:from|import) numba", re.M)
    importing = [path.name for path in folder.glob("*.py") if imports.search(path.read_text())]
    assert sorted(importing) == sorted(machine_code._SOURCES)


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (None, None),
        (b"", "the machine code is damaged, or of another version"),
        (encode(CODE)[:-1], "the machine code is damaged, or of another version"),
        (encode(CODE), "the machine code is for another processor"),
    ],
)
def test_what_is_kept_and_does_not_fit_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch, kept: bytes | None, reason: str | None
) -> None:
    pytest.importorskip("llvmlite")
    monkeypatch.setattr(attempts, "CompiledKernels", lambda code: pytest.fail("was loaded"))
    compilation = Compilation(lambda: Shelf(kept))
    assert not compilation.load()
    assert (compilation.kernels, compilation.reason, compilation.done.is_set()) == (None, reason, False)


def test_without_a_store_nothing_is_loaded() -> None:
    assert not Compilation().load()
    assert not Compilation(lambda: None).load()


def test_where_the_text_of_the_loops_cannot_be_read_numpy_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code, "_SOURCES", ("absent.py",))
    compilation = Compilation(lambda: Shelf(None))
    assert not compilation.load()
    assert compilation.kernels is None
    assert "absent.py" in str(compilation.reason)
