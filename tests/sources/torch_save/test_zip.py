from __future__ import annotations

import copy
import io
import os
import random
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories_torch import (
    TORCH_DTYPES,
    all_dtypes,
    all_layouts,
    build_model,
    deflated_zeros,
    doubled_tuples,
    lightning_like,
    nested_lists,
    payloads,
    raw_zip,
    repack,
    repeated_lists,
    save,
    state_dict_pickle,
    stored_zip,
    string,
    tensor_pickle,
    torch_zip,
    train_once,
)
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import OpenError, ReadError, TuiParamsError, UnknownFormatError
from tui_params.sources.bytes import zip_directory
from tui_params.sources.torch_save import tree_walk
from tui_params.sources.torch_save.zip import open_torch


def names(source: Source) -> list[str]:
    return [info.name for info in source.listing.tensors]


def finding(source: Source, rule: str) -> str:
    (found,) = [found for found in source.listing.findings if found.rule == rule]
    return found.evidence


def tensor_bytes(tensor: Any) -> bytes:
    """The values of a torch tensor in row-major order, as bytes."""
    import torch

    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    if tensor.dim() == 0:
        tensor = tensor.reshape(1)
    return bytes(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())


def array_bytes(array: Any) -> bytes:
    if array.dtype.name == "float4_e2m1fn":
        nibbles = array.view(np.uint8).reshape(-1, 2)
        return bytes((nibbles[:, 0] | nibbles[:, 1] << 4).astype(np.uint8).tobytes())
    return bytes(np.ascontiguousarray(array).tobytes())


def assert_same_values(source: Source, expected: dict[str, Any], *, skip: frozenset[str] = frozenset()) -> None:
    assert names(source) == list(expected)
    for name, tensor in expected.items():
        info = source.find(name)
        if not info.name.startswith("float4"):
            assert info.shape == tuple(tensor.shape), name
        if name not in skip:
            assert array_bytes(source.read(name)) == tensor_bytes(tensor), name


# Values


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_every_type_reads_byte_for_byte(tmp_path: Path, legacy: bool) -> None:
    import torch

    path = save(tmp_path / "types.pt", all_dtypes(), _use_new_zipfile_serialization=not legacy)
    with open_torch(path) as source:
        # Torch itself cannot load the newer types from a legacy stream, which it writes; numpy has no complex32.
        value = all_dtypes() if legacy else torch.load(path)
        assert_same_values(source, value, skip=frozenset({"complex32"}))
        for name in TORCH_DTYPES:
            info = source.find(name)
            assert info.dtype.name == name.removesuffix("_x2")
            assert b"".join(bytes(block) for block in source.blocks(info)) == tensor_bytes(value[name])
        assert source.find("float4_e2m1fn_x2").shape == (3, 8)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_every_layout_reads_byte_for_byte(tmp_path: Path, legacy: bool, protocol: int) -> None:
    value = all_layouts()
    options = {"_use_new_zipfile_serialization": not legacy, "pickle_protocol": protocol}
    with open_torch(save(tmp_path / "layouts.pt", value, **options)) as source:
        assert_same_values(source, value)
        for name, tensor in value.items():
            info = source.find(name)
            assert (info.stride is None) == tensor.is_contiguous() or info.stride == tensor.stride(), name
        assert source.find("tied").tied_to == "base"
        assert source.find("row").tied_to is None
        assert source.find("row").storage_nbytes == 240
        assert source.find("base").storage_nbytes is None
        assert source.find("transposed").stride == (1, 20, 5)
        assert source.find("expanded").stride == (0, 0, 1)
        assert source.find("one_by_n").stride is None


def test_the_offset_is_the_first_element_in_the_file(tmp_path: Path) -> None:
    value = all_layouts()
    path = save(tmp_path / "layouts.pt", value)
    raw = path.read_bytes()
    source = open_torch(path)
    for name in ("base", "row", "last", "stepped", "scalar"):
        info = source.find(name)
        assert info.offset is not None
        first = value[name].reshape(-1)[:1]
        assert raw[info.offset : info.offset + first.itemsize] == tensor_bytes(first), name


