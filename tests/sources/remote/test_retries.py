"""Attempts and pauses, by a clock of the test."""

from __future__ import annotations

import threading
from datetime import datetime, timezone

import pytest

from tui_params.errors import ReadError
from tui_params.sources.remote.retries import AgainError, Patience, Retries, seconds_to_wait


def test_pauses_grow_until_an_attempt_succeeds(retries: Retries, pauses: list[float]) -> None:
    faults = [AgainError("h answers 503")] * 3

    def attempt() -> str:
        if faults:
            raise faults.pop()
        return "done"

    assert retries.run(attempt) == "done"
    assert pauses == [0.25, 0.5, 1.0]


def test_chance_halves_a_pause_at_most(pauses: list[float]) -> None:
    patience = Patience(attempts=2)
    retries = Retries(patience, clock=lambda: 0.0, sleep=pauses.append, chance=lambda: 0.0)
    with pytest.raises(ReadError):
        retries.run(lambda: _fail(None))
    assert pauses == [0.125]


def test_the_last_attempt_is_counted(retries: Retries, pauses: list[float]) -> None:
    with pytest.raises(ReadError, match=r"^h answers 503; it was tried 6 times$"):
        retries.run(lambda: _fail(None))
    assert len(pauses) == 5


def test_a_server_is_given_the_time_that_it_asks_for(retries: Retries, pauses: list[float]) -> None:
    waits = [7.0, 12.0]

    def attempt() -> int:
        if waits:
            _fail(waits.pop(0))
        return 1

    assert retries.run(attempt) == 1
    assert pauses == [7.0, 12.0]


def test_more_time_than_there_is_patience_is_not_waited_for(retries: Retries, pauses: list[float]) -> None:
    with pytest.raises(ReadError, match=r"^h answers 503; it asks to wait 3,600 s$"):
        retries.run(lambda: _fail(3600.0))
    assert pauses == []


def test_stopping_ends_a_pause() -> None:
    retries = Retries(Patience(seconds=10_000, pause=1000))
    begun = threading.Event()

    def attempt() -> None:
        begun.set()
        _fail(None)

    def run() -> None:
        with pytest.raises(ReadError, match=r"h answers 503|was closed"):
            retries.run(attempt)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    retries.stop()
    thread.join(60)
    assert not thread.is_alive()
    with pytest.raises(ReadError, match="was closed"):
        retries.run(lambda: 1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0), (" 120 ", 120.0), ("Mon, 01 Jan 2024 00:00:30 GMT", 30.0), ("Sun, 31 Dec 2023 00:00:00 GMT", 0.0),
        (None, None), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("²", None),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert seconds_to_wait(header, datetime(2024, 1, 1, tzinfo=timezone.utc)) == seconds


def _fail(wait: float | None) -> None:
    raise AgainError("h answers 503", wait)
