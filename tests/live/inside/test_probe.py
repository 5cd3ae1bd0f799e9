"""The probe by itself: plain data out, and bytes."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from tests.factories_models import TiedModel
from tui_params.live.inside.anatomy import body_of
from tui_params.live.inside.description import Description, ProbeError
from tui_params.live.inside.model import MappingProbe, ModelProbe


def test_an_enumeration_is_plain_data() -> None:
    model = TiedModel(layers=1)
    model(torch.arange(3)).sum().backward()
    report = ModelProbe(model).enumerate()
    again = json.loads(json.dumps(report._asdict()))
    assert [Description(*fields).name for fields in again["tensors"]] == [found.name for found in report.tensors]
    assert len(again["gradients"]) == len(report.gradients) > 0
    for found in report.tensors:
        for value in found:
            assert type(value) in (int, str, bool, tuple, type(None))


def find(found: tuple[Description, ...], name: str) -> Description:
    return next(description for description in found if description.name == name)


def test_a_range_and_a_window_are_bytes() -> None:
    tensor = torch.arange(24, dtype=torch.uint8).reshape(4, 6)
    probe = MappingProbe({"x": tensor, "t": tensor.t()})
    records = probe.enumerate().tensors
    plain, turned = find(records, "x"), find(records, "t")
    assert bytes(probe.read(plain.handle, 8, 11)) == bytes([8, 9, 10])
    assert bytes(probe.read(plain.handle, 5, 5)) == b""
    assert turned.stride == (1, 6)
    assert bytes(probe.read(turned.handle, 0, 3)) == bytes([0, 1, 2])
    assert probe.read_window(plain.handle, [(1, 2, 2), (0, 5, 2)]) == bytes([6, 11, 18, 23])
    assert probe.read_window(turned.handle, [(5, 1, 1), (0, 1, 4)]) == bytes([5, 11, 17, 23])
    assert probe.read_window(plain.handle, [(0, 1, 0), (0, 1, 6)]) == b""


def test_a_view_of_the_memory_outlives_the_tensor() -> None:
    held = {"x": torch.full((1000,), 7, dtype=torch.uint8)}
    probe = MappingProbe(held)
    (record,) = probe.enumerate().tensors
    view = probe.read(record.handle, 0, 1000)
    held.clear()
    probe.close()
    torch.zeros(1000, dtype=torch.uint8)
    assert bytes(view) == bytes([7]) * 1000
    assert view.readonly


def test_identity_is_of_elements_and_not_of_storage() -> None:
    tensor = torch.zeros(4, 4)
    empty = torch.zeros(0)
    held = {"a": tensor, "b": tensor.view(4, 4), "c": tensor[:2], "d": tensor.t(), "e": tensor.view(torch.int32),
            "f": tensor.clone(), "g": empty, "h": torch.zeros(0), "i": empty}  # fmt: skip
    records = MappingProbe(held).enumerate().tensors
    same = {(a.name, b.name) for a in records for b in records if a.name < b.name and a.identity == b.identity}
    assert same == {("a", "b"), ("g", "i")}


def test_a_replaced_tensor_is_said_to_be_changed() -> None:
    held = {"x": torch.zeros(3), "y": torch.zeros(3)}
    probe = MappingProbe(held)
    records = probe.enumerate().tensors
    held["x"] = torch.zeros(3, dtype=torch.float64)
    del held["y"]
    with pytest.raises(ProbeError, match="x was replaced") as replaced:
        probe.read(records[0].handle, 0, 3)
    assert replaced.value.is_changed
    with pytest.raises(ProbeError, match="y is no longer there") as gone:
        probe.read_window(records[1].handle, [(0, 1, 1)])
    assert gone.value.is_changed


def test_a_window_outside_the_tensor_is_an_error_or_empty_and_never_foreign_memory() -> None:
    probe = MappingProbe({"x": torch.zeros(4)})
    (record,) = probe.enumerate().tensors
    assert len(probe.read(record.handle, 2, 400)) == 8
    assert probe.read_window(record.handle, [(9, 1, 3)]) == b""
    with pytest.raises(ProbeError, match="x could not be read: IndexError"):
        probe.read_window(record.handle, [(0, 1, 1), (0, 1, 1)])


def test_the_order_is_that_of_the_definition() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    report = ModelProbe(model).enumerate()
    assert [record.name for record in report.tensors] == [
        "0.weight", "0.bias", "0.running_mean", "0.running_var", "0.num_batches_tracked", "1.weight", "1.bias",
    ]  # fmt: skip
    assert list(report.modules) == ["", "0", "1"]


def odd_tensors() -> dict[str, torch.Tensor]:
    """Tensors of every layout and kind, and some of which not all is said."""
    base = torch.arange(24.0).reshape(4, 6)
    freed = torch.ones(8)
    freed.untyped_storage().resize_(4)
    marked = torch.ones(2)
    marked.ds_shape = (4, 4)
    with torch.inference_mode():
        inferred = torch.ones(3)
    found = {
        "plain": base, "turned": base.t(), "slice": base[1:3, ::2], "flipped": base.expand(3, 4, 6),
        "scalar": torch.tensor(3), "empty": torch.zeros(0, 5), "empty_slice": base[:0, ::2],
        "parameter": nn.Parameter(torch.ones(2, 3)), "frozen": nn.Parameter(torch.ones(2), requires_grad=False),
        "conjugate": torch.ones(2, 2, dtype=torch.complex64).conj(),
        "negated": torch.ones(2, dtype=torch.complex64).conj().imag, "meta": torch.empty(3, device="meta"),
        "freed": freed, "sparse": torch.eye(3).to_sparse(), "rows": torch.eye(3).to_sparse_csr(), "marked": marked,
        "inferred": inferred, "quantised": torch.quantize_per_tensor(base, 0.1, 3, torch.qint8),
        "lazy": nn.LazyLinear(3).weight, "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "bool": torch.ones(2, dtype=torch.bool), "float8": torch.ones(2).to(torch.float8_e4m3fn),
        "packed": torch.zeros(2, 4, dtype=torch.float4_e2m1fn_x2), "grown": torch.ones(100)[:3],
        "twice": torch.as_strided(torch.ones(5), (3, 3), (1, 1)),
    }  # fmt: skip
    found["again"] = found["plain"]
    found["plain"].add_(1)
    return found


def test_ordinary_tensors_are_described_at_once_as_others_are_one_question_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tensors = odd_tensors()
    quick = MappingProbe(tensors)
    at_once, marks = quick.enumerate(), quick._marks
    assert quick.changed() is None
    ordinary = {name for name, tensor in tensors.items() if body_of(tensor) is not None}
    assert {"plain", "turned", "slice", "empty", "scalar", "parameter", "conjugate", "twice", "inferred"} <= ordinary
    assert not {"meta", "freed", "sparse", "quantised", "lazy", "nested", "packed", "marked"} & ordinary
    monkeypatch.setattr("tui_params.live.inside.marks.body_of", lambda tensor: None)
    slow = MappingProbe(tensors)
    assert slow.enumerate() == at_once
    assert slow._marks == marks
