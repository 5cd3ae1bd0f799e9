"""A format that was asked for and does not fit is to blame, not the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_gguf import gguf_bytes, plain
from tui_params.errors import OpenError
from tui_params.sources.detect import READERS, Reader, open_path

FORMS = [row.name for row in READERS if isinstance(row, Reader) and row.reads_files]
ALSO = {("NPZ", "DCP piece"), ("torch.save", "DCP piece"), ("torch.save", "pickle")}
"""Formats that one file has at the same time: the first is what it is taken for."""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file of each of some formats, under names that say nothing."""
    found = {name: tmp_path / f"x{number}" for number, name in enumerate(("NPY", "NPZ", "torch.save", "safetensors"))}
    for name, save in (("NPY", np.save), ("NPZ", np.savez)):
        with found[name].open("wb") as file:
            save(file, np.ones(3, np.float32))
    torch.save({"w": torch.ones(3)}, found["torch.save"])
    save_file({"w": torch.ones(3)}, found["safetensors"])
    found["GGUF"] = tmp_path / "x9"
    found["GGUF"].write_bytes(gguf_bytes([plain("w", np.ones((2, 2), np.float32))]))
    return found


@pytest.mark.parametrize("form", FORMS)
def test_every_format_on_files_of_others(files: dict[str, Path], form: str) -> None:
    for name, path in files.items():
        if name == form or (name, form) in ALSO:
            assert len(open_path(path, form)) == 1
            continue
        with pytest.raises(OpenError) as caught:
            open_path(path, form)
        assert str(caught.value) == f"{path.name} cannot be read as {form}, which was asked for: it looks like {name}"


@pytest.mark.parametrize("form", FORMS)
def test_every_format_on_what_is_none(tmp_path: Path, form: str) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(OpenError, match=r"as .*, which was asked for: it is empty \(0 bytes\)$"):
        open_path(tmp_path / "x", form)
    (tmp_path / "x").write_bytes(b"a letter to nobody\n" * 40)
    with pytest.raises(
        OpenError, match=r"it does not look like it \(760 B, the first bytes are 61 20 6c 65 74 74 65 72\)"
    ):
        open_path(tmp_path / "x", form)


def test_the_first_bytes_of_gguf_are_looked_at(tmp_path: Path) -> None:
    data = gguf_bytes([plain("w", np.ones((2, 2), np.float32))])
    (tmp_path / "x.gguf").write_bytes(b"GGUG" + data[4:])
    with pytest.raises(OpenError, match="cannot be read as GGUF, which was asked for: it does not look like it"):
        open_path(tmp_path / "x.gguf", "GGUF")


def test_a_damaged_file_says_what_is_damaged(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(3))
    (tmp_path / "y").write_bytes((tmp_path / "x.npz").read_bytes()[:-30])
    with pytest.raises(OpenError, match="the zip directory of y is missing"):
        open_path(tmp_path / "y", "NPZ")


def test_a_zip_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"24ka" + bytes(600))
    with pytest.raises(OpenError, match=r"cannot be read as GGUF, which was asked for: it is a model of llama2.c"):
        open_path(tmp_path / "x", "GGUF")
