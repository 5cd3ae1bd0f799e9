"""Statistics of stitched tensors are kept between openings, and only for the files that they were computed from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.factories_dcp import by_rank, rows, save_distributed
from tui_params.cache import figures
from tui_params.cache.figures import FigureCache
from tui_params.core.reading.tensor_reading import summarize
from tui_params.sources.detect import open_path
from tui_params.sources.folder.dcp import stamps

WHOLE = torch.arange(1_200_000.0).reshape(1200, 1000)


def kept(folder: Path, cache: Path) -> bool:
    """Whether the statistics of ``w`` were kept; they are kept now."""
    with open_path(folder) as source:
        part = FigureCache(cache).for_source(source)
        if part is None:
            return False
        info = source.find("w")
        found = part.get(info) is not None
        part.put(info, summarize(source, info).figures(info.numel), None)
        part.flush(is_last=True)
        return found


def test_what_is_kept_is_for_all_files_of_a_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = by_rank(save_distributed(tmp_path / "ck", {"w": rows(WHOLE, 3)}, single_file_per_rank=False))
    cache = tmp_path / "cache"
    # Written a moment ago: it may change again unseen.
    assert not kept(folder, cache)
    for module in (figures, stamps):
        monkeypatch.setattr(module, "SETTLED_NS", 0)
    assert [kept(folder, cache), kept(folder, cache)] == [False, True]
    # Each file of the tensor counts, although the figures are kept with one.
    for rank in range(3):
        path = folder / f"__{rank}_0.distcp"
        content = bytearray(path.read_bytes())
        content[2000] ^= 1
        path.write_bytes(content)
        os.utime(path, (1, 1))
        assert [kept(folder, cache), kept(folder, cache)] == [False, True]
    (folder / "__1_0.distcp").unlink()
    with open_path(folder) as source:
        assert source.data_file(source.find("w")) is None
