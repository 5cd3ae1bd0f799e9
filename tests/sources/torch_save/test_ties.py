"""Which tensors of a file are the same elements: one storage, place and layout, and the same meaning of its bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tui_params.api.comparing import compare
from tui_params.core.health.checker import check
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.sweep import scan_all
from tui_params.core.source import Source
from tui_params.sources.detect import open_path
from tui_params.sources.inert_pickle.values import ArrayType, ArrayValue
from tui_params.sources.torch_save.arrays import add_array
from tui_params.sources.torch_save.layout import Place, TensorLister


def swept(source: Source) -> dict[str, Outcome]:
    found: list[Outcome] = []
    scan_all(source, [info.name for info in source.listing.tensors], found.append)
    return {outcome.name: outcome for outcome in found}


def state() -> dict[str, torch.Tensor]:
    plain = torch.arange(1, 13, dtype=torch.float32).reshape(3, 4)
    values = torch.complex(plain, plain + 20)
    return {
        "plain": plain,
        "same": plain,
        "negative": torch._neg_view(plain),
        "negative too": torch._neg_view(plain),
        "values": values,
        "conjugated": values.conj(),
        "both": torch._neg_view(values.conj()),
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_what_is_negated_or_conjugated_when_read_is_tied_to_its_like_only(tmp_path: Path, legacy: bool) -> None:
    tensors = state()
    torch.save(tensors, tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
    with open_path(tmp_path / "x.pt") as source:
        ties = {info.name: info.tied_to for info in source.listing.tensors if info.tied_to}
        assert ties == {"same": "plain", "negative too": "negative"}
        for name, outcome in swept(source).items():
            expected = tensors[name].resolve_conj().resolve_neg().numpy()
            parts = expected.view(np.float32) if expected.dtype.kind == "c" else expected
            assert outcome.figures is not None
            assert (outcome.figures.min, outcome.figures.max) == (parts.min(), parts.max())
            np.testing.assert_array_equal(source.read(name), expected)
        assert check(source).checked == len(tensors)


def test_their_comparison_is_of_the_values(tmp_path: Path) -> None:
    tensors = state()
    torch.save(tensors, tmp_path / "a.pt")
    torch.save(
        {name: tensor.resolve_conj().resolve_neg().clone() for name, tensor in tensors.items()}, tmp_path / "b.pt"
    )
    found = compare(str(tmp_path / "a.pt"), str(tmp_path / "b.pt"))
    assert (len(found.identical), found.changed, found.uncompared) == (len(tensors), (), ())
    torch.save({**tensors, "negative": tensors["plain"]}, tmp_path / "b.pt")
    found = compare(str(tmp_path / "a.pt"), str(tmp_path / "b.pt"))
    assert [change.name for change in found.changed] == ["negative"]


def test_bytes_in_another_order_are_other_values() -> None:
    def array(order: str, data: Any) -> ArrayValue:
        value = ArrayValue(ArrayType("f4"), (100,), data)
        value.dtype.state = (3, order, None, None, None, -1, -1, 0)
        return value

    lister = TensorLister("x.pkl", lambda key: Place(None, 0))
    data = np.arange(100, dtype="<f4").tobytes()
    for name, order in (("a", "<"), ("b", ">"), ("c", "<"), ("d", ">")):
        add_array(lister, name, array(order, data))
    assert {info.name: info.tied_to for info in lister.tensors} == {"a": None, "b": None, "c": "a", "d": "b"}
