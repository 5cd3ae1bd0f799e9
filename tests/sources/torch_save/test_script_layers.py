"""Layers of TorchScript that keep their weights elsewhere: packed, or folded into constants."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tui_params.api.comparing import compare
from tui_params.api.opening import open_source
from tui_params.core.health.checker import check
from tui_params.core.source import Source
from tui_params.sources.detect import open_path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch.ao.nn.quantized as quantised

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif("none" in torch.backends.quantized.engine, reason="this torch has no quantised layers"),
]


def saved(path: Path, module: Any) -> Source:
    torch.jit.save(torch.jit.script(module), path)
    return open_path(path)


def shapes(source: Source) -> dict[str, tuple[int, ...]]:
    return {info.name: info.shape for info in source.listing.tensors}


def test_a_packed_linear_has_the_names_of_its_state_dict(tmp_path: Path) -> None:
    layer = quantised.Linear(4, 5)
    source = saved(tmp_path / "x.pt", torch.nn.Sequential(layer, quantised.Linear(5, 2, bias_=False)))
    assert shapes(source) == {
        "0._packed_params._packed_params.0": (5, 4),
        "0._packed_params._packed_params.1": (5,),
        "1._packed_params._packed_params.0": (2, 5),
    }
    assert source.listing.findings == ()
    weight, bias = torch.ops.quantized.linear_unpack(layer._packed_params._packed_params)
    np.testing.assert_array_equal(source.read("0._packed_params._packed_params.0"), weight.int_repr().numpy())
    np.testing.assert_array_equal(source.read("0._packed_params._packed_params.1"), bias.detach().numpy())
    torch.save({"0": layer.state_dict()}, tmp_path / "state.pt")
    with open_path(tmp_path / "state.pt") as state:
        assert {name for name in shapes(state) if "packed" in name} == {
            name for name in shapes(source) if name.startswith("0.")
        }


def test_a_packed_embedding_and_a_quantised_convolution(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.pt", quantised.EmbeddingBag(10, 8))
    assert shapes(source)["_packed_params._packed_weight"] == (10, 8)
    layer = quantised.Conv2d(3, 4, 3)
    source = saved(tmp_path / "y.pt", torch.nn.Sequential(layer))
    assert shapes(source) == {"0.weight": (4, 3, 3, 3), "0.bias": (4,)}
    assert source.listing.metadata["0.kernel_size"] == "(3, 3)"
    np.testing.assert_array_equal(source.read("0.weight"), layer.weight().int_repr().numpy())


def test_weights_that_were_folded_into_constants_are_listed_and_read(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()
    torch.jit.save(torch.jit.freeze(torch.jit.script(model)), tmp_path / "x.pt")
    with open_path(tmp_path / "x.pt") as source:
        assert all(info.name.startswith("constants.") for info in source.listing.tensors)
        found = {source.read(info.name).tobytes() for info in source.listing.tensors}
        assert found == {tensor.numpy().tobytes() for tensor in model.state_dict().values()}
        assert check(source).checked == 4


def test_constants_that_were_not_saved_are_named(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4, 3)).eval()
    frozen = torch.jit.freeze(torch.jit.script(model))
    optimized = torch.jit.optimize_for_inference(frozen)
    torch.jit.save(optimized, tmp_path / "x.pt")
    with open_source(optimized) as live:
        in_memory = {info.name: info.unreadable is None for info in live.listing.tensors}
        assert (check(live).status, live.changed()) == ("ok" if all(in_memory.values()) else "unchecked", None)
    with open_path(tmp_path / "x.pt") as source:
        report = check(source)
        lost = [info for info in source.listing.tensors if info.unreadable is not None]
        assert in_memory == {info.name: info.unreadable is None for info in source.listing.tensors}
    assert (report.checked, len(lost)) in ((2, 2), (4, 0))  # without oneDNN nothing is changed
    if lost:
        assert report.status == "unchecked"
        assert all(info.name.startswith("constants.self_0_") for info in lost)
        assert "its values are not in the file" in report.unchecked[0].reason


def test_the_constants_of_a_frozen_module_in_memory(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)).eval()
    frozen = torch.jit.freeze(torch.jit.script(model))
    torch.jit.save(frozen, tmp_path / "x.pt")
    with open_source(frozen) as live, open_path(tmp_path / "x.pt") as file:
        assert shapes(live) == shapes(file)
        assert live.changed() is None
        assert compare(live, file).state == "same"
        assert check(live).checked == 4
    with open_source({"model": frozen}) as source:
        np.testing.assert_array_equal(source.read("model.constants.0"), model[0].weight.detach().numpy())
    with open_source(torch.jit.script(model)) as source:
        assert set(shapes(source)) == set(model.state_dict())
