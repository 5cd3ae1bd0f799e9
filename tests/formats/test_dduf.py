"""DDUF files as huggingface_hub writes them, compared with its own reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file

from tui_params.api.checking import check
from tui_params.sources.detect import open_path

hub = pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.formats


def test_a_pipeline_in_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "pipe"
    (folder / "vae").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "Pipe", "vae": ["diffusers", "AutoencoderKL"]}))
    (folder / "vae" / "config.json").write_text("{}")
    save_file({"a.weight": torch.randn(40, 30), "b": torch.ones(5).half()}, folder / "vae" / "model.safetensors")
    hub.export_folder_as_dduf(tmp_path / "x.dduf", folder)
    entry = hub.read_dduf_file(tmp_path / "x.dduf")["vae/model.safetensors"]
    with entry.as_mmap() as raw:
        expected = load(bytes(raw))
    with open_path(tmp_path / "x.dduf") as source:
        assert source.listing.format == "DDUF (1 safetensors file)"
        assert {info.name: info.offset for info in source}["vae.a.weight"] is not None
        for name, tensor in expected.items():
            assert source.read(f"vae.{name}").tobytes() == tensor.numpy().tobytes()
        assert check(source).status == "ok"