def test_ordinary_facts(tmp_path: Path) -> None:
    import torch

    value = {"p": torch.nn.Parameter(torch.ones(2)), "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False)}
    value |= {"t": torch.ones(2), "g": torch.ones(2, requires_grad=True), "b": torch.nn.Buffer(torch.ones(3))}
    source = open_torch(save(tmp_path / "facts.pt", value))
    assert source.label == "facts.pt"
    assert source.listing.format == "torch.save zip"
    assert source.listing.is_ordered
    facts = {info.name: (info.kind, info.requires_grad, info.device) for info in source.listing.tensors}
    assert facts == {
        "p": ("parameter", True, "cpu"),
        "frozen": ("parameter", False, "cpu"),
        "t": ("tensor", False, "cpu"),
        "g": ("tensor", True, "cpu"),
        "b": ("buffer", False, "cpu"),
    }
    assert source.listing.findings == ()


def test_a_location_on_another_device_is_shown(tmp_path: Path) -> None:
    code = state_dict_pickle({"w": tensor_pickle().replace(string("cpu"), string("cuda:3"))})
    info = open_torch(torch_zip(tmp_path / "a.pt", code, {"0": bytes(16)})).find("w")
    assert info.device == "cuda:3"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_quantised_sparse_nested_and_meta_tensors(tmp_path: Path) -> None:
    import torch

    x = torch.arange(12.0).reshape(3, 4)
    per_channel = torch.quantize_per_channel(x, torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1, 2, 3]), 0, torch.quint8)
    value = {
        "q": torch.quantize_per_tensor(x, 0.5, 3, torch.qint8),
        "channels": per_channel,
        "coo": x.to_sparse(),
        "csr": x.to_sparse_csr(),
        "meta": torch.empty(2, 3, device="meta"),
    }
    source = open_torch(save(tmp_path / "odd.pt", value))
    q = source.find("q")
    assert (q.dtype.name, q.notes) == ("qint8", ("scale 0.5, zero point 3",))
    assert array_bytes(source.read("q")) == tensor_bytes(value["q"])
    assert source.find("channels").notes == ("per_channel_affine along axis 0",)
    assert source.read("channels.scales").tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert source.read("channels.zero_points").tolist() == [1, 2, 3]
    assert source.find("coo.values").notes == ("part of coo, a sparse COO tensor of shape [3, 4]",)
    assert array_bytes(source.read("coo.indices")) == tensor_bytes(value["coo"].indices())
    assert array_bytes(source.read("csr.crow_indices")) == tensor_bytes(value["csr"].crow_indices())
    assert source.listing.metadata["csr"] == "a sparse CSR tensor of shape [3, 4]"
    meta = source.find("meta")
    assert (meta.shape, meta.device, meta.file) == ((2, 3), "meta", None)
    with pytest.raises(ReadError, match="a meta tensor: it has a shape and no values"):
        source.read("meta")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_jagged_tensor_is_listed_by_the_names_of_its_fields(tmp_path: Path) -> None:
    import torch

    jagged = torch.nested.nested_tensor([torch.ones(2, 3), torch.zeros(4, 3)], layout=torch.jagged)
    starts, lengths = torch.tensor([0, 1]), torch.tensor([2, 3])
    narrow = torch.nested.narrow(torch.arange(24.0).reshape(2, 4, 3), 1, starts, lengths, torch.jagged)
    parameter = torch.nn.Parameter(jagged.clone())
    source = open_torch(save(tmp_path / "j.pt", {"j": jagged, "k": narrow, "p": parameter, "w": torch.ones(2)}))
    assert names(source) == [
        "j.values", "j.offsets", "k.values", "k.offsets", "k.lengths", "p.values", "p.offsets", "w",
    ]  # fmt: skip
    assert source.read("j.offsets").tolist() == [0, 2, 6]
    assert source.read("k.lengths").tolist() == [2, 3]
    assert source.find("j.values").notes == ("part of j, a jagged tensor",)
    from tui_params.api.comparing import compare

    live = compare({"j": jagged, "k": narrow, "p": parameter, "w": torch.ones(2)}, source)
    assert (live.only_in_a, live.only_in_b, live.changed, len(live.identical)) == ((), (), (), 8)


def test_a_jagged_tensor_without_its_fields_is_not_made_up() -> None:
    from tui_params.sources.inert_pickle.constructors import CONSTRUCTORS
    from tui_params.sources.inert_pickle.values import UNFIT

    build = CONSTRUCTORS["torch.nested._internal.nested_tensor", "_rebuild_njt"]
    for arguments in ((), ({},), ({"values": 1},), ({"values": None, "offsets": 1},), ([1],), ({"offsets": 1}, 2)):
        assert build(arguments) is UNFIT


def test_a_storage_or_a_tensor_alone(tmp_path: Path) -> None:
    import torch

    source = open_torch(save(tmp_path / "one.pt", torch.arange(3)))
    assert names(source) == ["tensor"]
    source = open_torch(save(tmp_path / "storage.pt", torch.arange(3).untyped_storage()))
    assert (names(source), source.listing.tensors[0].shape) == (["storage"], (24,))
    source = open_torch(save(tmp_path / "list.pt", [torch.ones(1), (torch.ones(2), 5)]))
    assert (names(source), source.listing.metadata) == (["0", "1.0"], {"1.1": "5"})
    source = open_torch(save(tmp_path / "text.pt", "hello"))
    assert (names(source), source.listing.metadata) == ([], {"value": "hello"})
    source = open_torch(save(tmp_path / "empty.pt", {}))
    assert names(source) == []


