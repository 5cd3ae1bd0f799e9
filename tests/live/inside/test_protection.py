"""Memory that must not be written to, as Linux lists it and as the kernel says."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import pytest

pytest.importorskip("torch")
from tui_params.live.inside.protection import _takes, judge, why_not_writable

MAPS = """\
1000-2000 r--p 00000000 08:01 131 /usr/lib/weights with blanks.bin
2000-3000 rw-p 00000000 00:00 0
3000-4000 rw-s 00000000 08:01 132 /data/model.bin
4000-5000 rw-s 00000000 00:01 133 /dev/shm/torch_1_2_3 (deleted)
5000-6000 r--p 00000000 00:00 0
not a line of it
6000-7000 rw-p 00000000 00:00 0                          [heap]
"""


@pytest.mark.parametrize(
    ("start", "stop", "words"),
    [
        (0x2000, 0x3000, None),
        (0x4000, 0x5000, None),
        (0x6000, 0x6001, None),
        (0x1FFF, 0x2001, "read-only: it is mapped from /usr/lib/weights with blanks.bin"),
        (0x2FFF, 0x3001, "the file /data/model.bin itself"),
        (0x5000, 0x5001, "its memory is read-only"),
        (0x8000, 0x9000, None),
    ],
)
def test_maps_are_judged(start: int, stop: int, words: str | None) -> None:
    found = judge(MAPS, start, stop)
    assert found is None if words is None else words in (found or "")


def test_the_kernel_is_asked_without_writing(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"x" * 8192)
    memory = ctypes.create_string_buffer(b"abc", 64)
    assert _takes(ctypes.addressof(memory))
    assert memory.raw[:3] == b"abc"
    assert why_not_writable(ctypes.addressof(memory), ctypes.addressof(memory) + 64) is None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        import numpy as np

        address = np.frombuffer(mapped, np.uint8).ctypes.data
        assert not _takes(address)
        assert "read-only" in (why_not_writable(address, address + 8192) or "")
