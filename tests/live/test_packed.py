"""Weights that are neither parameters nor buffers: the packed weights of quantised layers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tui_params
from tui_params.errors import ReadError, SourceChangedError
from tui_params.live.inside import packed
from tui_params.live.source import ModelSource

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(torch.backends.quantized.engine == "none", reason="torch was built without quantised kernels"),
]

LINEAR = "_packed_params._packed_params"


def quantised(model: nn.Module, kinds: set[Any], dtype: torch.dtype = torch.qint8) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, kinds, dtype)


def linears(dtype: torch.dtype = torch.qint8) -> nn.Module:
    torch.manual_seed(0)
    return quantised(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3, bias=False)), {nn.Linear}, dtype)


def test_a_dynamically_quantised_linear_is_listed_and_read() -> None:
    model = linears()
    source = ModelSource(model)
    names = [info.name for info in source.listing.tensors]
    assert names == [f"0.{LINEAR}.0", f"0.{LINEAR}.1", f"2.{LINEAR}.0"]
    weight, bias = source.find(names[0]), source.find(names[1])
    assert (weight.shape, weight.dtype.name, weight.kind, weight.requires_grad) == ((4, 6), "qint8", "tensor", None)
    assert bias.requires_grad is None
    assert weight.notes[0] == "unpacked from quantized.LinearPackedParamsBase"
    assert weight.notes[1].startswith("quantised: scale ")
    np.testing.assert_array_equal(source.read(names[0]), model[0].weight().int_repr().numpy())
    np.testing.assert_array_equal(source.read(names[1]), model[0].bias().detach().numpy())
    np.testing.assert_array_equal(source.read(names[0], "[1, ::2]"), model[0].weight().int_repr().numpy()[1, ::2])
    assert source.changed() is None
    report = tui_params.check(model)
    assert (report.status, report.checked, report.unchecked) == ("ok", 3, ())


def test_a_weight_in_half_precision_is_read_and_a_fault_in_it_is_found() -> None:
    model = linears(torch.float16)
    assert tui_params.check(model).status == "ok"
    # A NaN in the weight is lost when torch packs it: it becomes -65504, the lowest value of the type.
    bias = torch.ones(4)
    bias[1] = float("nan")
    model[0].set_weight_bias(torch.ones(4, 6), bias)
    (finding,) = [found for found in tui_params.check(model).findings if found.severity == "error"]
    assert (finding.tensor, finding.indices) == (f"0.{LINEAR}.1", ((1,),))


def test_the_names_are_those_of_the_state_dict_and_of_its_file(tmp_path: Path) -> None:
    import torch.ao.nn.quantized as layers

    model = nn.Sequential(linears()[0], layers.Conv2d(2, 3, 1))
    torch.save(model.state_dict(), tmp_path / "q.pt")
    report = tui_params.compare(model, tmp_path / "q.pt")
    assert report.only_in_a == ()
    assert {name.rpartition(".")[2] for name in report.only_in_b} == {"scale", "zero_point"}
    assert (len(report.identical), report.changed, report.uncompared) == (4, (), ())


def test_an_embedding_is_read_row_by_row() -> None:
    import torch.ao.nn.quantized as layers

    model = layers.Embedding(4, 8)
    source = ModelSource(model)
    info = source.find("_packed_params._packed_weight")
    assert info.notes[1] == "quantised: 4 scales and zero points along axis 0"
    np.testing.assert_array_equal(source.read(info.name), model.weight().int_repr().numpy())


def test_a_recurrent_layer_is_listed_by_all_of_its_packed_weights() -> None:
    model = quantised(nn.Sequential(nn.LSTM(3, 5)), {nn.LSTM})
    source = ModelSource(model)
    prefix = "0._all_weight_values.0.param"
    assert [info.name for info in source.listing.tensors] == [
        f"{prefix}.{rest}" for rest in ("1.0", "1.1", "4.0.0", "4.0.1", "4.1.0", "4.1.1")
    ]
    expected = model[0].get_weight()["weight_ih_l0"].int_repr().numpy()
    np.testing.assert_array_equal(source.read(f"{prefix}.4.0.0"), expected)
    assert tui_params.check(model).status == "ok"


def test_a_scripted_model_is_unpacked_too() -> None:
    model = linears()
    scripted = torch.jit.script(model)
    source = ModelSource(scripted)
    assert [info.name for info in source.listing.tensors] == [f"0.{LINEAR}.0", f"0.{LINEAR}.1", f"2.{LINEAR}.0"]
    np.testing.assert_array_equal(source.read(f"2.{LINEAR}.0"), model[2].weight().int_repr().numpy())
    assert source.changed() is None


def test_a_large_weight_is_unpacked_once_for_all_of_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from tui_params.live import source as live_source

    model = linears()
    source = ModelSource(model)
    calls: list[str] = []
    unpack = packed._UNPACKERS["quantized.LinearPackedParamsBase"]

    def counted(value: Any) -> Any:
        calls.append("unpacked")
        return unpack(value)

    monkeypatch.setitem(packed._UNPACKERS, "quantized.LinearPackedParamsBase", counted)
    monkeypatch.setattr(live_source, "BLOCK_NBYTES", 4)
    blocks = list(source.blocks(source.find(f"0.{LINEAR}.0")))
    assert (len(blocks), len(calls)) == (3, 1)
    assert source.changed() is None
    assert len(calls) == 1, "asking whether it changed unpacks nothing"
    source.close()
    with pytest.raises(ReadError, match="closed"):
        source.read(f"0.{LINEAR}.0")


def test_a_replaced_object_is_said_to_be_changed() -> None:
    model = linears()
    source = ModelSource(model)
    model[0].set_weight_bias(model[0].weight(), model[0].bias())
    assert "replaced" in str(source.changed())
    with pytest.raises(SourceChangedError, match="the object that holds it was replaced"):
        source.read(f"0.{LINEAR}.0")


def test_a_shared_module_is_tied_and_not_counted_twice() -> None:
    layer = linears()[0]
    source = ModelSource(nn.Sequential(layer, layer))
    assert source.find(f"1.{LINEAR}.0").tied_to == f"0.{LINEAR}.0"


@pytest.mark.parametrize("kind", ["quantized.LinearPackedParamsBase", "rnn.CellParamsBase"])
def test_what_cannot_be_unpacked_is_named_and_leaves_the_check_open(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A C++ class of a user's own needs a compiler: here one of torch's is not known.
    monkeypatch.delitem(packed._UNPACKERS, kind)
    model = quantised(nn.Sequential(nn.Linear(6, 4), nn.LSTM(4, 2), nn.LayerNorm(2)), {nn.Linear, nn.LSTM})
    report = tui_params.check(model)
    assert report.status == "unchecked"
    assert report.unchecked
    assert {entry.reason for entry in report.unchecked} == {
        f"its values are inside an object of the C++ class {kind}, which is not unpacked here"
    }
    assert report.checked > 0


def test_an_unpacker_that_fails_is_a_reason_and_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(value: Any) -> Any:
        raise RuntimeError("no engine")

    monkeypatch.setitem(packed._UNPACKERS, "quantized.LinearPackedParamsBase", fails)
    source = ModelSource(linears())
    assert "RuntimeError: no engine" in str(source.find(f"0.{LINEAR}").unreadable)