# Objects


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_trainers_checkpoint(tmp_path: Path, protocol: int) -> None:
    import torch

    value = lightning_like()
    source = open_torch(save(tmp_path / "last.ckpt", value, pickle_protocol=protocol))
    assert source.listing.format == "torch.save zip (Lightning checkpoint)"
    for name, tensor in value["state_dict"].items():
        assert array_bytes(source.read(f"state_dict.{name}")) == tensor_bytes(tensor)
    assert source.find("state_dict.head.weight").tied_to == "state_dict.embed.weight"
    history = source.find("callbacks.Callback{'mode': 'min'}.history")
    assert torch.equal(torch.from_numpy(source.read(history.name)), torch.arange(4.0))
    assert (source.find("numpy").kind, source.read("numpy").tolist()) == ("array", [[0, 1, 2], [3, 4, 5]])
    assert (source.find("score").kind, source.read("score").tolist()) == ("array", 2.5)
    metadata = source.listing.metadata
    expected = {
        "epoch": "3",
        "callbacks.Callback{'mode': 'min'}.best_score": "0.25",
        "optimizer_states.0.param_groups.0.betas": "(0.9, 0.999)",
        "hyper_parameters.lr": "0.1",
        "hyper_parameters.name": "run 7",
        "hyper_parameters.root": "/data/set",
        "stage": "tests.factories_torch.Stage('fit')",
        "counts.a": "2",
        "lists.a": "[1, 2]",
        "steps": "[0, 1, 2, … 1,024 items]",
        "seen": "{1, 2}",
        "device": "cuda:1",
        "dtype": "torch.float16",
        "size": "(2, 3)",
        "activation": "torch.nn.functional.relu",
        "blob": "100 bytes",
        "('a', 1)": "odd key",
        "7": "None",
    }
    assert {key: metadata.get(key) for key in expected} == expected
    classes = finding(source, "pickle-classes")
    assert "tests.factories_torch.Callback" in classes
    assert classes.endswith(": shown as data, no class is loaded")
    assert not [found for found in source.listing.findings if found.rule != "pickle-classes"]


def test_the_state_of_a_training_loop(tmp_path: Path) -> None:
    model = build_model()
    optimizer = train_once(model)
    value = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 7}
    source = open_torch(save(tmp_path / "step_7.pt", value))
    assert source.listing.metadata["step"] == "7"
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    for index, name in enumerate(trained):
        info = source.find(f"optimizer.state.{index}.exp_avg")
        assert info.shape == tuple(model.get_parameter(name).shape)
        # The frozen weight has the shape of no other parameter here, so there is one way to lay the states over.
        assert info.notes == (f"state of {name} (by order and shapes)",)


def test_names_that_the_optimizer_saved_are_used(tmp_path: Path) -> None:
    model = build_model()
    import torch

    optimizer = torch.optim.SGD(list(model.named_parameters())[1:3], lr=0.1, momentum=0.9)
    model(torch.arange(5)).sum().backward()
    optimizer.step()
    source = open_torch(save(tmp_path / "opt.pt", optimizer.state_dict()))
    assert source.find("state.0.momentum_buffer").notes == ("state of block.0.weight",)
    assert source.find("state.1.momentum_buffer").notes == ("state of block.0.bias",)


