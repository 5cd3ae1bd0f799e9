"""Tensors of more dimensions than an array of numpy may have: listed with their shape, and not read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tui_params.api.comparing import compare
from tui_params.api.opening import open_source
from tui_params.core.health.checker import check
from tui_params.errors import ReadError

REASON = "it has 65 dimensions, and numpy, with which values are read here, allows 64"


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy", "live"])
def test_more_dimensions_than_numpy_has(tmp_path: Path, kind: str) -> None:
    state = {"most": torch.randn((2,) + (1,) * 63), "more": torch.randn((2, 3) + (1,) * 63), "x": torch.randn(2, 3)}
    path = tmp_path / "x"
    if kind == "safetensors":
        save_file(state, path)
    elif kind != "live":
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    with open_source(state if kind == "live" else str(path)) as source:
        found = {info.name: (info.shape, info.unreadable) for info in source.listing.tensors}
        assert found == {
            name: (tuple(tensor.shape), REASON * (name == "more") or None) for name, tensor in state.items()
        }
        assert source.listing.findings == ()
        assert source.read("most").shape == (2,) + (1,) * 63
        with pytest.raises(ReadError, match="it has 65 dimensions"):
            source.read("more")
        report = check(source)
        assert (report.status, report.checked) == ("unchecked", 2)
        assert [(each.tensor, each.reason) for each in report.unchecked] == [("more", REASON)]
        assert compare(source, source).state == "uncompared"
