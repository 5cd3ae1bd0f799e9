"""Readers of one file elsewhere, at the same time: each gets its bytes, and each byte comes once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_params.errors import ReadError, SourceChangedError
from tui_params.sources.remote import ranged_file
from tui_params.sources.remote.crew import Crew
from tui_params.sources.remote.ranged_file import RangedFile, Version
from tui_params.sources.remote.transport import Piece

CONTENT = random.Random(0).randbytes(40_000)
SPAN = st.tuples(st.integers(-50, 41_000), st.integers(0, 6_000)).map(lambda pair: (pair[0], pair[0] + pair[1]))


class Host:
    """A server in memory; ``most`` bounds what is held, ``before`` is called in each request."""

    address = "test://server"

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.before: Callable[[int, int], None] = lambda begin, end: None
        self.content = CONTENT
        self.asked: list[tuple[int, int]] = []
        self.stored: dict[tuple[int, int], bytes] = {}
        self._held: list[tuple[RangedFile, int, int]] = []
        self._crew = Crew(4)
        self._lock = threading.Lock()

    def fetch(self, path: str, begin: int, end: int, version: str | None) -> Piece:
        with self._lock:
            self.asked.append((begin, end))
        self.before(begin, end)
        return Piece(self.content[begin:end], len(self.content), version)

    def call(self, work: partial[None]) -> None:
        self._crew.call(work)

    def holds(self, file: RangedFile, begin: int, nbytes: int) -> None:
        out = []
        with self._lock:
            self._held.append((file, begin, nbytes))
            while self.most is not None and sum(count for _, _, count in self._held) > self.most:
                out.append(self._held.pop(0))
        for other, first, _ in out:
            other.forget(first)

    def kept(self, key: str) -> Sequence[tuple[int, int]]:
        return sorted(self.stored)

    def keep(self, key: str, begin: int, data: bytes) -> bool:
        self.stored[begin, begin + len(data)] = data
        return True

    def load(self, key: str, begin: int, end: int) -> bytes | None:
        return self.stored.get((begin, end))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_file, "PIECE", 1_000)
    monkeypatch.setattr(ranged_file, "AHEAD", 3_000)
    monkeypatch.setattr(ranged_file, "_NEAR", 20)


def opened(host: Host) -> RangedFile:
    return RangedFile(host, "x.bin", Version(len(CONTENT), "1"))


def is_once(asked: Sequence[tuple[int, int]]) -> bool:
    """Whether no byte was asked for twice."""
    asked = sorted(asked)
    return all(first[1] <= second[0] for first, second in pairwise(asked))


@settings(max_examples=60)
@given(st.lists(st.tuples(SPAN, st.sampled_from(["read", "coming", "expecting", "many"])), max_size=12))
def test_any_order_of_reads(steps: list[tuple[tuple[int, int], str]]) -> None:
    host = Host()
    file = opened(host)
    with ExitStack() as stack:
        for (begin, end), how in steps:
            begin, end = max(begin, 0), max(end, 0)
            if how == "coming":
                stack.enter_context(file.coming([(begin, end)]))
            elif how == "many":
                stack.enter_context(file.coming([(at, at + 7) for at in range(begin, end, 300)]))
            elif how == "expecting":
                stack.enter_context(file.expecting([(begin, end), (end + 5, end + 50)]))
            assert file.read(begin, end - begin) == CONTENT[begin:end]
    assert is_once(host.asked)
    assert all(end - begin <= 1_000 for begin, end in host.asked)


@pytest.mark.parametrize("most", [None, 2_500])
def test_many_readers_at_once(most: int | None) -> None:
    host = Host(most)
    file = opened(host)

    def reader(seed: int) -> None:
        numbers = random.Random(seed)
        for _ in range(60):
            begin = numbers.randrange(len(CONTENT))
            end = begin + numbers.randrange(4_000)
            with file.coming([(begin, end)]):
                for at in range(begin, end, 700):
                    assert file.read(at, min(700, end - at)) == CONTENT[at : min(at + 700, end)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(reader, range(8)))
    if most is None:
        assert is_once(host.asked)
    else:
        assert sum(count for _, _, count in host._held) <= most


def test_an_error_reaches_every_reader_and_is_forgotten() -> None:
    host = Host()
    file = opened(host)
    came, may_go = threading.Barrier(2), threading.Event()

    def fail(begin: int, end: int) -> None:
        came.wait(100)
        may_go.wait(100)
        raise OSError("the line is dead")

    host.before = fail
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(file.read, 100, 200)
        came.wait(100)
        second = threads.submit(file.read, 150, 50)
        may_go.set()
        host.before = lambda begin, end: None
        with pytest.raises(OSError, match="the line is dead"):
            first.result(10)
        # It waited for the first, or asked by itself once that had failed.
        assert second.exception(10) is not None or second.result() == CONTENT[150:200]
    assert file.read(100, 200) == CONTENT[100:300]


def test_what_the_server_takes_back_is_a_change_for_good() -> None:
    host = Host()
    file = opened(host)
    assert file.read(0, 10) == CONTENT[:10]
    host.content = CONTENT + b"more"
    with pytest.raises(SourceChangedError, match=r"x\.bin changed from 40,000 to 40,004 bytes on the server"):
        file.read(500, 10)
    host.content = CONTENT
    with pytest.raises(SourceChangedError):
        file.read(500, 10)
    assert file.read(0, 10) == CONTENT[:10]
    assert "changed" in (file.changed() or "")


def test_what_is_kept_is_not_asked_for_again() -> None:
    host = Host()
    assert opened(host).read(3_000, 5_000) == CONTENT[3_000:8_000]
    before = len(host.asked)
    file = opened(host)
    assert file.read(3_500, 4_000) == CONTENT[3_500:7_500]
    assert len(host.asked) == before
    del host.stored[4_000, 5_000]
    file = opened(host)
    host.stored[4_000, 5_000] = CONTENT[4_000:5_000]
    kept, host.stored = host.stored, {}
    assert file.read(3_500, 4_000) == CONTENT[3_500:7_500]
    assert len(host.asked) > before
    assert kept


def test_a_server_that_is_gone_costs_its_patience_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(ranged_file, "monotonic", lambda: now[0])
    host = Host()
    file = opened(host)

    def give_up(begin: int, end: int) -> None:
        now[0] += 40.0
        raise ReadError("server did not answer")

    host.before = give_up
    for _ in range(50):
        with pytest.raises(OSError, match=r"^server did not answer$"):
            file.read(100, 200)
    assert len(host.asked) == 1
    now[0] += 10.1
    with pytest.raises(OSError, match=r"^server did not answer$"):
        file.read(20_000, 200)
    assert len(host.asked) == 2
    host.before = lambda begin, end: None
    with pytest.raises(OSError, match=r"^server did not answer$"):
        file.read(100, 200)
    now[0] += 10.1
    assert file.read(100, 200) == CONTENT[100:300]
    assert file.read(20_000, 200) == CONTENT[20_000:20_200]


def test_a_refusal_that_cost_no_time_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_file, "monotonic", lambda: 100.0)
    host = Host()
    file = opened(host)

    def refuse(begin: int, end: int) -> None:
        raise ReadError("server accepts no connection")

    host.before = refuse
    with pytest.raises(OSError, match="no connection"):
        file.read(100, 200)
    host.before = lambda begin, end: None
    assert file.read(100, 200) == CONTENT[100:300]