def test_ambiguous_optimizer_states_get_no_name(tmp_path: Path) -> None:
    import torch

    model = torch.nn.Sequential(*(torch.nn.Linear(3, 3, bias=False) for _ in range(3)))
    for chosen in ([0, 1], [1, 2]):
        optimizer = torch.optim.Adam([model[i].weight for i in chosen])
        model(torch.ones(3)).sum().backward()
        optimizer.step()
        value = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        source = open_torch(save(tmp_path / "ambiguous.pt", value))
        assert source.find("optimizer.state.0.exp_avg").notes == ()
    groups = torch.optim.Adam([{"params": [model[2].weight]}, {"params": [model[0].weight, model[1].weight]}])
    groups.step()
    value = {"model": model.state_dict(), "optimizer": groups.state_dict()}
    source = open_torch(save(tmp_path / "groups.pt", value))
    assert all(info.notes == () for info in source.listing.tensors)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_whole_module(tmp_path: Path, legacy: bool) -> None:
    model = build_model()
    source = open_torch(save(tmp_path / "model.pt", model, _use_new_zipfile_serialization=not legacy))
    expected = {"scratch": model.scratch, **model.state_dict()}
    assert set(names(source)) == set(expected)
    for name, tensor in expected.items():
        assert array_bytes(source.read(name)) == tensor_bytes(tensor)
    kinds = {info.name: info.kind for info in source.listing.tensors}
    assert {name for name, kind in kinds.items() if kind == "parameter"} == {
        "embed.weight", "head.weight", "block.0.weight", "block.0.bias", "block.1.weight", "block.1.bias",
        "block.2.weight",
    }  # fmt: skip
    assert {kind for name, kind in kinds.items() if "running" in name or name == "scratch"} == {"buffer"}
    assert source.find("scratch").notes == ("persistent=False",)
    assert source.find("block.2.weight").requires_grad is False
    assert source.find("head.weight").tied_to == "embed.weight"
    modules = {"": "Net", "embed": "Embedding", "block": "Sequential", "block.0": "Linear", "block.1": "BatchNorm1d"}
    assert source.listing.modules == {**modules, "block.2": "Linear", "head": "Linear"}
    assert source.listing.metadata["block.1.eps"] == "1e-05"
    # Loading it needs the classes, which torch does not allow by default: that is said, and nothing else.
    (classes,) = source.listing.findings
    assert (classes.severity, classes.rule) == ("info", "pickle-classes")
    assert classes.evidence.startswith("holds objects of tests.factories_torch.Net, torch.nn.modules.")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript(tmp_path: Path, how: str) -> None:
    import torch

    class WithConstant(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)
            self.norm = torch.nn.BatchNorm1d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.norm(self.layer(x)) + torch.tensor([[1.0, 2.0]])
            return result

    model = WithConstant().eval()
    path = tmp_path / "script.pt"
    if how == "script":
        torch.jit.script(torch.nn.Sequential(model.layer, model.norm)).save(str(path))
        names_of = {"0.": "layer.", "1.": "norm."}
    else:
        torch.jit.trace(model, torch.ones(1, 3)).save(str(path))
        names_of = {"layer.": "layer.", "norm.": "norm."}
    source = open_torch(path)
    assert source.listing.format == "TorchScript"
    state = model.state_dict()
    for ours, theirs in names_of.items():
        for info in source.listing.tensors:
            if info.name.startswith(ours):
                name = theirs + info.name.removeprefix(ours)
                assert array_bytes(source.read(info.name)) == tensor_bytes(state[name])
                assert info.kind == ("parameter" if name in dict(model.named_parameters()) else "buffer")
    if how == "trace":
        assert source.listing.modules == {"": "WithConstant", "layer": "Linear", "norm": "BatchNorm1d"}
        (constant,) = [info.name for info in source.listing.tensors if info.name.startswith("constants.")]
        assert source.read(constant).tolist() == [[1.0, 2.0]]
        assert len(source.listing.tensors) == len(state) + 1


@pytest.mark.filterwarnings("ignore")
def test_an_exported_program(tmp_path: Path) -> None:
    import torch

    class Exported(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
            self.tied = self.layer
            self.register_buffer("scale", torch.rand(2))
            self.register_buffer("shift", torch.rand(2), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.layer(x) * self.scale + self.shift
            return result

    model = Exported()
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(model, (torch.ones(1, 3, dtype=torch.bfloat16),)), path)
    source = open_torch(path)
    assert source.listing.format == "torch.export"
    values = {**model.state_dict(), "shift": model.shift}
    assert set(names(source)) == set(values)
    for name, value in values.items():
        assert array_bytes(source.read(name)) == tensor_bytes(value), name
    weight = source.find("layer.weight")
    assert (weight.kind, weight.requires_grad, weight.device) == ("parameter", True, "cpu")
    assert source.find("scale").kind == "buffer"
    assert source.find("tied.weight").tied_to == "layer.weight"


@pytest.mark.parametrize("config", [b"", b"[]", b"{}", b"{" * 2000, b'{"config": 3}'])
def test_a_damaged_list_of_exported_weights_is_one_sentence(tmp_path: Path, config: bytes) -> None:
    members = [("m/archive_format", b"pt2"), ("m/data/weights/model_weights_config.json", config)]
    with pytest.raises(OpenError, match="the archive is damaged"):
        open_torch(stored_zip(tmp_path / "model.pt2", members))


@pytest.mark.parametrize(
    "entry", ["3", "{}", '{"path_name": "weight_0", "tensor_meta": {}}', '{"use_pickle": true}',
              '{"path_name": "weight_0", "tensor_meta": {"sizes": [{"as_expr": 1}], "strides": 4, "dtype": []}}']
)  # fmt: skip
def test_malformed_exported_weights_are_unread(tmp_path: Path, entry: str) -> None:
    members = [
        ("m/archive_format", b"pt2"),
        ("m/data/weights/model_weights_config.json", b'{"config": {"w": ' + entry.encode() + b"}}"),
        ("m/data/weights/weight_0", bytes(8)),
    ]
    source = open_torch(stored_zip(tmp_path / "model.pt2", members))
    assert source.find("w").unreadable


def test_a_distributed_tensor_lists_its_local_part(tmp_path: Path) -> None:
    import torch.distributed as dist

    pytest.importorskip("torch.distributed.tensor")
    if not dist.is_available():
        pytest.skip("torch was built without torch.distributed")
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        value = {"w": distribute_tensor(torch.arange(6.0).reshape(3, 2), mesh, [Shard(0)])}
        path = save(tmp_path / "dtensor.pt", value)
    finally:
        dist.destroy_process_group()
    source = open_torch(path)
    assert names(source) == ["w"]
    info = source.find("w")
    assert info.notes[0].startswith("the local part of a DTensor of shape [3, 2]")
    assert "placements Shard(0)" in info.notes
    assert source.read("w").tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_checkpoint_of_a_real_trainer(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    import torch

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, width: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            return self.layer(batch[0]).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 3)))
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = lightning.Trainer(max_steps=2, accelerator="cpu", default_root_dir=tmp_path, **quiet)
        module = Module()
        trainer.fit(module, data)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    source = open_torch(tmp_path / "last.ckpt")
    assert source.listing.format == "torch.save zip (Lightning checkpoint)"
    assert array_bytes(source.read("state_dict.layer.weight")) == tensor_bytes(module.layer.weight)
    assert source.listing.metadata["global_step"] == "2"
    assert source.listing.metadata["hyper_parameters.width"] == "3"
    assert source.find("optimizer_states.0.state.0.exp_avg").notes[0].startswith("state of layer.weight")


