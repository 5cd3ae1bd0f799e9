"""Frames between a viewer and a relay: noise before them, lengths, ends in the middle."""

from __future__ import annotations

import os

import pytest

from tui_params.live.relay.channel import MARK, MAX_NOISE, MAX_RAW, MAX_TEXT, Channel, ChannelError


def channel(data: bytes) -> Channel:
    """One that receives these bytes, and then the end."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return Channel(reading, os.open(os.devnull, os.O_WRONLY))


def test_a_frame_comes_as_it_was_sent() -> None:
    reading, writing = os.pipe()
    there = Channel(os.open(os.devnull, os.O_RDONLY), writing)
    here = Channel(reading, os.open(os.devnull, os.O_WRONLY))
    there.mark()
    there.send(b'{"a":1}', b"\0\1")
    there.send(b"{}")
    there.close()
    here.await_mark()
    assert [here.receive(), here.receive(), here.receive()] == [(b'{"a":1}', b"\0\1"), (b"{}", b""), None]
    assert here.received == len(MARK) + 8 + 7 + 2 + 8 + 2
    with pytest.raises(ChannelError, match="the other side does not answer"):
        there.send(b"{}")
    here.close()


def test_what_a_shell_prints_first_is_passed_over() -> None:
    noisy = channel(b"Welcome to node 7\n" + MARK + b"\2\0\0\0\0\0\0\0{}")
    noisy.await_mark()
    assert noisy.receive() == (b"{}", b"")
    for data, words in (
        (b"sh: 1: no such thing\n", "sh: 1: no such thing"),
        (b"", ""),
        (MARK[:-1], "tui-params relay"),
    ):
        with pytest.raises(ChannelError) as raised:
            channel(data).await_mark()
        assert words in str(raised.value)
    endless = channel(b"y\n" * 1000)
    endless._in = open("/dev/zero", "rb")  # noqa: SIM115
    with pytest.raises(ChannelError, match="without end"):
        endless.await_mark()
    assert endless.received <= MAX_NOISE + len(MARK) + 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((MAX_TEXT + 1).to_bytes(4, "little") + bytes(4), "16,777,217 bytes was announced, which is refused"),
        (bytes(4) + (MAX_RAW + 1).to_bytes(4, "little"), "262,145 bytes was announced, which is refused"),
        (b"\1\0\0\0", "in the middle of a message"),
        (b"\5\0\0\0\0\0\0\0{}", "in the middle of a message"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ChannelError, match=words):
        channel(data).receive()


def test_what_is_too_long_is_not_sent() -> None:
    with pytest.raises(ChannelError, match="too long"):
        channel(b"").send(b"{}", bytes(MAX_RAW + 1))
