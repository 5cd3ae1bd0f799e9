"""Folders that hold nothing that is opened: they say what they hold."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from safetensors.torch import save_file

from tui_params.errors import OpenError
from tui_params.sources.detect import open_path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.pte", b"\x38\0\0\0ET12" + bytes(40), "is a program of ExecuTorch (.pte); this format cannot be opened yet"),
        ("m.mlmodel", b"\x08\x06\x12\x00\xaa\x1f\x00", "is a model of Core ML (.mlmodel); this format"),
        ("w", b"\x02\0\0\0\0\0\0\0{}", "can be opened by its path"),
        ("m.mar", None, "is a TorchServe archive (.mar), and 'm' in it cannot be read: it is compressed; unpack"),
    ],
)
def test_a_folder_without_tensor_files_says_what_it_holds(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for other in ("a.json", "b.txt"):
        (folder / other).write_text("{}")
    if content is None:
        torch.save({"w": torch.zeros(9)}, tmp_path / "m.pt")
        with ZipFile(folder / name, "w", ZIP_DEFLATED) as archive:
            archive.write(tmp_path / "m.pt", "m.pt")
            archive.writestr("MAR-INF/MANIFEST.json", "{}")
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(OpenError, match=re.escape(f"a cannot be opened as a folder: {name} {said}")):
        open_path(folder)


def test_subfolders_that_are_checkpoints_of_another_kind(tmp_path: Path) -> None:
    for step in ("1", "2"):
        (tmp_path / step / "default" / "d").mkdir(parents=True)
        (tmp_path / step / "_CHECKPOINT_METADATA").write_text("{}")
        (tmp_path / step / "default" / "manifest.ocdbt").write_bytes(b"\x0c\xdb\x3a\x2a")
    said = r"; its subfolder 1 is a checkpoint of Orbax \(jax\); this format cannot be opened yet"
    with pytest.raises(OpenError, match=f"{said}; 2 holds tensors, too$"):
        open_path(tmp_path)
    (tmp_path / "x").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "x" / "model.safetensors")
    with pytest.raises(OpenError, match=f"{said}; x holds tensors, too$"):
        open_path(tmp_path)


def test_files_of_formats_that_are_not_opened_are_mentioned(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "flax_model.msgpack").write_bytes(b"\x81")
    assert open_path(tmp_path).listing.metadata["folder.not_opened"] == "flax_model.msgpack (open by path)"


def test_the_values_of_a_tensorflow_checkpoint(tmp_path: Path) -> None:
    data = tmp_path / "variables.data-00000-of-00001"
    data.write_bytes(b"\x3f" * 64)
    with pytest.raises(OpenError, match="is in no format that is known here"):
        open_path(data)
    (tmp_path / "variables.index").write_bytes(bytes(40) + (0xDB4775248B80FB57).to_bytes(8, "little"))
    for path in (data, tmp_path):
        with pytest.raises(OpenError, match="of the values of a TensorFlow checkpoint, whose index lies beside it"):
            open_path(path)
