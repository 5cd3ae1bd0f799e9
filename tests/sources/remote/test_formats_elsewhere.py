"""Every container, read from elsewhere as it is read from this disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_dcp import save_distributed
from tests.factories_gguf import gguf_bytes, plain
from tests.factories_onnx import external, model, tensor
from tests.factories_remote import FolderTransport, mounted
from tests.factories_runs import write_trainer
from tui_params.api.checking import check
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path

VALUES = np.random.default_rng(0).normal(size=(200, 30)).astype("f4")


def torch_zip(folder: Path) -> Path:
    torch.save({f"layer.{index}": torch.from_numpy(VALUES) + index for index in range(30)}, folder / "x.pt")
    return folder / "x.pt"


def torch_legacy(folder: Path) -> Path:
    state = {"w": torch.from_numpy(VALUES), "t": torch.from_numpy(VALUES).t()}
    torch.save(state, folder / "x.bin", _use_new_zipfile_serialization=False)
    return folder / "x.bin"


def npz(folder: Path) -> Path:
    np.savez(folder / "x.npz", w=VALUES, b=VALUES[0])
    return folder / "x.npz"


def packed_npz(folder: Path) -> Path:
    np.savez_compressed(folder / "x.npz", w=VALUES, b=VALUES[0])
    return folder / "x.npz"


def npy(folder: Path) -> Path:
    np.save(folder / "x.npy", VALUES)
    return folder / "x.npy"


def gguf(folder: Path) -> Path:
    (folder / "x.gguf").write_bytes(gguf_bytes([plain("w", VALUES), plain("b", VALUES[0])]))
    return folder / "x.gguf"


def onnx(folder: Path) -> Path:
    (folder / "w.data").write_bytes(VALUES.tobytes())
    beside = external("beside", VALUES.shape, 1, location="w.data")
    (folder / "x.onnx").write_bytes(model([tensor("w", VALUES.shape, 1, raw=VALUES.tobytes()), beside]))
    return folder / "x.onnx"


def hdf5(folder: Path) -> Path:
    with h5py.File(folder / "x.h5", "w") as file:
        file["layers/dense/kernel"] = VALUES
        file.create_dataset("layers/dense/packed", data=VALUES, chunks=(50, 30), compression="gzip", shuffle=True)
    return folder / "x.h5"


def folder_of_files(folder: Path) -> Path:
    (folder / "step").mkdir()
    save_file({"w": torch.from_numpy(VALUES)}, folder / "step" / "model.safetensors")
    (folder / "step" / "config.json").write_text('{"model_type": "llama"}')
    return folder / "step"


def distributed(folder: Path) -> Path:
    return save_distributed(folder / "dcp", {"w": torch.from_numpy(VALUES), "b": torch.arange(7.0)})


def trainer(folder: Path) -> Path:
    linear = torch.nn.Linear(30, 20)
    write_trainer(folder / "checkpoint-5", linear)
    return folder / "checkpoint-5"


@pytest.mark.parametrize(
    "write",
    [torch_zip, torch_legacy, npz, packed_npz, npy, gguf, onnx, hdf5, folder_of_files, distributed, trainer],
    ids=lambda write: write.__name__,
)
def test_the_same_as_on_this_disk(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    target = write(tmp_path)
    with open_path(target) as here, mounted(FolderTransport(tmp_path)) as mount:
        there = open_path(mount / target.relative_to(tmp_path))
        assert there.listing.tensors == here.listing.tensors
        assert there.listing.metadata == here.listing.metadata
        for info in here.listing.tensors:
            np.testing.assert_array_equal(there.read(info.name), here.read(info.name))
        ours, theirs = check(here), check(there)
        assert theirs.findings == ours.findings
        assert (theirs.checked, theirs.unchecked) == (ours.checked, ours.unchecked)


def test_hdf5_that_does_not_arrive_says_what_the_server_said(tmp_path: Path) -> None:
    target = hdf5(tmp_path)
    transport = FolderTransport(tmp_path)

    def refuse(path: str, begin: int, end: int) -> None:
        if begin:
            raise OSError("the line is dead")

    with mounted(transport) as mount:
        transport.before = refuse
        with pytest.raises(OpenError, match=r"^x\.h5 cannot be read: the line is dead$"):
            open_path(mount / target.name)