def test_names_are_the_keys_themselves_and_stay_unique(tmp_path: Path) -> None:
    import torch

    one = torch.ones(1)
    value = {"a.b": one, "a": {"b": one.clone()}, "x\x1b[31m": one.clone(), "": one.clone(), "long" * 500: one.clone()}
    source = open_torch(save(tmp_path / "names.pt", value))
    found = names(source)
    assert found[:2] == ["a.b", "a.b~2"]
    assert len(set(found)) == 5
    assert found[2:] == ["x\x1b[31m", "", "long" * 500]
    assert finding(source, "duplicate-names") == (
        "several values have one name, and all but the first of them got a suffix (1 name): a.b"
    )


def test_long_names_below_the_top_lose_their_middle(tmp_path: Path) -> None:
    import torch

    source = open_torch(save(tmp_path / "long.pt", {"a" * 5_000: {"b" * 5_000: torch.ones(1), "\n": torch.ones(1)}}))
    first, second = names(source)
    assert len(first) == 1_000
    assert (first[0], first[-1]) == ("a", "b")
    assert len(second) <= 1_000
    assert second.endswith("a.\n")


def test_values_under_an_empty_key_are_kept(tmp_path: Path) -> None:
    source = open_torch(save(tmp_path / "empty.pt", {"": 5, "a": {"": [1, 2]}}))
    assert source.listing.metadata == {"": "5", "a.": "[1, 2]"}


def test_metadata_is_bounded(tmp_path: Path) -> None:
    value = {"long": "x" * 100_000, "many": {str(i): i for i in range(5_000)}}
    metadata = open_torch(save(tmp_path / "many.pt", value)).listing.metadata
    assert len(metadata) == 2_001
    assert metadata["…"] == "3,001 more values are not shown"
    assert max(map(len, metadata.values())) <= 200


# Damage


def test_a_compressed_zip_is_listed_and_not_read(tmp_path: Path) -> None:
    value = all_layouts()
    path = repack(save(tmp_path / "a.pt", value), tmp_path / "b.pt", zipfile.ZIP_DEFLATED)
    source = open_torch(path)
    assert names(source) == list(value)
    with pytest.raises(ReadError, match="compressed inside the zip"):
        source.read("base")
    again = repack(path, tmp_path / "c.pt", zipfile.ZIP_STORED)
    assert_same_values(open_torch(again), value)


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.9, 0.999])
def test_a_truncated_zip_is_one_sentence(tmp_path: Path, fraction: float) -> None:
    path = save(tmp_path / "a.pt", all_dtypes())
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * fraction)])
    with pytest.raises(OpenError, match=r"the zip directory of a\.pt is missing: the file is truncated or was still"):
        open_torch(path)


def test_a_truncated_archive_does_not_pass_for_one_that_is_stored_in_it(tmp_path: Path) -> None:
    inner = save(tmp_path / "inner.pt", all_dtypes()).read_bytes()
    path = tmp_path / "outer.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("export/data/weights/weight_0", bytes(512))
        archive.writestr("export/data/sample_inputs/model.pt", inner)
        archive.writestr("export/archive_version", b"0")
    raw = path.read_bytes()
    for cut in (1, 22, 23, 60, 300):
        path.write_bytes(raw[:-cut])
        with pytest.raises(OpenError, match="is truncated"):
            open_torch(path)


