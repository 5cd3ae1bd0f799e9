"""The quick reading of metadata says what the inert machine says, or nothing: for whole, damaged and odd files."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_dcp import by_rank, edit_metadata, rows, save_distributed
from tui_params.errors import OpenError
from tui_params.sources.folder.dcp.builder import Builder, Put
from tui_params.sources.folder.dcp.metadata import Metadata
from tui_params.sources.folder.dcp.scanner import Scan, scan_metadata
from tui_params.sources.inert_pickle.calls import code_finding
from tui_params.sources.inert_pickle.machine import PickleMachine

NUMBER = int(os.environ.get("TUI_PARAMS_FUZZ_DCP", "1000"))


def by_machine(data: bytes) -> Metadata | None:
    machine = PickleMachine(data, 0, "x", pid_length=0)
    try:
        machine.load()
        return Builder("x").finish(machine.root)
    except OpenError:
        return None


def faults_of(data: bytes) -> list[Any]:
    """What the inert machine says of the pickle itself: damage, and code."""
    machine = PickleMachine(data, 0, "x", pid_length=0)
    machine.load()
    code = code_finding([(machine.calls, machine.globals.values())])
    return [*machine.faults.found, *([] if code is None else [code])]


def plain(metadata: Metadata | None) -> Any:
    """Everything that is said, without the numbers by which chunks and files are counted."""
    if metadata is None:
        return None
    tensors = [
        (
            tensor.name,
            tensor.shape,
            tensor.dtype,
            tensor.is_pairs,
            [
                (metadata.chunks.starts[number], metadata.chunks.shapes[number], metadata.window(number))
                for number in range(tensor.first, tensor.first + tensor.count)
            ],
        )
        for tensor in metadata.tensors
    ]
    return tensors, metadata.objects, metadata.paths, metadata.strays, metadata.faults


def made(shapes: list[tuple[int, ...]], ranks: int, dtypes: list[torch.dtype], names: str, scale: int) -> bytes:
    """The metadata that torch's classes pickle to, for tensors of these shapes in runs of rows."""
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import (
        BytesStorageMetadata,
        ChunkStorageMetadata,
        Metadata,
        MetadataIndex,
        TensorProperties,
        TensorStorageMetadata,
    )

    listed: dict[str, Any] = {}
    stored: dict[Any, Any] = {}
    offset = 0
    for number, shape in enumerate(shapes):
        name = f"{names}{number}"
        cut = rows(torch.empty(shape, device="meta"), ranks) if shape else None
        boxes = [((), ())] if cut is None else cut.boxes
        chunks = [ChunkStorageMetadata(torch.Size(start), torch.Size(sizes)) for start, sizes in boxes]
        properties = TensorProperties(dtype=dtypes[number % len(dtypes)])
        listed[name] = TensorStorageMetadata(properties, torch.Size(shape), chunks)
        if number % 5 == 0:
            listed[f"{name}.object"] = BytesStorageMetadata()
            stored[MetadataIndex(f"{name}.object")] = _StorageInfo("__0_0.distcp", offset, 100)
        # The names of other ranks are other objects: they were pickled on their way.
        own = name if number % 2 else "".join(name)
        for rank, chunk in enumerate(chunks):
            stored[MetadataIndex(own, chunk.offsets, rank)] = _StorageInfo(f"__{rank}_0.distcp", offset, 5000)
            offset += 5000 * scale
    paths: Any = {name: (*name.split("."), number) for number, name in enumerate(listed)}
    return pickle.dumps(Metadata(listed, paths, stored, None, "1.0.0"), protocol=4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 70_000), max_size=5).map(tuple), max_size=12),
    st.integers(1, 4),
    st.lists(st.sampled_from([torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int64]), min_size=1),
    st.sampled_from(["w", "model.layers.", "wörter.", "x" * 120, "y" * 300, "\x94\x8c"]),
    st.sampled_from([1, 1000, 10**6, 10**10]),
)
def test_it_says_what_the_machine_says(
    shapes: list[tuple[int, ...]], ranks: int, dtypes: list[torch.dtype], names: str, scale: int
) -> None:
    small = [tuple(dim % 300 for dim in shape) if len(shape) > 1 else shape for shape in shapes]
    data = made(small, ranks, dtypes, names, scale)
    found = scan_metadata(data, "x")
    assert found is not None
    assert plain(found) == plain(by_machine(data))


@pytest.mark.parametrize(("shapes", "ranks"), [([(2201, 3)], 1101), ([(8, 4), (7,), ()] * 700, 3)])
def test_several_frames_and_batches(shapes: list[tuple[int, ...]], ranks: int) -> None:
    data = made(shapes, ranks, [torch.float32, torch.bfloat16], "model.w", 1)
    assert data.count(b"\x95") > 2
    found = scan_metadata(data, "x")
    assert found is not None
    assert plain(found) == plain(by_machine(data))


def test_what_torch_saves_is_taken_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {f"w{number}": rows(torch.ones(6, 2), 3) for number in range(50)}
    data = (by_rank(save_distributed(tmp_path / "ck", value, thread_count=3)) / ".metadata").read_bytes()
    taken = []
    placing = Builder.placing

    def counting(self: Builder) -> Put:
        put = placing(self)

        def count(*arguments: Any) -> None:
            taken.append(arguments)
            put(*arguments)

        return count

    monkeypatch.setattr(Builder, "placing", counting)
    scan = Scan(data[11:], "x")
    scan.run()
    # The first of each kind goes one instruction after the other.
    assert len(scan.builder.tensors) == 49
    assert len(taken) == 149


def test_damaged_metadata_are_read_alike_or_not_at_all_fuzz() -> None:
    whole = made([(6, 2), (5,), (), (8, 3, 2), (6, 2)], 3, [torch.float32, torch.bfloat16], "model.w", 1000)
    random = Random(NUMBER)
    alike = 0
    for _ in range(NUMBER):
        content = bytearray(whole)
        for _ in range(random.randint(1, 2)):
            content[random.randrange(len(content))] = random.choice([random.randrange(256), *whole[:40]])
        try:
            found = scan_metadata(bytes(content), "x")
        except OpenError:
            assert by_machine(bytes(content)) is None
            continue
        if found is not None:
            alike += 1
            assert plain(found) == plain(by_machine(bytes(content)))
            assert faults_of(bytes(content)) == []
    assert alike > NUMBER // 20


@pytest.mark.parametrize("protocol", [0, 2, 3])
def test_other_protocols_are_left_to_the_machine(tmp_path: Path, protocol: int) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": torch.ones(2)})
    data = (folder / ".metadata").read_bytes()
    assert scan_metadata(data, "x") is not None
    other = pickle.dumps(pickle.loads(data), protocol=protocol)
    assert scan_metadata(other, "x") is None
    assert plain(by_machine(other)) == plain(by_machine(data))


def test_another_global_is_left_to_the_machine(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": torch.ones(2)})
    edit_metadata(folder, lambda metadata: setattr(metadata, "planner_data", {"w": print}))
    assert scan_metadata((folder / ".metadata").read_bytes(), "x") is None


def test_a_wrong_number_is_found_by_its_start_beside_a_tensor_without_chunks(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", {"a": torch.ones(2), "b": torch.ones(3)})

    def change(metadata: Any) -> None:
        metadata.state_dict_metadata["a"].chunks.clear()
        metadata.storage_data = {replace(key, index=7): place for key, place in metadata.storage_data.items()}

    edit_metadata(folder, change)
    data = (folder / ".metadata").read_bytes()
    found = by_machine(data)
    assert found is not None
    assert found.strays == 1
    assert found.window(0) is not None
