from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from tests.factories_safetensors import entry, file_bytes
from tui_params.api.opening import open_source
from tui_params.core.source import Source
from tui_params.errors import SourceChangedError
from tui_params.sources.bytes import neighbours
from tui_params.sources.bytes.local import read_into

COUNT, NBYTES = 200, 1024


def write(path: Path) -> bytes:
    header = {f"w{number:03}": entry("F32", (NBYTES // 4,), NBYTES * number) for number in range(COUNT)}
    data = np.random.default_rng(0).integers(0, 256, COUNT * NBYTES, np.uint8).tobytes()
    path.write_bytes(file_bytes(header, data))
    return data


class Reads:
    """The sizes of the reads of files, as they are made."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        read = read_into

        def noted(descriptor: object, file: object, offset: int, buffer: memoryview) -> None:
            self.sizes.append(len(buffer))
            read(descriptor, file, offset, buffer)  # type: ignore[arg-type]

        patch.setattr(neighbours, "read_into", noted)


def contents(source: Source, names: list[str]) -> bytes:
    return b"".join(block.tobytes() for name in names for block in source.blocks(source.find(name)))


def names_of(numbers: range) -> list[str]:
    return [f"w{number:03}" for number in numbers]


def test_neighbours_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path / "a.safetensors")
    reads = Reads(monkeypatch)
    with open_source(tmp_path / "a.safetensors") as source:
        assert contents(source, names_of(range(COUNT))) == data
        assert reads.sizes == []  # outside of a sweep each is read by itself
        with source.expecting(list):
            assert contents(source, names_of(range(COUNT))) == data
            assert contents(source, names_of(range(COUNT))[::-1])[:NBYTES] == data[-NBYTES:]
    # The first one alone, then more and more, never beyond the end of the file.
    assert reads.sizes[:3] == [NBYTES, 1 << 16, 1 << 17]
    assert sum(reads.sizes[:4]) == COUNT * NBYTES


def test_lone_tensors_are_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.safetensors")
    reads = Reads(monkeypatch)
    with open_source(tmp_path / "a.safetensors") as source, source.expecting(list):
        contents(source, names_of(range(0, COUNT, 10)))
    assert reads.sizes == [NBYTES] * (COUNT // 10)


def test_each_thread_reads_for_itself(tmp_path: Path) -> None:
    data = write(tmp_path / "a.safetensors")
    found: list[bytes] = []
    with open_source(tmp_path / "a.safetensors") as source, source.expecting(list):
        work = [Thread(target=lambda: found.append(contents(source, names_of(range(COUNT))))) for _ in range(3)]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
    assert found == [data] * 3


def test_a_changed_file_is_noticed_by_the_next_read_and_nothing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    data = write(path)
    with open_source(path) as source:
        with source.expecting(list):
            assert contents(source, names_of(range(2))) == data[: 2 * NBYTES]
            status = path.stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
            assert contents(source, names_of(range(2, 3))) == data[2 * NBYTES : 3 * NBYTES]  # read before the change
            with pytest.raises(SourceChangedError):
                contents(source, names_of(range(150, 151)))
        with source.expecting(list), pytest.raises(SourceChangedError):
            contents(source, names_of(range(1)))
