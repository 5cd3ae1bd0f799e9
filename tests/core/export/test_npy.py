"""What numpy.load makes of the files: the same values, or the same bit patterns, of the same type and shape."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_safetensors import entry, file_bytes
from tui_params.api.opening import open_source
from tui_params.core import dtypes
from tui_params.core.export import npy
from tui_params.core.export.npy import npy_of
from tui_params.core.source import Source
from tui_params.core.window import parse_window
from tui_params.errors import ReadError, WriteError

PLAIN = ("float64", "float32", "float16", "int64", "int8", "uint64", "uint16", "bool", "complex64", "complex128")
OURS = tuple(name[10:] for dtype in dtypes.DTYPES if (name := dtype.numpy or "").startswith("ml_dtypes."))


def file_of(source: Source, name: str = "x", expression: str = "") -> tuple[bytes, str]:
    info = source.find(name)
    contents = npy_of(source, info, parse_window(expression, info.shape))
    raw = b"".join(bytes(piece) for piece in contents.pieces)
    assert len(raw) == contents.nbytes
    return raw, contents.about()


def loaded(array: NDArray[Any], expression: str = "") -> NDArray[Any]:
    raw, _ = file_of(MemorySource({"x": array}), expression=expression)
    values: NDArray[Any] = np.load(io.BytesIO(raw), allow_pickle=False)
    return values


def some(dtype: str) -> NDArray[Any]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, 4, 16), np.uint8).view(dtype) if dtype != "bool" else rng.integers(0, 2, 9) > 0


@pytest.mark.parametrize("dtype", PLAIN)
def test_types_of_numpy(dtype: str) -> None:
    array = some(dtype)
    back = loaded(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()  # NaN with its payload, -0.0


@pytest.mark.parametrize("dtype", OURS)
def test_types_that_numpy_lacks_are_bit_patterns(dtype: str) -> None:
    native = np.dtype(getattr(ml_dtypes, dtype))
    described = ml_dtypes.iinfo(native) if "int" in dtype else ml_dtypes.finfo(native)
    codes = np.arange(1 << (8 if native.itemsize == 2 else described.bits), dtype=f"u{native.itemsize}")
    array = (codes * (257 if native.itemsize == 2 else 1)).astype(codes.dtype).view(native).reshape(2, -1)
    raw, about = file_of(MemorySource({"x": array}))
    back = np.load(io.BytesIO(raw), allow_pickle=False)
    assert back.dtype == codes.dtype
    assert back.view(native).tobytes() == array.tobytes()
    assert about.endswith(f"as {codes.dtype} bits: .view(ml_dtypes.{dtype})")


def test_numpy_itself_does_not_read_back_what_it_writes_of_them() -> None:
    """Why bit patterns are written: should numpy.save ever do better, so can we."""
    page = io.BytesIO()
    np.save(page, np.ones(2, ml_dtypes.bfloat16))
    page.seek(0)
    assert np.load(page).dtype == np.dtype("V2")


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1), (2, 3, 4, 5)])
def test_shapes(shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    back = loaded(array)
    assert back.shape == shape
    assert back.tobytes() == array.tobytes()


@given(st.integers(1, 40), st.sampled_from(["", "[1]", "[::-1, 1:3]", "[..., 0]", "[:, ::2]", "[-3:, 1:1]", "[1:, 2]"]))
def test_slices_in_pieces_of_any_size(nbytes: int, expression: str) -> None:
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    source = MemorySource({"x": array})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npy, "PIECE_NBYTES", nbytes)
        raw, _ = file_of(source, expression=expression)
    wanted = eval(f"array{expression}") if expression else array
    assert np.array_equal(np.load(io.BytesIO(raw)), wanted)
    assert all(window.numel * 2 <= max(nbytes, 2) for window in source.windows)


def test_files_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(7, 33)).astype(np.float32)
    packed = np.arange(24, dtype=np.uint8)  # 48 codes of 4 bits
    header = {"x": entry("F32", (7, 33), 0), "y": entry("F4", (6, 8), values.nbytes)}
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_bytes(header, values.tobytes() + packed.tobytes()))
    monkeypatch.setattr(npy, "PIECE_NBYTES", 100)
    source = open_source(path)
    assert np.array_equal(np.load(io.BytesIO(file_of(source)[0])), values)
    back = np.load(io.BytesIO(file_of(source, "y")[0]))
    assert back.reshape(-1).tolist() == [code for byte in packed for code in (byte & 15, byte >> 4)]


@pytest.mark.filterwarnings("ignore")
def test_a_live_view_and_a_quantised_tensor() -> None:
    import torch

    base = torch.arange(12.0).reshape(3, 4)
    quantised = torch.quantize_per_tensor(base, 0.5, 3, torch.qint8)
    source = open_source({"t": base.t(), "c": torch.tensor([1 + 2j], dtype=torch.complex32), "q": quantised})
    assert np.array_equal(np.load(io.BytesIO(file_of(source, "t")[0])), base.t().numpy())
    assert np.load(io.BytesIO(file_of(source, "c")[0])).tolist() == [1 + 2j]
    raw, about = file_of(source, "q")
    assert np.array_equal(np.load(io.BytesIO(raw)), quantised.int_repr().numpy())
    assert about == "integers as stored, quantised: scale 0.5, zero point 3"


def test_what_cannot_be_read_or_loaded_is_refused() -> None:
    source = MemorySource({"x": np.zeros(3), "y": np.zeros(3)}, unreadable={"x": "it is gone"}, broken={"y": "torn"})
    with pytest.raises(ReadError, match="it is gone"):
        file_of(source)
    with pytest.raises(ReadError, match="torn"):
        file_of(source, "y")
    deep = MemorySource({"x": np.zeros((1,) * 32)})
    assert np.load(io.BytesIO(file_of(deep)[0])).ndim == 32
    info = msgspec.structs.replace(deep.find("x"), shape=(1,) * 33)
    with pytest.raises(WriteError, match="at most 32 dimensions, and this has 33"):
        npy_of(deep, info, parse_window("", info.shape))
    unknown = msgspec.structs.replace(info, dtype=dtypes.unknown("Q4_K"))
    with pytest.raises(ReadError, match="Q4_K"):
        npy_of(deep, unknown, parse_window("", info.shape))