def test_bytes_before_and_after_the_archive(tmp_path: Path) -> None:
    value = all_dtypes()
    path = stored_zip(tmp_path / "plain.pt", [])
    plain = repack(save(tmp_path / "a.pt", value), tmp_path / "b.pt", zipfile.ZIP_STORED).read_bytes()
    path.write_bytes(b"PK" + bytes(98) + plain + b"#" * 50)
    assert_same_values(open_torch(path), value, skip=frozenset({"complex32"}))


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ([("a.npy", b"")], "is a numpy NPZ archive of 1 array,"),
        ([("[Content_Types].xml", b"")], "is an Office document"),
        ([("x/__init__.py", b""), ("x-1.dist-info/METADATA", b"")], "is a Python wheel"),
        ([("META-INF/MANIFEST.MF", b"")], "is a Java or Android archive"),
        ([("p/archive_format", b"pt2")], "is an archive of torch.export or AOTInductor without a list of weights"),
        ([("p/.data/extern_modules", b"")], "is a torch.package archive"),
        ([("readme.txt", b"")], "is a zip of 1 file, the first of them 'readme.txt', and no data.pkl"),
        ([("data.pkl", b"")], "is a zip of 1 file with data.pkl at its root: torch.save puts it into a folder"),
        ([("data/0", b""), ("data.pkl", b"")], "is a zip of 2 files with data.pkl at its root"),
        ([("x/a", b""), ("y/data.pkl", b"")], "with y/data.pkl, but its first member lies in x/: torch.load looks"),
        ([("a", b""), ("y/data.pkl", b"")], "with y/data.pkl, but its first member lies at the root: torch.load looks"),
        (
            [("vae/x.safetensors", b""), ("model_index.json", b"{}"), ("unet/y.safetensors", b"")],
            "is a DDUF file, a pipeline of diffusers in one zip with 2 safetensors files, which cannot be opened yet",
        ),
        ([("model_index.json", b"{}")], "is a DDUF file, a pipeline of diffusers in one zip with 0 safetensors files"),
        ([], "is a zip without members"),
    ],
)
def test_other_zips_are_named(tmp_path: Path, members: list[tuple[str, bytes]], sentence: str) -> None:
    path = stored_zip(tmp_path / "other.zip", members)
    with pytest.raises(UnknownFormatError) as caught:
        open_torch(path)
    assert sentence in str(caught.value)


def test_numbers_that_lie_are_found(tmp_path: Path) -> None:
    tensors = {
        "good": tensor_pickle(),
        "huge": tensor_pickle(1 << 40, shape=(1 << 40,)),
        "overflow": tensor_pickle(4, shape=(1 << 40, 1 << 40), stride=(1, 1)),
        "outside": tensor_pickle(offset=1),
        "strided": tensor_pickle(shape=(2, 2), stride=(3, 1)),
        "negative": tensor_pickle(shape=(2,), stride=(-1,)),
        "missing": tensor_pickle(key="1"),
        "unknown": tensor_pickle(storage="Int4Storage"),
        "empty": tensor_pickle(0, shape=(0, 5), stride=(5, 1), offset=0),
    }
    source = open_torch(torch_zip(tmp_path / "lies.pt", state_dict_pickle(tensors), {"0": b"\0\0\x80\x3f" * 4}))
    reasons = {info.name: info.unreadable for info in source.listing.tensors}
    assert reasons == {
        "good": None,
        "huge": "its storage claims 4,398,046,511,104 bytes, and 16 are in the file",
        "overflow": "it is a tensor that has a shape whose product overflows",
        "negative": "it is a tensor that has a malformed stride",
        "outside": "its last element ends at byte 20 of a storage of 16",
        "strided": "its last element ends at byte 20 of a storage of 16",
        "missing": "its storage data/1 is not in the file",
        "unknown": "elements of type Int4 cannot be decoded here",
        "empty": None,
    }
    assert source.read("good").tolist() == [1, 1, 1, 1]
    assert source.read("empty").shape == (0, 5)
    faults = {found.tensor or found.evidence.split()[0]: found.rule for found in source.listing.findings}
    assert faults == {
        **dict.fromkeys(("huge", "outside", "strided", "missing", "empty", "storage"), "storage-bounds"),
        **dict.fromkeys(("overflow", "negative"), "malformed-tensor"),
        "data.pkl": "bad-pickle",  # one storage by two classes
    }
    for info in source.listing.tensors:
        if info.unreadable:
            with pytest.raises(ReadError):
                list(source.blocks(info))


