"""Distributed checkpoints of torch (DCP): the whole tensors are those that torch's own loader puts together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_dcp import Box, Cut, by_rank, load_whole, raw_bytes, rows, save_distributed
from tui_params.core.source import Source
from tui_params.sources.detect import open_path


def ordinary(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    count = int(np.prod(shape, dtype=int))
    return torch.arange(1, count + 1, dtype=torch.float32).to(dtype).reshape(shape)


def assert_whole(source: Source, expected: dict[str, torch.Tensor]) -> None:
    """Each tensor has these elements, read by blocks and by a window."""
    for name, tensor in expected.items():
        info = source.find(name)
        assert (info.shape, info.dtype.name) == (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        assert b"".join(block.tobytes() for block in source.blocks(info)) == raw_bytes(tensor), name
        assert source.read(name).tobytes() == raw_bytes(tensor), name


TENSORS = {
    "f64": ordinary(3, 2, dtype=torch.float64),
    "f16": ordinary(5, dtype=torch.float16),
    "bf16": ordinary(4, 2, dtype=torch.bfloat16),
    "f8": ordinary(6, dtype=torch.float8_e4m3fn),
    "i64": torch.tensor(7),
    "i8": ordinary(2, 3, dtype=torch.int8),
    "u16": ordinary(3, dtype=torch.uint16),
    "flag": torch.tensor([True, False]),
    "complex": torch.complex(ordinary(2, 2), ordinary(2, 2)),
    "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    "scalar": torch.tensor(2.5),
    "nothing": torch.empty(0),
    "no rows": torch.empty(0, 4),
    "transposed": ordinary(3, 5).t(),
    "channels last": ordinary(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "view": ordinary(10, 10)[2:4],
    "expanded": torch.ones(1, 4).expand(3, 4),
}


def test_every_type_and_layout(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", TENSORS)
    with open_path(folder) as source:
        assert sorted(source.names()) == sorted(TENSORS)
        assert source.listing.findings == ()
        assert source.listing.format == "DCP (1 rank, 1 file)"
        assert_whole(source, load_whole(folder))


def test_float4_counts_single_values(tmp_path: Path) -> None:
    pairs = torch.arange(6, dtype=torch.uint8).reshape(2, 3).view(torch.float4_e2m1fn_x2)
    folder = save_distributed(tmp_path / "ck", {"w": pairs})
    with open_path(folder) as source:
        info = source.find("w")
        assert (info.shape, info.dtype.name, info.nbytes) == ((2, 6), "float4_e2m1fn", 6)
        assert b"".join(block.tobytes() for block in source.blocks(info)) == bytes(range(6))
        assert source.listing.findings == ()


@st.composite
def cuttings(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Box], list[int]]:
    """A shape, boxes with different starts that cover it in any order, and an order of the dimensions."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    boxes: list[Box] = [((0,) * len(shape), shape)]
    for _ in range(draw(st.integers(0, 6))):
        start, sizes = boxes.pop(draw(st.integers(0, len(boxes) - 1)))
        axis = draw(st.integers(0, len(shape) - 1))
        at = draw(st.integers(1, sizes[axis] - 1)) if sizes[axis] > 1 else 0
        if not at:
            boxes.append((start, sizes))
            continue
        boxes.append((start, (*sizes[:axis], at, *sizes[axis + 1 :])))
        rest = (*start[:axis], start[axis] + at, *start[axis + 1 :])
        boxes.append((rest, (*sizes[:axis], sizes[axis] - at, *sizes[axis + 1 :])))
    return shape, draw(st.permutations(boxes)), draw(st.permutations(range(len(shape))))


@settings(max_examples=25, deadline=None)
@given(cuttings(), st.integers(1, 3))
def test_any_cut_in_any_order_and_layout(tmp_path_factory: Any, cutting: Any, threads: int) -> None:
    shape, boxes, order = cutting
    whole = ordinary(*shape)
    folder = tmp_path_factory.mktemp("ck")
    save_distributed(folder, {"w": Cut.of(whole, boxes, order), "b": torch.ones(2)}, thread_count=threads)
    with open_path(by_rank(folder)) as source:
        assert source.listing.findings == ()
        assert_whole(source, {"w": whole, "b": torch.ones(2)})
        pieces = source.pieces_of(source.find("w"))
        assert sorted((piece.start, piece.shape) for piece in pieces) == sorted(boxes)
        assert all(piece.file == f"__{piece.rank}_0.distcp" for piece in pieces)


def test_a_rank_without_rows_is_nothing_that_is_missing(tmp_path: Path) -> None:
    folder = by_rank(save_distributed(tmp_path / "ck", {"w": rows(ordinary(5, 2), 4)}, single_file_per_rank=False))
    with open_path(folder) as source:
        assert source.listing.findings == ()
        assert_whole(source, {"w": ordinary(5, 2)})
        found = [str(piece) for piece in source.pieces_of(source.find("w"))]
        assert found == ["[0:2, 0:2]", "[2:4, 0:2]", "[4:5, 0:2]"]


