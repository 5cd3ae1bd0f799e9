"""Archives of torch.package against torch's own importer, and damaged ones."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch.package import PackageExporter, PackageImporter

from tests.factories_archives import equal
from tests.factories_damage import Part, read_parts, write_parts
from tui_params.api.opening import open_source
from tui_params.errors import OpenError, ReadError
from tui_params.sources.torch_save.zip import open_torch

NET = """
from torch import nn, arange
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(5, 3)
        self.register_buffer("count", arange(4))
    def forward(self, x):
        return self.l1(x)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a module whose class is in it, its state, and other files."""
    (tmp_path / "packed_module.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    import packed_module  # type: ignore[import-not-found]

    torch.manual_seed(0)
    net = packed_module.Net()
    path = tmp_path / "package.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with PackageExporter(path) as exporter:
            exporter.intern("packed_module")
            exporter.extern("torch.**")
            exporter.save_pickle("resnet", "model.pkl", net)
            state = {"w": net.l1.weight, "rows": net.l1.weight[1:], "f8": torch.ones(3).to(torch.float8_e4m3fn), "n": 3}
            exporter.save_pickle("resnet.more", "state.pkl", state)
            exporter.save_text("resnet", "notes.txt", "hello")
            exporter.save_binary("resnet", "raw.bin", b"123")
    yield path
    del sys.modules["packed_module"]


def test_values_are_those_that_torch_loads(package: Path) -> None:
    importer = PackageImporter(package)
    expected = {
        f"resnet.model.{name}": t for name, t in importer.load_pickle("resnet", "model.pkl").state_dict().items()
    }
    loaded = importer.load_pickle("resnet.more", "state.pkl")
    expected |= {f"resnet.more.state.{name}": loaded[name] for name in ("w", "rows", "f8")}
    with open_source(package) as source:
        assert source.listing.format == "torch.package with 1 Python file, not run"
        assert set(source.names()) == set(expected)
        for name, tensor in expected.items():
            assert equal(source.read(name), tensor), name
        # One weight in two objects is one storage.
        assert source.find("resnet.more.state.w").tied_to == "resnet.model.l1.weight"
        assert source.find("resnet.model.l1.weight").kind == "parameter"
        assert source.find("resnet.model.count").kind == "buffer"
        assert source.listing.metadata["resnet.more.state.n"] == "3"
        assert [finding.rule for finding in source.listing.findings] == ["pickle-classes"]


def test_scripted_modules_lie_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.package.package_exporter._gate_torchscript_serialization", False)
    path = tmp_path / "x.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = torch.jit.script(torch.nn.Linear(3, 2))
        with PackageExporter(path) as exporter:
            exporter.extern("torch.**")
            exporter.save_pickle("a", "b.pkl", {"layer": layer, "w": torch.ones(2)})
    with open_torch(path) as source:
        assert set(source.names()) == {"a.b.w", "ts_code.0.weight", "ts_code.0.bias"}
        assert equal(source.read("ts_code.0.weight"), layer.weight)
        assert [finding.rule for finding in source.listing.findings if finding.severity != "info"] == []


def test_calls_by_persistent_ids_are_told_and_not_made(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = read_parts(package.read_bytes())
    code = b"\x80\x02(X\x0e\0\0\0reduce_packageK\1cbuiltins\nprint\nX\2\0\0\0hi\x85tQ."
    name = parts[0].name.partition(b"/")[0] + b"/resnet/model.pkl"
    others = [part for part in parts if part.name != name]
    package.write_bytes(write_parts([*others, Part(name, code)]))
    with open_torch(package) as source:
        (finding,) = [found for found in source.listing.findings if found.rule == "pickle-code"]
        assert "builtins.print('hi')" in finding.evidence
    assert capsys.readouterr().out == ""


def _read_all(path: Path) -> None:
    """Open a file and read all that can be read: no error but ours."""
    with suppress(OpenError):
        source = open_torch(path)
        for info in source.listing.tensors:
            with suppress(ReadError):
                source.read(info.name)


def test_any_truncation_is_told(package: Path, tmp_path: Path) -> None:
    data = package.read_bytes()
    path = tmp_path / "cut.pt"
    for size in range(4, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(OpenError):
            open_torch(path)


def test_a_byte_that_is_changed_anywhere(package: Path, tmp_path: Path) -> None:
    data = package.read_bytes()
    path = tmp_path / "changed.pt"
    for place in range(0, len(data), 13):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        _read_all(path)


def test_a_storage_that_is_not_there(package: Path) -> None:
    parts = [part for part in read_parts(package.read_bytes()) if not part.name.endswith(b"/1.storage")]
    package.write_bytes(write_parts(parts))
    with open_torch(package) as source:
        lost = [info for info in source.listing.tensors if info.unreadable is not None]
        assert len(lost) == 3
        assert all("is not in the file" in (info.unreadable or "") for info in lost)


def test_a_pickle_that_is_cut_off_leaves_the_others(package: Path) -> None:
    parts = [
        Part(part.name, part.data[:-40]) if part.name.endswith(b"/model.pkl") else part
        for part in read_parts(package.read_bytes())
    ]
    package.write_bytes(write_parts(parts))
    with open_torch(package) as source:
        assert source.find("resnet.model").unreadable is not None
        assert source.find("resnet.more.state.w").unreadable is None
        assert "malformed-tensor" in [finding.rule for finding in source.listing.findings]
