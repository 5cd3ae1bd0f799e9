"""The pool of file descriptors where the process, or the system, has none left."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.factories_safetensors import entry, file_bytes, write_index
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.sources.bytes import local
from tui_params.sources.bytes.local import DataFile, opened, read_bytes
from tui_params.sources.bytes.pool import FilePool
from tui_params.sources.detect import open_path

ROOT = Path(__file__).parents[3]


@pytest.fixture
def shards(tmp_path: Path) -> list[DataFile]:
    """Ten files of one byte, which is their number."""
    found = []
    for number in range(10):
        path = tmp_path / f"shard{number}"
        path.write_bytes(bytes([number]))
        with opened(path) as (_, file):
            found.append(file)
    return found


class Descriptors:
    """Stands for an operating system that lets ``most`` of the files below ``folder`` be open at once."""

    def __init__(self, folder: Path, most: int, code: int = errno.EMFILE) -> None:
        self.folder = folder
        self.most = most
        self.code = code
        self.open: set[int] = set()
        self.refused = threading.Event()
        self._open, self._close = os.open, os.close

    def take(self, path: Any, flags: int, *more: Any, **named: Any) -> int:
        """``os.open``, which fails where ``most`` are open already."""
        is_ours = str(path).startswith(str(self.folder))
        if is_ours and len(self.open) >= self.most:
            self.refused.set()
            raise OSError(self.code, os.strerror(self.code), str(path))
        descriptor = self._open(path, flags, *more, **named)
        if is_ours:
            self.open.add(descriptor)
        return descriptor

    def give(self, descriptor: int) -> None:
        """``os.close``."""
        self.open.discard(descriptor)
        self._close(descriptor)


@pytest.fixture
def allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Descriptors]:
    """Let only so many files below ``tmp_path`` be open at once."""

    def allowed(most: int, code: int = errno.EMFILE) -> Descriptors:
        system = Descriptors(tmp_path, most, code)
        monkeypatch.setattr(os, "open", system.take)
        monkeypatch.setattr(os, "close", system.give)
        return system

    return allowed


def first_byte(pool: FilePool, file: DataFile) -> int:
    with pool.borrow(file) as descriptor:
        return os.pread(descriptor, 1, 0)[0]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_the_pool_shrinks_where_no_descriptor_is_left(
    shards: list[DataFile], allow: Callable[..., Descriptors], code: int
) -> None:
    pool = FilePool(limit=64)
    system = allow(4, code)
    for _ in range(3):
        assert [first_byte(pool, file) for file in shards] == list(range(10))
    # It keeps half of what it could have, so that others find a descriptor too.
    assert len(pool) == len(system.open) == 2
    for file in shards:
        pool.drop(file)
    assert system.open == set()


def test_one_descriptor_is_enough(shards: list[DataFile], allow: Callable[..., Descriptors]) -> None:
    pool = FilePool(limit=64)
    allow(1)
    assert [first_byte(pool, file) for file in shards] == list(range(10))


def test_a_reader_waits_for_a_descriptor_that_is_in_use(
    shards: list[DataFile], allow: Callable[..., Descriptors]
) -> None:
    pool = FilePool(limit=64)
    system = allow(1)
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(first_byte(pool, shards[1])))
    with pool.borrow(shards[0]) as descriptor:
        waiting.start()
        assert system.refused.wait(60)
        assert os.pread(descriptor, 1, 0) == b"\0"
        assert found == []
    waiting.join()
    assert found == [1]


def test_what_is_dropped_in_use_is_waited_for_too(shards: list[DataFile], allow: Callable[..., Descriptors]) -> None:
    pool = FilePool(limit=64)
    system = allow(1)
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(first_byte(pool, shards[1])))
    with pool.borrow(shards[0]):
        pool.drop(shards[0])
        waiting.start()
        assert system.refused.wait(60)
    waiting.join()
    assert found == [1]


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (errno.EMFILE, r"this process may have no more than [\d,]+ files open \(ulimit -n\)"),
        (errno.ENFILE, "the system has as many files open as it can"),
    ],
)
def test_the_cause_is_named_where_nothing_can_be_closed(
    shards: list[DataFile], allow: Callable[..., Descriptors], code: int, cause: str
) -> None:
    pool = FilePool()
    allow(0, code)
    with pytest.raises(ReadError, match=f"^shard3 cannot be opened any more: {cause}$"):
        first_byte(pool, shards[3])
    with pytest.raises(OpenError, match=f"^shard3 cannot be opened: {cause}$"):
        open_path(shards[3].path)
    assert len(pool) == 0


def test_nobody_waits_for_ever(
    shards: list[DataFile], allow: Callable[..., Descriptors], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = FilePool()
    allow(1)
    monkeypatch.setattr("tui_params.sources.bytes.pool.LONGEST_WAIT", 0)
    with pool.borrow(shards[0]), pytest.raises(ReadError, match="shard1 cannot be opened any more: this process"):
        first_byte(pool, shards[1])


def test_opening_a_file_or_a_folder_frees_descriptors_of_the_pool(
    tmp_path: Path, shards: list[DataFile], allow: Callable[..., Descriptors], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = FilePool(limit=64)
    monkeypatch.setattr(local, "POOL", pool)
    allow(3)
    for file in shards[:3]:
        first_byte(pool, file)
    with opened(shards[4].path) as (descriptor, _):
        assert read_bytes(descriptor, 0, 1) == b"\4"
    assert len(pool) == 0
    first_byte(pool, shards[0])
    tries: list[int] = []

    def scan() -> str:
        tries.append(len(pool))
        if len(pool):
            raise OSError(errno.EMFILE, "Too many open files")
        return "found"

    assert pool.make_room_for(scan) == "found"
    assert tries == [1, 0]
    with pytest.raises(FileNotFoundError):
        pool.make_room_for(lambda: os.stat(tmp_path / "nowhere"))


def test_a_pool_keeps_a_quarter_of_what_the_process_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    for allowed, kept in ((20, 5), (3, 1), (256, 64), (1 << 20, 64), (-1, 64)):
        monkeypatch.setattr(os, "sysconf", lambda name, allowed=allowed: allowed)
        assert FilePool()._limit == kept


def test_200_shards_with_20_descriptors(tmp_path: Path) -> None:
    weight_map = {}
    for number in range(200):
        name = f"model-{number + 1:05}-of-00200.safetensors"
        (tmp_path / name).write_bytes(file_bytes({f"t{number}": entry("U8", (1,), 0)}, bytes([number])))
        weight_map[f"t{number}"] = name
    write_index(tmp_path, weight_map)
    script = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import numpy
from tui_params.sources.detect import open_path
from tui_params.sources.bytes.local import POOL
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
source = open_path(sys.argv[1])
assert source.listing.findings == ()
POOL._limit = 64  # As if the limit had been lowered by others: the pool learns of it the hard way.
with ThreadPoolExecutor(8) as threads:
    for _ in range(2):
        assert [int(values[0]) for values in threads.map(source.read, [f"t{n}" for n in range(200)])] == [*range(200)]
assert len(POOL) <= 20
open(sys.argv[0]).close()
print("read")
"""
    path = tmp_path / "script.py"
    path.write_text(script)
    ran = subprocess.run(
        [sys.executable, str(path), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, "read\n"), ran.stderr


def test_what_goes_wrong_while_a_descriptor_is_lent(shards: list[DataFile]) -> None:
    pool = FilePool()
    with pytest.raises(ReadError, match="shard0 cannot be read: input/output error"), pool.borrow(shards[0]):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(ZeroDivisionError), pool.borrow(shards[0]):
        raise ZeroDivisionError
    with pytest.raises(SourceChangedError, match="shard1 was extended"), pool.borrow(shards[1]):
        shards[1].path.write_bytes(bytes(100))
    with pytest.raises(SourceChangedError, match="shard1 was extended"), pool.borrow(shards[1]):
        raise AssertionError("it was lent")
    assert first_byte(pool, shards[2]) == 2
    # All were given back: nothing is held open once it is dropped.
    assert [pool.lend(file).users for file in (shards[0], shards[2])] == [1, 1]
