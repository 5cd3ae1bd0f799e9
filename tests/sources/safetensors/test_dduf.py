"""DDUF files and other uncompressed zips with safetensors files in them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tui_params.api.checking import check
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path

WHOLE = {
    "vae": {"decoder.weight": torch.arange(12.0).reshape(3, 4), "decoder.bias": torch.ones(3)},
    "unet": {"conv.weight": torch.arange(6.0).bfloat16(), "scalar": torch.tensor(2.5)},
}


def write(path: Path, method: int = zipfile.ZIP_STORED, index: bool = True) -> Path:
    """A pipeline of two models as huggingface_hub writes it: with ZIP64 fields, the index first."""
    entries: dict[str, bytes] = {}
    if index:
        classes = {"vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DModel"]}
        entries["model_index.json"] = json.dumps({"_class_name": "Pipe", **classes}).encode()
    for folder, tensors in WHOLE.items():
        entries[f"{folder}/config.json"] = b"{}"
        entries[f"{folder}/diffusion_pytorch_model.safetensors"] = save(tensors)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            with archive.open(zipfile.ZipInfo(name) if not method else name, "w", force_zip64=True) as member:
                member.write(data)
    return path


def test_all_models_stand_in_one_tree(tmp_path: Path) -> None:
    with open_path(write(tmp_path / "pipe.dduf")) as source:
        assert source.listing.format == "DDUF (2 safetensors files)"
        assert source.listing.modules == {"vae": "AutoencoderKL", "unet": "UNet2DModel"}
        assert source.listing.metadata["model_index._class_name"] == "Pipe"
        for folder, tensors in WHOLE.items():
            for name, tensor in tensors.items():
                assert torch.equal(torch.from_numpy(source.read(f"{folder}.{name}").astype("f8")), tensor.double())
        report = check(source)
        assert report.status == "ok"
        assert not report.unchecked


def test_a_flipped_bit_is_found_by_the_checksum_of_its_member(tmp_path: Path) -> None:
    path = write(tmp_path / "pipe.dduf")
    with open_path(path) as source:
        offset = source.find("vae.decoder.weight").offset
    assert offset is not None
    content = bytearray(path.read_bytes())
    content[offset + 1] ^= 1
    path.write_bytes(content)
    (finding,) = [finding for finding in check(path).findings if finding.severity == "error"]
    assert finding.rule == "checksum"
    assert "vae/diffusion_pytorch_model.safetensors" in finding.evidence


def test_a_compressed_member_is_named(tmp_path: Path) -> None:
    with open_path(write(tmp_path / "pipe.dduf", zipfile.ZIP_DEFLATED)) as source:
        assert len(source) == 0
        assert {finding.rule for finding in source.listing.findings} == {"bad-part"}
        assert "is compressed" in source.listing.findings[0].evidence


def test_a_plain_zip_is_known_by_its_first_member(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.safetensors", save(WHOLE["vae"]))
    with open_path(path) as source:
        assert source.names() == ["decoder.bias", "decoder.weight"]
        assert source.listing.format == "zip (1 safetensors file)"


def test_every_cut_is_one_clear_error_or_a_listing(tmp_path: Path) -> None:
    whole = write(tmp_path / "pipe.dduf").read_bytes()
    path = tmp_path / "cut.dduf"
    for end in range(1, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(OpenError):
            open_path(path)