def test_a_window_reads_only_the_pieces_that_it_needs(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": rows(ordinary(6, 2), 3)}, single_file_per_rank=False)
    with open_path(folder) as source:
        (lost,) = {piece.file for piece in source.pieces_of(source.find("w")) if piece.start == (4, 0)}
        (folder / lost).write_bytes(b"")
        assert source.read("w", "[1:4]").tolist() == ordinary(6, 2)[1:4].tolist()


def test_objects_and_the_tensors_in_them(tmp_path: Path) -> None:
    value = {
        "step": 7,
        "name": "run",
        "betas": (0.9, 0.99),
        "pair": ("x", (ordinary(2, 3), 1)),
        "nested": {"list": [1, [torch.ones(2), 2]]},
        "none": None,
    }
    folder = save_distributed(tmp_path / "ck", value)
    with open_path(folder) as source:
        found = source.listing.metadata
        assert (found["step"], found["name"], found["betas"], found["none"]) == ("7", "run", "(0.9, 0.99)", "None")
        assert sorted(source.names()) == ["nested.list.1.0", "pair.1.0"]
        assert_whole(source, {"pair.1.0": ordinary(2, 3), "nested.list.1.0": torch.ones(2)})
        assert source.pieces_of(source.find("pair.1.0")) == ()


def test_dicts_that_were_not_flattened(tmp_path: Path) -> None:
    value = {"model": {"a": ordinary(2), "t": ordinary(3, 2).t()}, "b": torch.ones(3)}
    with open_path(save_distributed(tmp_path / "ck", value, flatten=False)) as source:
        assert_whole(source, {"model.a": ordinary(2), "b": torch.ones(3)})
        assert source.read("model.t").tolist() == value["model"]["t"].tolist()


def test_one_file_for_each_item_and_several_threads(tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [{"single_file_per_rank": False}, {"thread_count": 3}]
    for number, options in enumerate(ways):
        folder = save_distributed(tmp_path / str(number), {**TENSORS, "step": 1}, **options)
        with open_path(folder) as source:
            assert_whole(source, load_whole(folder))


def test_a_payload_of_safetensors(tmp_path: Path) -> None:
    from torch.distributed.checkpoint.filesystem import SerializationFormat

    value = {"w": ordinary(4, 2), "b": ordinary(3, dtype=torch.bfloat16), "zero": torch.tensor(3), "step": 5}
    folder = save_distributed(tmp_path / "ck", value, serialization_format=SerializationFormat.SAFETENSORS)
    with open_path(folder) as source:
        assert source.listing.findings == ()
        assert source.listing.metadata["step"] == "5"
        assert_whole(source, {name: tensor for name, tensor in value.items() if name != "step"})


def test_the_metadata_open_their_folder(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": ordinary(2)})
    with open_path(folder / ".metadata") as source:
        assert source.names() == ["w"]
        assert source.label == "ck/"


def test_optimizer_states_are_those_of_their_parameters(tmp_path: Path) -> None:
    model = {"layers.0.weight": ordinary(2, 2), "layers.0.weight.g": ordinary(3)}
    state = {name: {"exp_avg": torch.zeros_like(tensor), "step": torch.tensor(1.0)} for name, tensor in model.items()}
    flat = {f"state.{name}.exp_avg": torch.zeros_like(tensor) for name, tensor in model.items()}
    value = {"model": model, "optim": {"state": state}, "flat": flat}
    with open_path(save_distributed(tmp_path / "ck", value)) as source:
        for name in model:
            for state_name in (f"optim.state.{name}.exp_avg", f"optim.state.{name}.step", f"flat.state.{name}.exp_avg"):
                assert source.find(state_name).notes == (f"state of {name}",)
            assert source.find(f"model.{name}").notes == ()


def test_numbered_optimizer_states_are_named_by_order_and_shapes(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    value = {"model": model.state_dict(), "optim": optimizer.state_dict()}
    with open_path(save_distributed(tmp_path / "ck", value)) as source:
        assert source.find("optim.state.2.exp_avg").notes == ("state of 1.weight (by order and shapes)",)
        assert source.find("optim.state.1.step").notes == ("state of 0.bias (by order and shapes)",)


def test_flat_parameters_are_said_to_be_flat(tmp_path: Path) -> None:
    value = {"model._flat_param": rows(ordinary(20), 2), "model.w": torch.empty(0), "model.x": ordinary(2, 2)}
    with open_path(save_distributed(tmp_path / "ck", value)) as source:
        assert source.find("model._flat_param").notes[0].startswith("flat parameter of FSDP")
        assert "see model._flat_param" in source.find("model.w").notes[0]
        assert source.find("model.x").notes == ()


@pytest.mark.parametrize("name", ["meta.pt", "common.pt"])
def test_the_small_file_of_a_trainer_is_read_too_and_the_pieces_win(tmp_path: Path, name: str) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": ordinary(2)})
    torch.save({"epoch": 3, "w": torch.zeros(2), "t": ordinary(3)}, folder / name)
    torch.save({}, folder / "other.pt")
    with open_path(folder) as source:
        assert_whole(source, {"w": ordinary(2), "t": ordinary(3)})
        assert source.listing.metadata["epoch"] == "3"
        assert source.listing.not_opened == ("other.pt",)
    (folder / name).write_bytes(b"PK\3\4")
    with open_path(folder) as source:
        (finding,) = source.listing.findings
        assert (finding.severity, finding.rule, finding.file) == ("error", "bad-shard", name)


def test_what_changed_is_noticed(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": ordinary(2)})
    with open_path(folder) as source:
        assert source.changed() is None
        (folder / ".metadata").write_bytes(b"")
        assert "truncated" in (source.changed() or "")