def test_big_endian_files_are_listed(tmp_path: Path) -> None:
    tensors = state_dict_pickle({"w": tensor_pickle(), "b": tensor_pickle(storage="ByteStorage", key="1")})
    members = [("a/data.pkl", tensors), ("a/byteorder", b"big"), ("a/data/0", bytes(16)), ("a/data/1", bytes(4))]
    source = open_torch(stored_zip(tmp_path / "big.pt", members))
    assert source.find("w").unreadable == "its bytes are in big-endian order, which is not read here"
    assert source.read("b").tolist() == [0, 0, 0, 0]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_and_overlapping_members_are_reported(tmp_path: Path) -> None:
    code = state_dict_pickle({"a": tensor_pickle(), "b": tensor_pickle(key="1")})
    members = [
        ("a/data.pkl", code),
        ("a/data/0", bytes(16)),
        ("a/data/0", b"\0\0\x80\x3f" * 4),
        ("a/data/1", bytes(16)),
    ]
    source = open_torch(stored_zip(tmp_path / "twice.pt", members))
    assert "more than one member of the zip has the name" in finding(source, "zip-duplicates")
    assert source.read("a").tolist() == [1, 1, 1, 1]
    path = torch_zip(tmp_path / "overlap.pt", code, {"0": bytes(16), "1": bytes(16)})
    raw = bytearray(path.read_bytes())
    first, second = raw.index(b"archive/data/0"), raw.index(b"archive/data/1")
    entry = raw.index(b"PK\1\2", raw.rindex(b"archive/data/0"))
    assert struct.unpack_from("<L", raw, entry + 42)[0] == second - 30
    before = raw.index(b"PK\1\2", raw.index(b"PK\1\2", raw.index(b"PK\1\2") + 4) + 4)
    assert struct.unpack_from("<LL", raw, before + 20) == (16, 16)
    struct.pack_into("<LL", raw, before + 20, 70, 70)
    path.write_bytes(bytes(raw))
    assert (
        finding(open_torch(path), "zip-overlap") == "1 pair of storages overlaps in the file, first data/0 and data/1"
    )
    struct.pack_into("<LL", raw, before + 20, 16, 16)
    struct.pack_into("<L", raw, entry + 42, first - 30)
    path.write_bytes(bytes(raw))
    assert "bears another name than the directory gives, first data/1" in finding(open_torch(path), "zip-names")


