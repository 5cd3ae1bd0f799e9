"""One file of a numbered set, opened by its path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.factories_gguf import gguf_bytes, plain
from tui_params import check, open_source
from tui_params.sources.folder.numbered import KEY

W = np.arange(12, dtype=np.float32).reshape(3, 4)


def gguf(path: Path, number: int) -> None:
    about = {"split.no": (2, number), "split.count": (2, 3), "split.tensors.count": (5, 3)}
    path.write_bytes(gguf_bytes([plain(f"w{number}", W)], about))


def safetensors(path: Path, number: int) -> None:
    save_file({f"w{number}": W}, path)


@pytest.mark.parametrize(("suffix", "write"), [("gguf", gguf), ("safetensors", safetensors)])
def test_it_says_that_there_are_others(tmp_path: Path, suffix: str, write: object) -> None:
    assert callable(write)
    paths = [tmp_path / f"model-0000{number + 1}-of-00003.{suffix}" for number in range(3)]
    for number, path in enumerate(paths):
        write(path, number)
    with open_source(paths[1]) as source:
        said = "file 2 of 3, as its name says: the others were not opened (open the folder)"
        assert source.listing.metadata[KEY] == said
        assert source.listing.format.endswith(", file 2 of 3")
        assert check(source).not_opened == (paths[0].name, paths[2].name)
    paths[2].unlink()
    with open_source(paths[1]) as source:
        assert source.listing.not_opened == (paths[0].name,)
    write(paths[2], 2)
    with open_source(tmp_path) as source:
        assert source.names() == ["w0", "w1", "w2"]
        assert source.listing.not_opened == ()
        # What is of one file alone is not said of the whole.
        assert [key for key in source.listing.metadata if KEY in key or "split.no" in key] == []


def test_the_only_file_of_a_set_and_other_names_say_nothing(tmp_path: Path) -> None:
    for name in ("model-00001-of-00001.safetensors", "best-of-3.safetensors", "model.safetensors"):
        save_file({"w": W}, tmp_path / name)
        with open_source(tmp_path / name) as source:
            assert KEY not in source.listing.metadata
            assert source.listing.not_opened == ()
