"""Suggested names of files are one plain name, whatever the names in a source are."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.export.file_name import suggest_stem


def test_names() -> None:
    assert suggest_stem("model-00001.safetensors", "model.norm.weight") == "model-00001-model.norm.weight"
    assert suggest_stem("demo") == "demo"
    assert suggest_stem("Sequential", "0.weight.grad") == "Sequential-0.weight.grad"
    assert suggest_stem("epoch=3-step=4711.ckpt") == "epoch_3-step_4711"
    assert suggest_stem("größe.pt", "ü/ö") == "größe-ü_ö"
    assert suggest_stem("a", "../../etc/passwd") == "a-etc_passwd"
    assert suggest_stem("..", "/") == "export"
    assert suggest_stem("-rf.pt", "-rf /") == "rf-rf"
    assert suggest_stem("a", "x\x1b]0;y\x07\n\u202ez\ud800") == "a-x_0_y_z"


def test_the_end_of_a_long_name_stays() -> None:
    stem = suggest_stem("m", "model." * 100 + "layers.7.weight")
    assert stem.endswith("layers.7.weight")
    assert len(stem) < 130


@given(st.text(), st.none() | st.text())
def test_any_name_is_one_name_that_file_systems_take(label: str, name: str | None) -> None:
    stem = suggest_stem(label, name)
    assert stem
    assert os.path.basename(stem) == stem
    assert stem[0] not in ".-"
    assert ".." not in stem
    assert stem.isprintable()
    assert len(f"{stem}-screen.json".encode()) < 255


def test_they_can_be_made(tmp_path: Path) -> None:
    stem = suggest_stem("ü" * 300, "😀/\0é" * 300)
    path = tmp_path / f"{stem}-slice.json"
    path.write_bytes(b"")
    assert os.listdir(tmp_path) == [path.name]
