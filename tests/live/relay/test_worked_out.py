"""Statistics that are worked out on the other machine, and what a machine may send as such."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from tests.factories_memory import MemorySource
from tests.live.relay.test_relay import hosts, serve
from tests.live.watching.test_watchpoints import until
from tui_params import check, open_source
from tui_params.core import channels as core_channels
from tui_params.core.channels import Channels
from tui_params.core.figure_records import encode_record
from tui_params.core.health.places import first_places
from tui_params.core.health.sought import NAN, ZERO
from tui_params.core.numbers.sent_summary import SentSummary, checked_summary, pack_summary
from tui_params.core.numbers.summary import Summary
from tui_params.core.reading import worked_out
from tui_params.core.reading.outcome import HistogramOutcome, Outcome
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.reading.scanner import Scanner
from tui_params.core.reading.sweep import measure_alone
from tui_params.core.reading.tensor_reading import figures_of, measure, sample
from tui_params.core.source import Source
from tui_params.errors import ReadError, StoppedError
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside.server import Server
from tui_params.live.relay import messages as m
from tui_params.live.relay import working
from tui_params.live.relay.channel import Channel
from tui_params.live.relay.host import RelayHost
from tui_params.live.relay.source import RelayedSource
from tui_params.live.relay.stream import Stream

__all__ = ["hosts", "serve"]


def traffic(source: Source) -> int:
    assert source.line is not None
    return source.line.traffic.nbytes


def test_they_are_those_of_the_bytes_and_fewer_bytes(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = nn.Module()
    net.embed = nn.Embedding(1024, 300)  # rows that may be equal are looked for
    with torch.no_grad():
        net.embed.weight[7] = net.embed.weight[9]
        net.embed.weight[11, 4] = float("nan")
    net.register_buffer("wide", torch.randn(40, 50, dtype=torch.float64).t())
    net.register_buffer("halves", torch.randn(700, 800).to(torch.bfloat16))
    net.register_buffer("counted", torch.arange(3_000_000).reshape(3000, 1000))
    net.register_buffer("waves", torch.randn(500, 400, dtype=torch.complex64))
    net.register_buffer("few", torch.randn(5))
    net.requires_grad_(False)  # no step ends here, at which gradients could be copied
    server = serve("far", net)
    with open_source("attach:ssh://far") as source, AttachedSource(Path(server.path)) as local:
        for info in source:
            begun = traffic(source)
            found, own = measure_alone(source, info), measure_alone(local, local.find(info.name))
            assert found == own, info.name
            assert figures_of(source, info) == own.figures
            assert traffic(source) - begun < 12_000
            assert source.works_out(info, has_summary=False) == (info.name != "few")
        large = [info for info in source if source.works_out(info, has_summary=True)]
        assert {info.name for info in large} == {"embed.weight", "halves", "counted", "waves"}
        for info in large:
            begun = traffic(source)
            whole = measure(source, info)
            assert traffic(source) - begun < info.nbytes / 1.2
            here = measure(local, info)
            assert whole.summary == here.summary == sample(source, info)
            assert whole.channels == here.channels
            assert source.summarize(info.name) == here.summary
        begun = traffic(source)
        report = check(source)
        assert traffic(source) - begun < sum(info.nbytes for info in source) / 10
        assert report.findings == check(local).findings
        assert report.unchecked == ()
        begun, embed = traffic(source), source.find("embed.weight")
        assert first_places(source, embed, (NAN, ZERO)) == {NAN: ((11, 4),), ZERO: ()}
        assert traffic(source) - begun < 2_000
        assert source.sought_out(source.find("few"), [NAN]) is None  # its values are not more
        for places in ([], [[1], [2]], [[embed.numel]], [[-1]], [[0] * 99], [["x"]]):
            answer: list[tuple[dict[str, Any], bytes]] = [({"done": 5}, b""), ({"places": places}, b"")]
            with monkeypatch.context() as patch:
                patch.setattr(Stream, "ask", lambda *args, answer=answer, **more: iter(answer))
                with pytest.raises(ReadError, match="not understood"):
                    source.sought_out(embed, [NAN])
        # The reason is that of a local read.
        net.halves = torch.zeros(700, 800, dtype=torch.bfloat16)
        with pytest.raises(ReadError, match="halves was replaced"):
            figures_of(source, source.find("halves"))


def test_a_row_needs_no_table_and_a_page_asks_for_one(serve: Callable[..., Server]) -> None:
    serve("far", nn.Linear(600, 600))
    outcomes: list[Outcome] = []
    histograms: list[HistogramOutcome] = []
    with open_source("attach:ssh://far") as source:
        scanner = Scanner(source, outcomes.append, lambda activity: None)
        begun = traffic(source)
        scanner.want(["weight"])
        until(lambda: len(outcomes) > 0)
        assert traffic(source) - begun < 6_000
        scanner.want_histogram("weight", 20, None, None, False, histograms.append)
        until(lambda: len(histograms) > 0)
        scanner.close()
        assert traffic(source) - begun < 600 * 600 * 4 / 2
        assert [outcome.is_final for outcome in outcomes] == [True]
        assert histograms[0].histogram is not None
        assert sum(histograms[0].histogram.counts) == 360_000


def test_what_nobody_wants_any_more_is_stopped_there(
    serve: Callable[..., Server], hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve("far", nn.Linear(600, 600))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(hosts / "far"))
    is_begun, ended = Event(), list[str]()

    def endless(*args: Any, should_stop: Callable[[], bool], progress: Callable[[int], None], **more: Any) -> None:
        is_begun.set()
        monkeypatch.setattr(working, "TELL_SECONDS", 0.0)
        while not should_stop():
            progress(5)
        ended.append("stopped")
        raise StoppedError("stopped")

    monkeypatch.setattr(working, "measure_alone", endless)
    (a_in, a_out), (b_in, b_out) = os.pipe(), os.pipe()
    far = RelayHost(Channel(a_in, b_out), "1")
    thread = Thread(target=far.run)
    thread.start()
    near = Channel(b_in, a_out)
    near.await_mark()

    def said() -> Iterator[m.Answer]:
        while (frame := near.receive()) is not None:
            message = m.SAID.decode(frame[0])
            if isinstance(message, m.Answer):
                yield message

    answers = said()
    near.send(msgspec.json.encode(m.Find(1)))
    number = next(answers).body["serving"][0]["number"]
    near.send(msgspec.json.encode(m.Open(2, number)))
    source = next(each.body["source"] for each in answers if "source" in each.body)
    for asked in (3, 4):  # one after the other
        near.send(msgspec.json.encode(m.WorkOut(asked, source, "weight", False, False)))
    first = next(each for each in answers if each.body.get("done") == 5)
    near.send(msgspec.json.encode(m.Stop(5, first.id)))
    assert next(each for each in answers if each.id == first.id and each.is_last).error == "stopped"
    assert next(each for each in answers if each.body.get("done") == 5).id == 7 - first.id
    near.close_sending()  # the viewer has gone
    thread.join()
    until(lambda: len(ended) == 2)
    near.close()


def test_a_viewer_says_that_it_does_not_want_it(serve: Callable[..., Server]) -> None:
    serve("far", nn.Linear(600, 600))
    with open_source("attach:ssh://far") as source:
        assert isinstance(source, RelayedSource)
        asked = source._stream.requests
        with pytest.raises(StoppedError):
            source.worked_out(source.find("weight"), has_summary=True, should_stop=lambda: True)
        assert source._stream.requests > asked
        assert figures_of(source, source.find("weight")).is_exact


ARRAY = np.arange(100_000, dtype=np.float32).reshape(100, 1000) - 7
SOURCE = MemorySource({"w": ARRAY})
INFO = SOURCE.find("w")


def found() -> WorkedOut:
    whole = measure(SOURCE, INFO)
    return WorkedOut(whole.summary.figures(INFO.numel), whole.channels, whole.summary)


def test_what_travels_is_what_was_found() -> None:
    for has_summary in (True, False):
        sent = found() if has_summary else found()._replace(summary=None)
        arrived = worked_out.unpack(worked_out.pack(sent), INFO, has_summary=has_summary)
        assert arrived == sent
        with pytest.raises(ReadError, match="it is not what was asked for"):
            worked_out.unpack(worked_out.pack(sent), INFO, has_summary=not has_summary)


@pytest.mark.parametrize(
    "changes",
    [
        {"numel": 7}, {"count": 5}, {"parts": 2}, {"nan": 1}, {"nan": -1, "pos_inf": 1}, {"zeros": 100_001},
        {"min": None}, {"mean": float("nan")}, {"max": float("inf")}, {"std": float("inf")}, {"quantiles": ()},
        {"quantiles": (float("nan"),) * 9}, {"spark": ()}, {"spark": (1 << 40,) * 16}, {"spark": (-1,) * 16},
        {"is_exact": False}, {"max": 1 << 4000}, {"at_max": 1 << 60}, {"quantile_error": -1.0}, {"mean": None},
    ],
)  # fmt: skip
def test_figures_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    sent = found()
    figures = msgspec.structs.replace(sent.figures, **changes)
    with pytest.raises(ReadError, match="what was worked out of w cannot be right"):
        worked_out.unpack(worked_out.pack(WorkedOut(figures, sent.channels, None)), INFO, has_summary=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 99}, {"dead": 101}, {"faint": -1}, {"first_dead": (100,)}, {"first_dead": (-1,)},
        {"first_dead": tuple(range(9))}, {"median_abs_max": float("nan")},
        {"largest": (core_channels.Channel(100, 1.0),)},
        {"smallest": (core_channels.Channel(1, float("inf")),)},
    ],
)  # fmt: skip
def test_channels_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    sent = found()
    assert sent.channels is not None
    rows = msgspec.structs.replace(sent.channels.rows, **changes)
    channels = msgspec.structs.replace(sent.channels, rows=rows)
    data = worked_out.pack(WorkedOut(sent.figures, channels, None))
    with pytest.raises(ReadError, match="what was worked out of w cannot be right"):
        worked_out.unpack(data, INFO, has_summary=False)


def test_channels_of_another_tensor_are_refused() -> None:
    sent = found()
    assert sent.channels is not None
    lone: list[Channels] = [
        msgspec.structs.replace(sent.channels, columns=None),
        msgspec.structs.replace(sent.channels, alike=((1, 2),)),
        Channels(sent.channels.columns or sent.channels.rows, sent.channels.rows),
    ]
    for channels in lone:
        with pytest.raises(ReadError, match="cannot be right"):
            worked_out.unpack(worked_out.pack(WorkedOut(sent.figures, channels, None)), INFO, has_summary=False)


BIG = (1 << 40).to_bytes(2048, "little")


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 99_999}, {"count": -1}, {"word": "uint64"}, {"word": "uint8"}, {"patterns": b""}, {"counts": b"x"},
        {"patterns": b"\0" * 3}, {"moments": None}, {"moments": ()}, {"low": None}, {"high": None}, {"low": b"\1"},
        {"low": float("nan")}, {"low": 1e300}, {"high": float("inf")}, {"moments": (BIG,) * 9},
        {"moments": (b"\1",) * 9}, {"moments": (b"\xff",) * 9},
    ],
)  # fmt: skip
def test_summaries_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    sent = found()
    assert sent.summary is not None
    summary = msgspec.structs.replace(pack_summary(sent.summary), **changes)
    data = msgspec.msgpack.encode((encode_record(sent.figures, sent.channels), summary))
    with pytest.raises(ReadError, match="what was worked out of w cannot be right"):
        worked_out.unpack(data, INFO, has_summary=True)


def test_tables_that_cannot_be_are_refused() -> None:
    values = np.array([1, 2, 2, 3], np.float16)
    summary = Summary.of(values.view(np.uint8), SOURCE_16.find("w").dtype, 4)
    sent = pack_summary(summary)
    assert checked_summary(sent, summary.dtype, 4) == summary
    for counts in ([2, 1, 2], [1, 4, -1], [0, 3, 1], [1 << 62, 1 << 62, 1 << 62], [1, 2]):
        wrong = msgspec.structs.replace(sent, counts=np.array(counts, np.int64).tobytes())
        with pytest.raises(ValueError, match=r"counts|table"):
            checked_summary(wrong, summary.dtype, 4)
    for patterns in ([3, 2, 1], [1, 1, 2]):
        wrong = msgspec.structs.replace(sent, patterns=np.array(patterns, np.uint16).tobytes())
        with pytest.raises(ValueError, match="table"):
            checked_summary(wrong, summary.dtype, 4)


SOURCE_16 = MemorySource({"w": np.array([1, 2, 2, 3], np.float16)})


def test_bytes_that_are_changed_give_our_error_or_what_can_be() -> None:
    whole = worked_out.pack(found())
    random = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(int(random.integers(1, 4))):
            data[int(random.integers(0, min(len(data), 900)))] = int(random.integers(0, 256))
        try:
            arrived = worked_out.unpack(bytes(data[: int(random.integers(1, len(data) * 2))]), INFO, has_summary=True)
        except ReadError:
            continue
        assert arrived.figures.count == INFO.numel


def test_a_relay_that_sends_without_end_is_cut(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    serve("far", nn.Linear(600, 600))
    monkeypatch.setattr(worked_out, "MOST_NBYTES", 100)
    with open_source("attach:ssh://far") as source, pytest.raises(ReadError, match="more than 100 bytes of statistics"):
        figures_of(source, source.find("weight"))


def test_sent_summaries_of_another_kind_are_no_summaries() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever is wrong first
        checked_summary(SentSummary(0, "uint8", b"", b"", None, None, None), INFO.dtype, 5)
