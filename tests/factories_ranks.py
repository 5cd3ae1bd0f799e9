"""Several processes that save one checkpoint, as a job does: ``python -m tests.factories_ranks FOLDER RANKS WAY...``.

Each way writes a folder of its name, and beside it ``WAY.whole.pt`` with the whole tensors, gathered by torch.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn

Way = Callable[[Path], dict[str, Any]]


class Block(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.Linear(width, width)
        self.mlp = nn.Linear(width, 5)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.attn(x)) + self.mlp(x).mean()


class Net(nn.Module):  # type: ignore[misc]
    """A model whose sizes are no multiples of the number of ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(7, 8)
        self.layers = nn.ModuleList([Block(8) for _ in range(2)])
        self.odd = nn.Linear(8, 3)
        self.one = nn.Parameter(torch.tensor([2.5]))
        self.register_buffer("count", torch.tensor(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.emb(x)
        for layer in self.layers:
            x = layer(x)
        return self.odd(x).sum() * self.one.sum()


def mesh(*sizes: int) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh("cpu", sizes, mesh_dim_names=("a", "b")[: len(sizes)])


def sharded(*sizes: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The model after a step, fully sharded (FSDP2) over a mesh of these sizes."""
    from torch.distributed.fsdp import fully_shard

    over = mesh(*sizes)
    torch.manual_seed(0)
    model = Net()
    for layer in model.layers:
        fully_shard(layer, mesh=over)
    fully_shard(model, mesh=over)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model(torch.tensor([[1, 2, 3], [4, 5, 6]])).backward()
    optimizer.step()
    return model, optimizer


def fsdp2(path: Path) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_state_dict

    model, optimizer = get_state_dict(*sharded(dist.get_world_size()))
    dcp.save({"model": model, "optim": optimizer, "step": 7, "pair": (torch.ones(2), 3)}, checkpoint_id=path)
    return {f"model.{name}": value for name, value in model.items()}


def hybrid(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = sharded(2, dist.get_world_size() // 2)[0].state_dict()
    dcp.save(value, checkpoint_id=path)
    return value


def placements(path: Path) -> dict[str, Any]:
    value = placed()
    dcp.save(value, checkpoint_id=path)
    return value


def placed() -> dict[str, Any]:
    """Tensors that are cut over the ranks in every way."""
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    ranks = dist.get_world_size()
    over, grid = mesh(ranks), mesh(2, ranks // 2)

    def ordinary(*shape: int) -> torch.Tensor:
        return torch.arange(1.0, torch.Size(shape).numel() + 1).reshape(shape)

    return {
        "rows": distribute_tensor(ordinary(5, 2), over, [Shard(0)]),
        "columns": distribute_tensor(ordinary(3, 7), over, [Shard(1)]),
        "few": distribute_tensor(ordinary(1, 2), over, [Shard(0)]),
        "copies": distribute_tensor(ordinary(4, 4), over, [Replicate()]),
        "bf16": distribute_tensor(ordinary(8, 2).bfloat16(), over, [Shard(0)]),
        "both": distribute_tensor(ordinary(6, 6), grid, [Shard(0), Shard(1)]),
        "twice": distribute_tensor(ordinary(7, 2), grid, [Shard(0), Shard(0)]),
        "transposed": distribute_tensor(ordinary(8, 6).t().contiguous().t(), over, [Shard(1)]),
        "plain": ordinary(3, 5).t(),
    }


def tensor_parallel(path: Path) -> dict[str, Any]:
    value = parallel()
    dcp.save(value, checkpoint_id=path)
    return value


def parallel() -> dict[str, Any]:
    """A model in tensor parallelism whose parts are fully sharded too: rows are cut twice, in strides."""
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    over = mesh(dist.get_world_size() // 2, 2)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 6))
    parallelize_module(model, over["b"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    fully_shard(model, mesh=over["a"])
    value: dict[str, Any] = model.state_dict()
    return value


def fsdp1(path: Path) -> dict[str, Any]:
    from torch.distributed.fsdp import FullyShardedDataParallel, StateDictType

    torch.manual_seed(0)
    model = FullyShardedDataParallel(Net(), use_orig_params=True, device_id=torch.device("cpu"))
    with FullyShardedDataParallel.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
        dcp.save(model.state_dict(), checkpoint_id=path)
    with FullyShardedDataParallel.state_dict_type(model, StateDictType.FULL_STATE_DICT):
        value: dict[str, Any] = model.state_dict()
    return value


def by_rank(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = sharded(dist.get_world_size())[0].state_dict()
    own = {**value, "rank": dist.get_rank()}
    dcp.save(own, storage_writer=dcp.FileSystemWriter(path), use_collectives=False)
    return value


def hugging_face(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = sharded(dist.get_world_size())[0].state_dict()
    numbers = {name: 1 + number % 2 for number, name in enumerate(value)}
    writer = dcp.HuggingFaceStorageWriter(path=str(path), save_distributed=True, fqn_to_index_mapping=numbers)
    dcp.save(value, storage_writer=writer)
    return value


def payload(path: Path) -> dict[str, Any]:
    from torch.distributed.checkpoint.filesystem import SerializationFormat

    value: dict[str, Any] = sharded(dist.get_world_size())[0].state_dict()
    form = SerializationFormat.SAFETENSORS
    dcp.save({**value, "step": 1}, storage_writer=dcp.FileSystemWriter(path, serialization_format=form))
    return value


def compressed(path: Path) -> dict[str, Any]:
    from torch.distributed.checkpoint._extension import ZStandard

    value: dict[str, Any] = sharded(dist.get_world_size())[0].state_dict()
    dcp.save({**value, "step": 1}, storage_writer=dcp.FileSystemWriter(path, _extensions=[ZStandard()]))
    return value


def in_background(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = sharded(dist.get_world_size())[0].state_dict()
    dcp.async_save(value, checkpoint_id=path).result()
    return value


def megatron(path: Path) -> dict[str, Any]:
    """The layout of Megatron-core's ``torch_dist``, without the library.

    Layers are stacked along a dimension of their own, which the ranks divide; each rank has two files and objects of
    its own; nobody says which key is of which object (``planner_data``); ``common.pt`` has what is not cut.
    """
    from tests.factories_dcp import Cut, edit_metadata

    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    whole = torch.randn(2 * ranks, 4, 3)
    own = {
        "decoder.layers.weight": Cut.of(whole, [((2 * rank, 0, 0), (2, 4, 3))]),
        "decoder.norm.weight": torch.ones(3),
        f"decoder.layers._extra_state/shard_{rank}_{ranks}": {"scale": 1.0},
    }
    dcp.save(own, storage_writer=dcp.FileSystemWriter(path, thread_count=2))
    common = {"iteration": 7, "checkpoint_version": 3.0, "rng.seed": torch.tensor([1, 2])}
    if rank == 0:
        edit_metadata(path, lambda metadata: setattr(metadata, "planner_data", None))
        torch.save(common, path / "common.pt")
        (path / "metadata.json").write_text('{"sharded_backend": "torch_dist", "sharded_backend_version": 1}')
    return {"decoder.layers.weight": whole, "decoder.norm.weight": torch.ones(3), "rng.seed": common["rng.seed"]}


def each(path: Path, value: dict[str, Any], name: str = "model_world_size_{ranks}_rank_{rank}.pt") -> None:
    """Save what this rank has, into a file of its own."""
    path.mkdir(exist_ok=True)
    torch.save(value, path / name.format(rank=dist.get_rank(), ranks=dist.get_world_size()))


def each_fsdp2(path: Path) -> dict[str, Any]:
    model, optimizer = sharded(dist.get_world_size())
    value: dict[str, Any] = model.state_dict()
    each(path, value)
    each(path, optimizer.state_dict(), "optim_world_size_{ranks}_rank_{rank}.pt")
    each(path, {"rank": dist.get_rank(), "seed": torch.arange(3)}, "extra_state_world_size_{ranks}_rank_{rank}.pt")
    states = optimizer.state_dict()["state"]
    moments = {f"optim.state.{number}.exp_avg": state["exp_avg"] for number, state in states.items()}
    return {**value, **moments}


def each_hybrid(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = sharded(2, dist.get_world_size() // 2)[0].state_dict()
    each(path, value, "rank{rank}.pt")
    return value


def each_placement(path: Path) -> dict[str, Any]:
    value = placed()
    each(path, value, "weights__{rank}_of_{ranks}.pt")
    return value


def each_parallel(path: Path) -> dict[str, Any]:
    value = parallel()
    each(path, value, "ep1-ba5-rank{rank}.pt")
    return value


def each_fsdp1(path: Path) -> dict[str, Any]:
    return _each_fsdp1(path, "SHARDED_STATE_DICT", use_orig_params=True)


def each_local(path: Path) -> dict[str, Any]:
    value = _each_fsdp1(path, "LOCAL_STATE_DICT", use_orig_params=True)
    return {name: part.reshape(-1) if part.ndim else part for name, part in value.items()}


def each_flat(path: Path) -> dict[str, Any]:
    value = _each_fsdp1(path, "LOCAL_STATE_DICT", use_orig_params=False)
    return {"model.count": value["model.count"]}


def _each_fsdp1(path: Path, kind: str, *, use_orig_params: bool) -> dict[str, Any]:
    from torch.distributed.fsdp import FullyShardedDataParallel, StateDictType

    torch.manual_seed(0)
    model = FullyShardedDataParallel(Net(), use_orig_params=use_orig_params, device_id=torch.device("cpu"))
    with FullyShardedDataParallel.state_dict_type(model, StateDictType[kind]):
        each(path, {"model": model.state_dict(), "step": 3}, "pytorch_model_rank{rank}.pt")
    with FullyShardedDataParallel.state_dict_type(model, StateDictType.FULL_STATE_DICT):
        return {f"model.{name}": part for name, part in model.state_dict().items()}


WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        *(fsdp2, hybrid, placements, tensor_parallel, fsdp1, by_rank, hugging_face, payload, compressed),
        *(in_background, megatron),
        *(each_fsdp2, each_hybrid, each_placement, each_parallel, each_fsdp1, each_local, each_flat),
    )
}


def run(rank: int, folder: str, ranks: int, names: list[str]) -> None:
    """What each process does."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank))
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    for name in names:
        value = WAYS[name](Path(folder, name))
        whole = {key: part.full_tensor() if hasattr(part, "full_tensor") else part for key, part in value.items()}
        if rank == 0:
            torch.save(whole, Path(folder, f"{name}.whole.pt"))
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.start_processes(
        run, (sys.argv[1], int(sys.argv[2]), sys.argv[3:]), nprocs=int(sys.argv[2]), start_method="fork"
    )
