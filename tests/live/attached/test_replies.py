"""Replies that no server of ours gives: a sentence each, no descriptor left open, and bounded memory."""

from __future__ import annotations

import copy
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.live.attached.impostor import HELLO, Impostor, impostor
from tests.live.inside.test_roll import ABOUT, FRAME, odd_model
from tui_params.errors import OpenError, ReadError, TuiParamsError
from tui_params.live.attached import connection
from tui_params.live.attached import source as attached
from tui_params.live.attached.finding import find_serving
from tui_params.live.attached.process_memory import ProcessMemory
from tui_params.live.attached.roll_reader import read_roll
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside.roll import ServedProbe
from tui_params.live.watching.condition import parse_condition
from tui_params.live.watching.source import WatchedSource
from tui_params.live.watching.watch import Watch, choose_watched

FRAMES: list[Any] = json.loads(json.dumps(list(ServedProbe(*odd_model()).enroll().frames())))
WORDS = "answers in a way that is not understood"


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="open descriptors are counted in /proc")


@pytest.fixture
def other(runtime: Path) -> Iterator[Impostor]:
    with impostor(runtime) as found:
        found.say_list([FRAME, ABOUT])
        yield found


def handed(other: Impostor) -> int:
    """How many descriptors of what it hands over are open in this process, beside its own and its map's."""
    page, found = os.fstat(other.page.fd), 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.path.samestat(os.fstat(int(number)), page)
    return found - 2


