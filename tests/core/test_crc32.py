"""The checksum is zlib's, of any bytes and continued from any value, whoever computes it."""

from __future__ import annotations

import importlib
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core import crc32 as module


@given(st.binary(max_size=5000), st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_the_checksum_is_that_of_zlib(first: bytes, second: bytes, start: int) -> None:
    assert module.crc32(first) == zlib.crc32(first)
    assert module.crc32(memoryview(second), module.crc32(first, start)) == zlib.crc32(first + second, start)


def test_without_a_wheel_zlib_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    try:
        assert importlib.reload(module).crc32 is zlib.crc32
    finally:
        monkeypatch.undo()
        importlib.reload(module)
