"""Pieces that torch compressed with zstd: read with a library, told where there is none, bounded whatever they hold."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.factories_dcp import edit_metadata, load_whole, raw_bytes, rows, save_distributed
from tui_params.errors import ReadError
from tui_params.sources.detect import open_path
from tui_params.sources.folder.dcp import windows

VALUE = {"w": torch.arange(24.0).reshape(6, 4), "step": 3, "pair": (torch.ones(2), 1)}


def save_compressed(folder: Path, value: dict[str, Any]) -> Path:
    pytest.importorskip("zstandard")
    from torch.distributed.checkpoint._extension import ZStandard

    return save_distributed(folder, value, _extensions=[ZStandard()])


def test_compressed_pieces_and_objects(tmp_path: Path) -> None:
    folder = save_compressed(tmp_path / "ck", {**VALUE, "cut": rows(torch.arange(10.0).reshape(5, 2), 3)})
    with open_path(folder) as source:
        assert source.listing.findings == ()
        assert source.listing.metadata["step"] == "3"
        assert source.read("pair.0").tolist() == [1, 1]
        for name, tensor in {**load_whole(folder), "cut": torch.arange(10.0).reshape(5, 2)}.items():
            assert b"".join(block.tobytes() for block in source.blocks(source.find(name))) == raw_bytes(tensor)
            assert source.read(name).tobytes() == raw_bytes(tensor)


def test_without_the_library_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_distributed(tmp_path / "ck", VALUE)

    def say_compressed(metadata: Any) -> None:
        for info in metadata.storage_data.values():
            info.transform_descriptors = ["stream.zstd/1"]

    edit_metadata(folder, say_compressed)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with open_path(folder) as source:
        with pytest.raises(ReadError, match=r"compressed with zstd: pip install 'tui-params\[zstd\]' to read it"):
            source.read("w")
        assert "pip install" in (source.find("step").unreadable or "")


def test_an_unknown_transform_is_named(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "ck", {"w": torch.ones(2)})

    def transform(metadata: Any) -> None:
        for info in metadata.storage_data.values():
            info.transform_descriptors = ["stream.rot13/1"]

    edit_metadata(folder, transform)
    with open_path(folder) as source:
        assert source.find("w").shape == (2,)
        with pytest.raises(ReadError, match=r"transform stream\.rot13/1, which is not known here"):
            source.read("w")


def test_what_unpacks_to_more_than_a_piece_can_have_is_refused(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    folder = save_compressed(tmp_path / "ck", {"w": torch.ones(2)})
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    (folder / "__0_0.distcp").write_bytes(bomb)

    def place(metadata: Any) -> None:
        for info in metadata.storage_data.values():
            info.offset, info.length = 0, len(bomb)

    edit_metadata(folder, place)
    with open_path(folder) as source, pytest.raises(ReadError, match="unpacks to more than 65,544 bytes"):
        source.read("w")


def test_damaged_and_truncated_streams(tmp_path: Path) -> None:
    folder = save_compressed(tmp_path / "ck", {"w": torch.arange(1000.0)})
    path = folder / "__0_0.distcp"
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with open_path(folder) as source, suppress(ReadError):
            source.read("w")
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with open_path(folder) as source, pytest.raises(ReadError):
            source.read("w")


def test_what_is_unpacked_is_kept_within_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_compressed(tmp_path / "ck", {f"w{number}": torch.full((500,), float(number)) for number in range(5)})
    monkeypatch.setattr(windows, "MAX_HELD_NBYTES", 8_000)
    with open_path(folder) as source:
        for _ in range(2):
            for number in range(5):
                assert source.read(f"w{number}", "[:2]").tolist() == [number, number]
    monkeypatch.setattr(windows, "MAX_HELD_NBYTES", 1)
    monkeypatch.setattr(windows, "_SLACK_NBYTES", 1)
    with open_path(folder) as source, pytest.raises(ReadError, match="no more than 1 B are unpacked at once"):
        source.read("w0")