def places(of: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside plain data."""
    yield path
    if isinstance(of, dict | list):
        for key in of if isinstance(of, dict) else range(len(of)):
            yield from places(of[key], (*path, key))


PLACES = [path for path in places(FRAMES) if path]
VALUES = st.one_of(
    st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.sampled_from([[], {}, [[]], [0, 0], {"a": 1}]),
    st.integers(-3, 9), st.sampled_from([2**31, 2**40, 2**62, 2**63 - 1, 2**63, 2**64, 10**40, -(2**63)]),
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES, st.booleans()), min_size=1, max_size=3))
def test_whatever_is_said_of_tensors_nothing_but_our_own_errors_come_of_it(
    changes: list[tuple[tuple[Any, ...], Any, bool]],
) -> None:
    frames = copy.deepcopy(FRAMES)
    for path, value, is_removed in changes:
        with suppress(KeyError, IndexError, TypeError, AttributeError):
            at = frames
            for key in path[:-1]:
                at = at[key]
            if is_removed:
                del at[path[-1]]
            else:
                at[path[-1]] = value
    if type(frames) is not list or not all(type(frame) is dict for frame in frames):
        return  # no frames: it is the connection that sees to it
    try:
        roll = read_roll(frames)
    except ReadError:
        return
    for info, place in zip(roll.listing.tensors, roll.addresses, strict=True):
        assert roll.handles[info.name] < len(roll.addresses)
        assert info.unreadable or info.dtype.nbytes(info.numel) == info.nbytes
        assert place is None or 0 <= place < 2**63


@settings(max_examples=60)
@example([0, 2**11, 2**21, 2**30], None, "float32", 0)
@given(
    st.lists(st.integers(0, 2**40), max_size=4),
    st.lists(st.integers(0, 2**40), max_size=4) | st.none(),
    st.sampled_from(["float32", "bool", "complex64", "bfloat16", "float4_e2m1fn_x2", "nothing"]),
    st.sampled_from([0, 64, 2**47, 2**63 - 1]),
)
def test_tensors_that_are_not_there_cost_nothing(
    shape: list[int], stride: list[int] | None, dtype: str, address: int
) -> None:
    from tui_params.core import dtypes

    numel = 1
    for length in shape:
        numel *= length
    known = dtypes.from_torch(dtype)
    nbytes = 0 if known is None else known.nbytes(numel)
    sort = ["parameter", [], shape, stride, dtype, "cpu", True, numel, nbytes, None]
    with tempfile.TemporaryDirectory(prefix="rt") as runtime, impostor(Path(runtime)) as found:
        found.say_list([FRAME | {"sorts": [sort], "addresses": [address, 0]}, ABOUT])
        found.say("where", ({"addresses": [None], "is_last": True}, ()))
        found.say("copy", ({"error": "no", "is_last": True}, ()))
        with suppress(OpenError), AttachedSource(found.path) as source:
            for read in (source.read, source.summarize):
                with suppress(TuiParamsError):
                    read("a")


def test_a_process_with_another_version_is_left_with_one_sentence(other: Impostor) -> None:
    for hello in (HELLO | {"version": 1}, HELLO | {"version": 3, "pid": "?"}, {"is_last": True}):
        other.say("hello", (hello, (other.page.fd,)))
        with pytest.raises(OpenError) as raised:
            AttachedSource(other.path)
        assert str(raised.value) == (
            "the process serves its model to another version of tui-params: use the same in both"
        )
    # It is listed all the same: who it is is said in every version.
    other.say("hello", (HELLO | {"version": 1}, (other.page.fd,)))
    (found,) = find_serving()
    assert (found.name, found.reason) == ("net", None)
    assert handed(other) == 0


@pytest.mark.parametrize(
    "change",
    [{"pid": -1}, {"pid": 10**30}, {"since": float("nan")}, {"since": 1e300}, {"name": []}, {"command": "x"}],
    ids=str,
)
def test_a_greeting_that_makes_no_sense(other: Impostor, change: dict[str, Any]) -> None:
    other.say("hello", (HELLO | change, (other.page.fd,)))
    (found,) = find_serving()
    assert WORDS in (found.reason or "")
    with pytest.raises(OpenError, match=WORDS):
        AttachedSource(other.path)
    assert handed(other) == 0


def test_what_is_handed_over_unasked_is_closed(other: Impostor) -> None:
    fd = other.page.fd
    other.say("list", (FRAME, (fd, fd)), (ABOUT, (fd,)), ({"is_last": True}, (fd,)))
    other.say("where", ({"addresses": [], "is_last": True}, (fd, fd)))
    with AttachedSource(other.path) as source:
        assert handed(other) == 1  # the page of its steps
        with pytest.raises(TuiParamsError):
            source.read("a")
    del source
    other.say("hello", (HELLO, (fd, fd, fd)))
    with pytest.raises(OpenError, match="shares no memory with the page of its steps"):
        AttachedSource(other.path)
    other.say("hello", (HELLO | {"is_last": False}, (fd,)))
    with pytest.raises(OpenError, match="answers more than it was asked"):
        AttachedSource(other.path)
    assert handed(other) == 0


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"\xff" * 8,),
        (b"\x02\0\0\0\0\0\0\0[]",),
        (b"\x09\0\0\0\0\0\0\0{\"names\":",),
        ({"error": "\x1b[2Jno\n", "is_last": True},),
        (FRAME, {"error": 3}),
        ({"is_last": True},),
        (FRAME, ABOUT, b"\x10\0"),
    ],
    ids=str,
)  # fmt: skip
def test_a_list_that_ends_otherwise(other: Impostor, frames: tuple[Any, ...]) -> None:
    def answer(_: dict[str, Any]) -> Iterator[tuple[Any, tuple[int, ...]]]:
        yield from ((frame, ()) for frame in frames)
        raise OSError  # hangs up

    other.answers["list"] = answer
    with pytest.raises(OpenError) as raised:
        AttachedSource(other.path)
    assert "\n" not in str(raised.value)
    assert "\x1b" not in str(raised.value)
    assert handed(other) == 0


def test_a_process_that_stands_in_the_middle_of_its_list_is_not_waited_for_for_ever(
    other: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def answer(_: dict[str, Any]) -> Iterator[tuple[Any, tuple[int, ...]]]:
        yield FRAME, ()
        yield b"\x09\0\0\0", ()
        go_on.wait(60)

    other.answers["list"] = answer
    monkeypatch.setattr(attached, "LIST_SECONDS", 0.05)
    monkeypatch.setattr(attached, "Connection", partial(connection.Connection, seconds=0.05))
    with pytest.raises(OpenError, match="the other side does not answer: timed out"):
        AttachedSource(other.path)
    go_on.set()


def test_what_lies_on_a_device_is_asked_for_if_the_process_copies_from_there(other: Impostor) -> None:
    on_device = [*FRAME["sorts"][0][:5], "cuda:1", *FRAME["sorts"][0][6:]]
    other.say_list([FRAME | {"sorts": [on_device], "copied_from": ["cuda"]}, ABOUT])
    asked: list[dict[str, Any]] = []

    def answer(question: dict[str, Any]) -> Iterator[tuple[Any, tuple[int, ...]]]:
        asked.append(question)
        yield {"error": "enough", "is_last": True}, ()

    other.answers["copy"] = answer
    with AttachedSource(other.path) as source:
        for name in ("a", "a.grad"):
            with pytest.raises(ReadError, match="enough"):
                source.read(name)
    assert [(question["values"], question["gradients"]) for question in asked] == [([0], []), ([0], [0, 1])]


def test_what_lies_on_a_device_says_so_without_a_question(other: Impostor) -> None:
    on_device = [*FRAME["sorts"][0][:5], "cuda:1", *FRAME["sorts"][0][6:]]
    other.say_list([FRAME | {"sorts": [on_device, *FRAME["sorts"]], "rows": [0, 1], "addresses": [64, 0]}, ABOUT])
    # Nothing else is answered here: a copy that is asked for would end the connection.
    with WatchedSource(other.path) as source:
        assert isinstance(source, WatchedSource)
        for name in ("a", "a.grad"):
            with pytest.raises(ReadError, match="it lies on cuda:1, from where nothing is copied"):
                source.read(name)
        assert source.find("b").unreadable is None
        course = source.courses().of("a")
        assert course is not None
        assert course.reason.startswith("it lies on cuda:1")
        listing = source.listing
        choice = choose_watched(listing, listing.tensors, listing.gradients.values(), [parse_condition("nan")])
        assert [info.name for info, _ in choice.watched] == ["b", "b.grad"]
        assert set(choice.left_out) == {"a", "a.grad"}
        assert source.beat().lost is None


def test_an_answer_without_end_is_refused(other: Impostor, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: dict[str, Any]) -> Iterator[tuple[Any, tuple[int, ...]]]:
        while True:
            yield {"modules": {"m" * 1000: ""}}, ()

    other.answers["list"] = answer
    monkeypatch.setattr(connection, "MAX_ANSWER", 100_000)
    with pytest.raises(OpenError, match="an answer of more than 100,000 bytes, which is refused"):
        AttachedSource(other.path)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, WORDS),
        ({"nbytes": -1, "slots": [[0, 64, 128]]}, WORDS),
        ({"nbytes": 1 << 62, "slots": [[0, 64, 128]]}, "shares less memory than it says"),
        ({"nbytes": 4096, "slots": []}, "0 places for 1 copies"),
        ({"nbytes": 4096, "slots": [[0, 64]]}, WORDS),
        ({"nbytes": 4096, "slots": [[4096, 64, 128]]}, "describes its shared memory wrongly"),
        ({"nbytes": 4096, "slots": [[4, 64, 128]]}, "describes its shared memory wrongly"),
    ],
    ids=str,
)
def test_copies_that_are_described_wrongly(other: Impostor, answer: dict[str, Any], words: str) -> None:
    other.say("copy", (answer | {"is_last": True}, (other.page.fd,)))
    with AttachedSource(other.path) as source, pytest.raises(ReadError, match=words):
        source.read("b.grad")


@pytest.mark.parametrize("answer", [{}, {"ring": 0, "room": 1}, {"ring": 2, "room": -1}, {"ring": 2, "room": 1 << 40}])
def test_a_watch_that_is_described_wrongly(other: Impostor, answer: dict[str, Any]) -> None:
    other.say("watch", (answer | {"is_last": True}, (other.page.fd,)))
    with AttachedSource(other.path) as source:
        choice = choose_watched(source.listing, source.listing.tensors, (), [parse_condition("nan")])
        with pytest.raises(OpenError, match=f"{WORDS}|shares less memory than it says"):
            Watch(source, choice)
        assert handed(other) == 1


def test_memory_beyond_every_address_is_not_read() -> None:
    memory = ProcessMemory(os.getpid())
    with pytest.raises(ReadError, match="memory"), memory.reading() as fill:
        fill(2**63 - 1, memoryview(bytearray(16)))
    memory.close()