def test_a_file_of_zeros_left_out_is_reported(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "skipped.pt"
    with torch.serialization.skip_data():
        torch.save({"w": torch.ones(4 << 20)}, path)
    status = path.stat()
    source = open_torch(path)
    if status.st_blocks * 512 > status.st_size // 2:
        pytest.skip("this file system has no sparse files")
    assert "on the disk: parts were never written and read as zeros" in finding(source, "sparse-file")


def test_offsets_beyond_4_gib(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "large.pt"
    with torch.serialization.skip_data():
        torch.save({"large": torch.empty(5 << 30, dtype=torch.uint8), "small": torch.ones(4)}, path)
    if path.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("this file system has no sparse files")
    first = open_torch(path).find("small").offset
    assert first is not None
    assert first > 5 << 30
    with path.open("r+b") as file:
        file.seek(first)
        file.write(struct.pack("<4f", 1, 2, 3, 4))
    source = open_torch(path)
    assert source.read("small").tolist() == torch.load(path, mmap=True)["small"].tolist() == [1, 2, 3, 4]
    assert source.read("large", "[-1:]").tolist() == [0]


def test_a_failed_save_is_named(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "failed.pt"
    with pytest.raises((TypeError, AttributeError)):
        torch.save({"a": torch.ones(2), "b": (i for i in range(3))}, path)
    with pytest.raises(UnknownFormatError, match="saving it failed"):
        open_torch(path)


# Hostile files


@pytest.mark.parametrize("name", payloads(Path("x")))
def test_no_payload_runs(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "it_ran"
    source = open_torch(torch_zip(tmp_path / "evil.pt", payloads(marker)[name]))
    assert finding(source, "pickle-code").endswith("; nothing was run here")
    assert not marker.exists()


WIDE = b"\x80\x02(" + b"K\x01" * 500 + b"lq\x000"


@pytest.mark.parametrize(
    ("pickled", "steps"),
    [
        pytest.param(b"\x80\x02}(" + doubled_tuples(10) + b"K\x01u.", 100, id="a key of doubled tuples"),
        pytest.param(repeated_lists(4), 100, id="lists of lists, repeated"),
        # Looking whether a long list is one of numbers only counts as an eighth of a step an item.
        pytest.param(WIDE + b"](" + b"h\x00" * 500 + b"e.", 1_000, id="one long list, referred to often"),
        pytest.param(WIDE + b"](" + b"cmy\nThing\nh\x00\x85R" * 200 + b"e.", 1_000, id="one long list as an argument"),
        pytest.param(b"\x80\x02]" + b"2" * 3_000 + b".", 10, id="a stack of one value"),
    ],
)
def test_what_is_repeated_is_walked_once(
    tmp_path: Path, pickled: bytes, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_walk, "MAX_STEPS", steps)
    source = open_torch(torch_zip(tmp_path / "repeated.pt", pickled))
    assert "walk-limit" not in [found.rule for found in source.listing.findings]


def test_what_is_nested_deeply_is_listed_as_far_as_it_goes(tmp_path: Path) -> None:
    source = open_torch(torch_zip(tmp_path / "nested.pt", nested_lists(2 * sys.getrecursionlimit())))
    assert [found.rule for found in source.listing.findings] == ["walk-limit"]


def test_what_grows_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = deflated_zeros(tmp_path / "zeros.pt", 64)
    assert open_torch(path).listing.metadata["value"]
    monkeypatch.setattr(zip_directory, "FREE_BYTES", 1 << 10)
    with pytest.raises(OpenError, match=r"a/data\.pkl would grow from [0-9,]+ to 65,544 bytes when unpacked"):
        open_torch(path)
    monkeypatch.setattr(zip_directory, "MAX_INFLATED_BYTES", 1_000)
    with pytest.raises(OpenError, match=r"a/data\.pkl is 65,544 bytes long: more than 1,000 are refused"):
        open_torch(path)
    path = raw_zip(tmp_path / "claim.pt", [("a/data.pkl", 0, 0, b"", 1_001)])
    with pytest.raises(OpenError, match="more than 1,000 are refused"):
        open_torch(path)


def test_no_more_is_unpacked_than_the_directory_announces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[int] = []
    real = zlib.decompressobj

    class Counted:
        def __init__(self, window: int) -> None:
            self.unpacker = real(window)

        def decompress(self, data: bytes, most: int = 0) -> bytes:
            found = self.unpacker.decompress(data, most)
            unpacked.append(len(found))
            return found

    monkeypatch.setattr(zlib, "decompressobj", Counted)
    packed = zlib.compress(bytes(10_000))[2:-4]
    path = raw_zip(tmp_path / "liar.pt", [("a/data.pkl", 8, 0, packed, 100)])
    with pytest.raises(OpenError, match="does not unpack to the 100 bytes that it claims"):
        open_torch(path)
    assert unpacked == [101]


def test_opening_imports_no_unpickler_and_no_numpy(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", all_layouts())
    script = (
        "import sys\nfrom pathlib import Path\nfrom tui_params.sources.torch_save.zip import open_torch\n"
        "source = open_torch(Path(sys.argv[1]))\nassert len(source.listing.tensors) == 14\n"
        "print(*sorted({'torch', 'pickle', '_pickle', 'numpy', 'zipfile', 'tarfile'} & set(sys.modules)))\n"
        "source.read('base')\n"
        "print(*sorted({'torch', 'textual'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False, cwd=root
    )
    assert (done.returncode, done.stderr, done.stdout.splitlines()) == (0, "", ["", ""])


def _fuzz_seeds(tmp_path: Path) -> list[bytes]:
    import torch

    small = {"a": torch.arange(3.0), "b": {"c": torch.ones(2, 2, dtype=torch.bfloat16).t()}, "n": [1, "x"]}
    buffer = io.BytesIO()
    torch.save(copy.deepcopy(small), buffer, _use_new_zipfile_serialization=False)
    return [
        save(tmp_path / "seed.pt", small).read_bytes(),
        buffer.getvalue(),
        repack(tmp_path / "seed.pt", tmp_path / "deflated.pt", zipfile.ZIP_DEFLATED).read_bytes(),
        torch_zip(tmp_path / "least.pt", state_dict_pickle({"w": tensor_pickle()}), {"0": bytes(16)}).read_bytes(),
    ]


def _mutate(data: bytes, rng: random.Random) -> bytes:
    raw = bytearray(data)
    # Most of a small zip is its structure; half of the strokes fall on the directory at its end.
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw)) if rng.random() < 0.5 else len(raw) - 1 - rng.randrange(min(len(raw), 500))
        choice = rng.randrange(7)
        if choice < 4:
            raw[at] = (rng.randrange(256), 0, 0xFF, raw[at] ^ (1 << rng.randrange(8)))[choice]
        elif choice == 4:
            del raw[at : at + rng.randint(1, 20)]
        elif choice == 5:
            raw[at:at] = raw[at : at + rng.randint(1, 20)]
        else:
            del raw[at:]
        if not raw:
            break
    return bytes(raw)


def test_mutated_files_are_listed_or_refused(tmp_path: Path) -> None:
    rounds = int(os.environ.get("TUI_PARAMS_FUZZ", "2500"))
    rng = random.Random(20261126)
    seeds = _fuzz_seeds(tmp_path)
    path = tmp_path / "mutant.pt"
    outcomes = Counter[str]()
    for _ in range(rounds):
        path.write_bytes(_mutate(rng.choice(seeds), rng))
        sentence = ""
        try:
            with open_torch(path) as source:
                for info in source.listing.tensors:
                    _read_a_little(source, info)
        except OpenError as error:
            sentence = str(error)
        assert "\n" not in sentence
        outcomes["refused" if sentence else "listed"] += 1
    assert min(outcomes["listed"], outcomes["refused"]) > rounds // 20


def _read_a_little(source: Source, info: TensorInfo) -> None:
    """Any window of at most a thousand elements may fail, with a TuiParamsError."""
    if info.numel <= 1_000:
        try:
            source.read(info.name)
        except TuiParamsError as error:
            assert str(error)  # noqa: PT017
