"""Wrappers of torch.distributed, each in a group of one process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.live.attached.conftest import runtime
from tui_params.core.edits import Edit
from tui_params.core.source import Source
from tui_params.errors import EditError
from tui_params.live.attached.source import AttachedSource
from tui_params.live.editor import LiveEditor
from tui_params.live.inside.roots import find_roots
from tui_params.live.inside.server import Server
from tui_params.live.source import ModelSource

__all__ = ["runtime"]

distributed = pytest.importorskip("torch.distributed")
pytestmark = [
    pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def trained(model: nn.Module, optimizer: Any) -> Source:
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    return ModelSource(model, optimizer=optimizer)


def layers() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 2)))


@pytest.mark.parametrize("keeps_parameters", [False, True])
def test_the_views_of_fsdp1_are_its_own_affair(keeps_parameters: bool) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    model = FullyShardedDataParallel(layers(), use_orig_params=keeps_parameters, device_id=torch.device("cpu"))
    assert ModelSource(model).listing.findings == ()
    source = trained(model, torch.optim.Adam(model.parameters()))
    assert source.listing.findings == ()
    inner: Any = model.module[0]
    inner.cache = torch.ones(2)
    (finding,) = ModelSource(model).listing.findings
    assert finding.evidence.startswith("1 attribute holds")
    assert finding.evidence.endswith("0.cache")


def test_the_parameters_of_fsdp2_are_trainable() -> None:
    from torch.distributed.device_mesh import init_device_mesh

    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("this torch has no FSDP2")
    model = layers()
    model[0].bias.requires_grad_(False)
    fsdp.fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    source = trained(model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad]))
    flags = {info.name: info.requires_grad for info in source.listing.tensors if info.kind == "parameter"}
    assert flags == {"0.weight": True, "0.bias": False, "1.0.weight": True, "1.0.bias": True}
    assert source.find("optimizer.0.weight.exp_avg").requires_grad is None
    assert source.listing.findings == ()


class Telling(nn.Module):  # type: ignore[misc]
    """A model that calls something in the middle of its forward."""

    def __init__(self, tell: Any) -> None:
        super().__init__()
        self.first, self.block = nn.Linear(4, 3), layers()
        self.last = nn.Linear(2, 2, bias=False)
        self.again = self.last
        self.tell = tell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.last(self.block(torch.nn.functional.pad(self.first(x), (0, 1))))
        self.tell(self)
        return x


def test_the_parameters_of_fsdp2_are_the_pieces_also_while_whole_tensors_stand_in_their_places(runtime: Path) -> None:
    from torch.distributed.device_mesh import init_device_mesh

    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("fully_shard is in torch.distributed.fsdp since 2.6")
    seen: list[Any] = []

    def look(model: nn.Module) -> None:
        assert not hasattr(model.first.weight, "placements")  # whole
        server = Server(model, optimizer)
        server.start()
        with AttachedSource(Path(server.path)) as source:
            values = {info.name: source.read(info.name).tolist() for info in source.listing.tensors}
            seen[:] = [values, source.listing, list(source.listing.gradients)]
        server.stop()
        with ThreadPoolExecutor(1) as pool:
            roots = pool.submit(find_roots).result()
        assert [root.optimizers for root in roots if root.model is model] == [(optimizer,)]

    model = Telling(look)
    mesh = init_device_mesh("cpu", (1,))
    fsdp.fully_shard(model.block, mesh=mesh)
    fsdp.fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.ones(1, 4)).sum().backward()
        expected = {name: each.to_local().tolist() for name, each in model.named_parameters()}
        optimizer.step()
    values, listing, gradients = seen
    assert listing.findings == ()
    assert set(gradients) == {*expected, "again.weight"}
    assert {name: values[name] for name in expected} == expected
    by_name = {info.name: info for info in listing.tensors}
    for name in expected:
        assert any("DTensor" in note for note in by_name[name].notes), name
        assert f"optimizer.{name}.exp_avg" in values
    assert by_name["again.weight"].tied_to == "last.weight"


def test_zero_redundancy_shows_the_states_of_this_rank() -> None:
    optim = pytest.importorskip("torch.distributed.optim")
    if not hasattr(optim, "ZeroRedundancyOptimizer"):
        pytest.skip("this torch has no ZeroRedundancyOptimizer")
    model = nn.parallel.DistributedDataParallel(layers())
    optimizer = optim.ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=1e-3)
    source = trained(model, optimizer)
    states = {info.name for info in source.listing.tensors if info.name.endswith(".exp_avg")}
    names = ("0.weight", "0.bias", "1.0.weight", "1.0.bias")
    assert states == {f"optimizer.module.{name}.exp_avg" for name in names}
    average = optimizer.optim.state[model.module[0].bias]["exp_avg"]
    assert source.read("optimizer.module.0.bias.exp_avg").tolist() == average.tolist()
    assert source.listing.findings == ()


def test_pieces_of_sharded_parameters_are_not_edited_and_those_of_data_parallel_are() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel

    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("this torch has no FSDP2")
    sharded = layers()
    fsdp.fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(EditError, match=r"0\.weight cannot be edited: it is this rank's piece of a DTensor"):
        editor_of(ModelSource(sharded)).propose(Edit("0.weight", "", "zero"))
    flat = ModelSource(FullyShardedDataParallel(layers(), device_id=torch.device("cpu")))
    name = next(info.name for info in flat.listing.tensors if "flat" in info.name)
    with pytest.raises(EditError, match="this rank's piece of sharded parameters"):
        editor_of(flat).propose(Edit(name, "", "zero"))
    parallel = nn.parallel.DistributedDataParallel(layers())
    editor = editor_of(ModelSource(parallel))
    editor.apply((editor.propose(Edit("module.0.bias", "", "zero")),))
    assert not parallel.module[0].bias.any()


def test_other_ranks_are_said_to_keep_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "get_world_size", lambda: 4)
    proposal = editor_of(ModelSource(layers())).propose(Edit("0.bias", "", "zero"))
    assert proposal.remarks == ("Only in this process: the other 3 ranks keep their values.",)


def editor_of(source: ModelSource) -> LiveEditor:
    editor = LiveEditor()
    editor.attach(source)
    return editor
