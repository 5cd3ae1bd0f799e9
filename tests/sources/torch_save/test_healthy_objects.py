"""Files that torch itself writes and loads, of objects that are no tensors: nothing in them is called damaged."""

from __future__ import annotations

import io
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tui_params import check, compare


class Hooked(torch.nn.Module):  # type: ignore[misc]
    """A module with a hook that is a method of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.layer.register_forward_hook(self.hook)

    def hook(self, module: Any, inputs: Any, output: Any) -> None:
        """Nothing."""


def jagged() -> Any:
    parts = [torch.arange(3.0), torch.arange(2.0)]
    return {"j": torch.nested.nested_tensor(parts, layout=torch.jagged), "w": torch.arange(4.0)}


MADE: dict[str, Callable[[], Any]] = {
    "hooked": Hooked,
    "spectral norm": lambda: torch.nn.utils.spectral_norm(torch.nn.Linear(3, 4)),
    "lazy": lambda: torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LazyLinear(3)),
    "jagged": jagged,
    "plain": lambda: {"w": torch.arange(3.0), "z": complex(1, 2), "b": bytearray(4)},
    "getters": lambda: {"w": torch.arange(3.0), "key": operator.itemgetter(1), "get": operator.attrgetter("a.b")},
}


@pytest.mark.parametrize("name", MADE)
def test_what_torch_writes_of_objects_is_neither_damaged_nor_code(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.pt"
    torch.manual_seed(0)
    torch.save(MADE[name](), path)
    torch.load(path, weights_only=False)
    found = check(path)
    assert [finding for finding in found.findings if finding.severity == "error"] == []
    assert compare(path, path).state != "different"
    assert compare(path, path).doubt is None


def test_a_call_of_a_bound_method_is_still_code(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    # getattr(M.__new__(M), "run")() as a pickle of protocol 2 has it; M is no module that exists.
    path.write_bytes(b"\x80\x02cbuiltins\ngetattr\ncnowhere\nM\n)\x81X\x03\x00\x00\x00run\x86R)R.")
    assert "pickle-code" in [finding.rule for finding in check(path).findings]


def test_a_buffer_of_bytes_is_not_looked_at_and_not_the_same(tmp_path: Path) -> None:
    for name, scale in (("a.pt", 1.0), ("b.pt", float("nan"))):
        buffer = io.BytesIO()
        torch.save({"scale": torch.full((3,), scale)}, buffer)
        torch.save({"w": torch.arange(3.0), "layer._extra_state": buffer}, tmp_path / name)
    report = check(tmp_path / "a.pt")
    assert [finding for finding in report.findings if finding.severity == "error"] == []
    assert report.status == "unchecked"
    assert [entry.tensor for entry in report.unchecked] == ["layer._extra_state"]
    assert compare(tmp_path / "a.pt", tmp_path / "b.pt").state == "uncompared"
