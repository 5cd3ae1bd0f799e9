"""Tensors in memory as a safetensors file, read back by the library of the format and by ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tui_params.api.opening import open_source
from tui_params.core.dtypes import from_torch
from tui_params.core.export.new_file import write_file
from tui_params.core.export.safetensors import safetensors_of
from tui_params.core.tensor import describe
from tui_params.errors import WriteError


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    tensors = {
        'a "name"\n.grad': torch.tensor([[1.0, float("nan"), -0.0], [float("inf"), 1e-45, 3.0]]),
        "bf16": torch.randn(3).bfloat16(),
        "f8": torch.randn(5).to(torch.float8_e4m3fn),
        "number": torch.tensor(2, dtype=torch.int64),
        "empty": torch.zeros(0, 3),
        "c64": torch.randn(2, dtype=torch.complex64),
    }
    given = []
    for name, tensor in tensors.items():
        dtype = from_torch(str(tensor.dtype))
        assert dtype is not None
        raw: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        given.append((describe(name, tuple(tensor.shape), dtype), np.ascontiguousarray(raw)))
    path = tmp_path / "new.safetensors"
    nbytes, _ = write_file(str(path), lambda: safetensors_of(given, {"step": "4"}))
    assert path.stat().st_size == nbytes
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"step": "4"}
        for name, tensor in tensors.items():
            found = file.get_tensor(name)
            assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(found.reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))
    with open_source(path) as source:
        assert {info.name for info in source.listing.tensors} == set(tensors)
        assert not source.listing.findings


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [("w", "complex128", "no element type complex128"), ("__metadata__", "float32", "keeps the name __metadata__")],
)
def test_what_the_format_has_not_is_said(name: str, kind: str, sentence: str) -> None:
    dtype = from_torch(kind)
    assert dtype is not None
    info = describe(name, (1,), dtype)
    with pytest.raises(WriteError, match=sentence):
        safetensors_of([(info, np.zeros(info.nbytes, np.uint8))])
