"""A source elsewhere in the explorer: what is fetched by itself, what is asked before, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import msgspec
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_remote import FolderTransport, mounted
from tests.factories_screen import PATIENCE, Stage, on_stage
from tests.factories_timeline import planted_run
from tui_params.cache.choices import Choices
from tui_params.core.source import Source
from tui_params.settings import Settings
from tui_params.sources.detect import open_path
from tui_params.tui.screens.compare import CompareScreen
from tui_params.tui.screens.explorer.status import header_lines
from tui_params.tui.state.paths import complete
from tui_params.tui.state.run import Run

LARGE = 1200 * 250 * 4
"""Bytes of the tensor that is too large to be fetched by itself."""

SETTINGS = Settings(theme="quiet-dark", fetch_below=100_000)


class Elsewhere:
    """A folder that stands for a server, and what opens what lies in it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.transport = FolderTransport(folder)
        self.path = stack.enter_context(mounted(self.transport))

    def opener(self, name: str = "x.safetensors") -> Callable[[], Source]:
        return lambda: open_path(self.path / name)

    @property
    def nbytes(self) -> int:
        return self.transport.nbytes

    def hold(self) -> Event:
        """Let no large piece come before the event is set."""
        gate = Event()

        def wait(path: str, begin: int, end: int) -> None:
            if end - begin > 50_000:
                assert gate.wait(PATIENCE)

        self.transport.before = wait
        return gate


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    random = torch.Generator().manual_seed(3)
    tensors = {"big": torch.randn(1200, 250, generator=random), "small": torch.randn(20, 30, generator=random)}
    save_file(tensors, tmp_path / "x.safetensors")
    with ExitStack() as stack:
        yield Elsewhere(tmp_path, stack)


async def test_a_large_tensor_is_fetched_when_the_key_is_pressed(elsewhere: Elsewhere) -> None:
    async with on_stage(elsewhere.opener(), settings=SETTINGS) as stage:
        await stage.go("big")
        assert "1.14 MiB: press f to fetch it" in stage.facts
        assert elsewhere.nbytes < 60_000  # the header, the small tensor, the first rows
        assert "exact" not in stage.facts
        await stage.go("small")
        assert "exact, all 600 elements" in stage.facts
        await stage.press("f")
        assert "It is fetched already" in stage.status
        await stage.go("big")
        await stage.press("f")
        assert "exact, all 300,000 elements" in stage.facts
        assert LARGE < elsewhere.nbytes < 1.05 * LARGE
        assert "1.15 MiB fetched" in stage.header


async def test_of_a_source_on_this_machine_nothing_is_fetched_or_asked(elsewhere: Elsewhere) -> None:
    path = elsewhere.transport.folder / "x.safetensors"
    async with on_stage(lambda: open_path(path), settings=SETTINGS) as stage:
        await stage.go("big")
        assert "exact, all 300,000 elements" in stage.facts
        assert "fetched" not in stage.text
        await stage.press("f")
        assert "Nothing has to be fetched" in stage.status
        await stage.press("S")
        assert "to start" not in stage.status


async def test_how_far_a_tensor_is_and_escape_stops_it(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.sources.remote.ranged_file.PIECE", 1 << 20)
    monkeypatch.setattr("tui_params.sources.remote.ranged_file.AHEAD", 1 << 20)
    save_file({"big": torch.ones(3000, 1000)}, elsewhere.transport.folder / "y.safetensors")
    gate = elsewhere.hold()
    async with on_stage(elsewhere.opener("y.safetensors"), settings=SETTINGS) as stage:
        await stage.go("big")
        await stage.send("f")
        await stage.until(lambda: "reading" in stage.facts and "press f" not in stage.facts, "it is being fetched")
        pages = stage.screen.pages
        assert pages is not None
        from tui_params.core.reading.scanner import Activity

        stage.screen.meter.rate = "3.1 MiB/s"
        stage.screen.transfer.take_activity(Activity("big", 1_500_000, 3_000_000, 0))
        await stage.until(lambda: "reading 50 %, 5.72 MiB of 11.4 MiB, 3.1 MiB/s" in stage.facts, "how far it is")
        await stage.send("escape")
        assert "Stopped" in stage.status
        gate.set()
        await stage.until(lambda: "to fetch it" in stage.facts, "it is left")
        await stage.rest()
        assert stage.screen.desk is not None
        assert stage.screen.desk.figures("big") is None
        assert elsewhere.nbytes < 8_000_000
        await stage.press("f")
        assert "exact, all 3,000,000 elements" in stage.facts
        assert elsewhere.nbytes < 13_000_000


async def test_reading_everything_asks_first(elsewhere: Elsewhere) -> None:
    async with on_stage(elsewhere.opener(), (80, 24), settings=SETTINGS) as stage:
        before = elsewhere.nbytes
        await stage.press("S")
        assert "S reads 1.14 MiB from test://server/models: S again to start, esc to leave it" in stage.status
        await stage.press("escape", "down")
        await stage.press("S")
        assert "S again to start" in stage.status
        await stage.press("up")
        assert "S again" not in stage.status
        assert elsewhere.nbytes - before < 20_000  # the first rows of the tensors on the way
        await stage.press("S", "S")
        await stage.until(lambda: "checked: nothing found" in stage.header, "everything is read")
        assert elsewhere.nbytes < 1.1 * LARGE
        await stage.press("S")
        assert "Every tensor has been checked" in stage.status


@pytest.mark.parametrize("key", ["K", "M"])
async def test_the_screens_of_kinds_and_layers_ask_too(elsewhere: Elsewhere, key: str) -> None:
    async with on_stage(elsewhere.opener(), settings=SETTINGS) as stage:
        await stage.press(key, "S")
        assert "S reads 1.14 MiB from test://server/models: S again to start" in stage.status
        await stage.press("escape")
        assert stage.app.screen is not stage.screen
        assert "S again" not in stage.status
        assert elsewhere.nbytes < 60_000
        await stage.press("S", "S")
        await stage.until(lambda: "2 of 2 read" in stage.text or "1 of 1 read" in stage.text, "everything is read")


async def test_files_are_verified_only_if_the_question_is_answered(elsewhere: Elsewhere) -> None:
    async with on_stage(elsewhere.opener(), settings=SETTINGS) as stage:
        await stage.press("V")
        # The small tensor has come: it is on screen.
        assert "V reads 1.14 MiB from test://server/models: V again to start" in stage.status
        assert elsewhere.nbytes < 60_000
        await stage.press("escape")
        await stage.go("big")
        await stage.press("f", "V")
        assert "V again" not in stage.status


@pytest.mark.parametrize(("lens", "waits"), [("2", "heat"), ("3", "channels"), ("4", "histogram"), ("5", "spectrum")])
async def test_a_lens_fetches_nothing_large_by_itself(elsewhere: Elsewhere, lens: str, waits: str) -> None:
    async with on_stage(elsewhere.opener(), settings=SETTINGS) as stage:
        await stage.go("big")
        await stage.press("i", lens)
        assert "MiB: press F to fetch it" in stage.text
        before = elsewhere.nbytes
        assert before < 100_000
        await stage.press("F")
        assert "press F" not in stage.text
        assert elsewhere.nbytes > LARGE
        await stage.press("F")
        assert "It is fetched already" in stage.status


async def test_a_filter_on_statistics_waits_for_the_sweep(elsewhere: Elsewhere) -> None:
    async with on_stage(elsewhere.opener(), settings=SETTINGS) as stage:
        await stage.press("slash")
        await stage.type("absmax>0")
        await stage.until(lambda: "1 not read yet" in stage.text, "it says what is missing")
        await stage.press("enter")
        assert elsewhere.nbytes < 60_000


async def test_two_sources_are_compared_when_the_key_is_pressed(elsewhere: Elsewhere) -> None:
    other = elsewhere.transport.folder / "y.safetensors"
    save_file({"big": torch.zeros(1200, 250), "small": torch.zeros(20, 30)}, other)
    beside = elsewhere.opener("y.safetensors")
    async with on_stage(elsewhere.opener(), settings=SETTINGS, other=beside) as stage:
        await stage.until(lambda: "f again to start" in stage.status, "the question")
        assert "f compares values, and reads 2.29 MiB from test://server/models" in stage.status
        assert "nothing compared yet" in stage.header
        await stage.press("escape")
        assert elsewhere.nbytes < 100_000
        await stage.press("f")
        assert "f again to start" in stage.status
        await stage.press("f")
        await stage.until(lambda: "2 changed" in stage.header, "they are compared")


async def test_what_has_no_partner_is_looked_for_only_when_the_key_is_pressed(elsewhere: Elsewhere) -> None:
    other = elsewhere.transport.folder / "y.safetensors"
    save_file({"other": torch.zeros(1200, 250), "less": torch.zeros(20, 30)}, other)
    async with on_stage(elsewhere.opener(), settings=SETTINGS, other=elsewhere.opener("y.safetensors")) as stage:
        await stage.until(lambda: "f again to start" in stage.status, "the question")
        assert "reads up to 2.29 MiB from test://server/models" in stage.status
        assert elsewhere.nbytes < 100_000


async def test_a_file_that_is_replaced_is_stale_and_opened_anew(elsewhere: Elsewhere) -> None:
    target = elsewhere.transport.folder / "x.safetensors"
    async with on_stage(elsewhere.opener(), settings=SETTINGS) as stage:
        save_file({"big": torch.ones(1200, 250), "small": torch.zeros(20, 30)}, target)
        await stage.go("big")
        await stage.press("f")
        stage.screen.session.look_for_changes()
        await stage.until(lambda: "R reloads" in stage.header, "it is stale")
        assert "replaced on the server" in stage.header
        from tests.factories_remote import mount_of

        mount_of(elsewhere.path).renew()  # as opening by the address does
        await stage.press("R")
        await stage.until(lambda: "R reloads" not in stage.header, "it is opened anew")
        await stage.rest()
        await stage.go("big")
        await stage.press("f")
        assert "exact, all 300,000 elements" in stage.facts


async def test_the_header_fits_and_the_rate_gives_way(elsewhere: Elsewhere) -> None:
    async with on_stage(elsewhere.opener(), settings=SETTINGS) as stage:
        state = msgspec.structs.replace(stage.screen.bars.state, fetched=("12.0 MiB fetched", "3.10 MiB/s"))
        for width, words in ((80, "12.0 MiB fetched · 3.10 MiB/s"), (40, "12.0 MiB fetched"), (24, "")):
            line = "".join(part for part, _ in header_lines(state, width)[0])
            assert line.startswith(" x.safetensors")
            assert words in line
            assert ("fetched" in line, "/s" in line) == ("fetched" in words, "/s" in words)
            assert len(line) <= width


async def test_the_rate_is_shown_while_something_comes(elsewhere: Elsewhere) -> None:
    async with on_stage(elsewhere.opener(), settings=SETTINGS) as stage:
        meter = stage.screen.meter
        assert meter.amount.endswith("fetched")
        assert meter.rate == ""
        assert stage.screen.opened is not None
        stage.screen.opened.source.read("big")
        meter.look()
        assert meter.amount == "1.15 MiB fetched"
        assert meter.rate.endswith("/s")
        meter.look()
        assert meter.rate == ""


async def test_an_address_passes_the_compare_box_unchanged_and_is_shown_without_its_secrets(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def opening(target: str) -> Source:
        asked.append(target)
        return elsewhere.opener()()

    monkeypatch.setattr("tui_params.api.opening.open_source", opening)
    secret = "https://user:word@host.invalid/~x/model.safetensors?X-Signature=abc"
    async with on_stage(elsewhere.opener(), settings=SETTINGS) as stage:
        await stage.press("c")
        box = stage.app.screen
        assert isinstance(box, CompareScreen)
        box.field.value = secret
        shown: list[str] = []
        fill = box._fill

        def note_and_fill() -> None:
            shown.append(box._said[0])
            fill()

        monkeypatch.setattr(box, "_fill", note_and_fill)
        await stage.press("enter")
        assert asked == [secret]
        assert any("opening https://host.invalid/~x/model.safetensors" in words for words in shown)
        assert not any("word" in words or "abc" in words for words in shown)
    assert complete("https://host.invalid/mod") == ("https://host.invalid/mod", ())


async def test_bookmarks_are_kept_by_the_address(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    choices = Choices(None)
    monkeypatch.setattr(choices, "keep_bookmarks", lambda place, marks: kept.append(place))
    async with on_stage(elsewhere.opener(), settings=SETTINGS, choices=choices) as stage:
        stage.screen.session.pending.label = "hf://acme/large-model"
        stage.screen.travel._choices = choices
        await stage.press("m", "a")
        assert kept == ["hf://acme/large-model"]


def test_a_run_is_shown_without_secrets() -> None:
    assert Run(("https://u:word@host.invalid/run?sig=abc",)).label == "https://host.invalid/run"


async def test_a_run_elsewhere_waits_for_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tui_params.tui.app import ParamsApp

    planted_run(tmp_path)
    with ExitStack() as stack:
        there = Elsewhere(tmp_path, stack)
        app = ParamsApp(None, settings=Settings(theme="quiet-dark", fetch_below=10), run=Run((str(there.path),)))
        async with app.run_test(size=(100, 24)) as pilot:
            stage = Stage(app, pilot)
            await stage.until(lambda: "f again to start" in stage.status, "the question")
            assert "Nothing is read yet: f fetches it." in stage.text
            assert "not read yet" in stage.lines[1]
            assert "in what could be read" in stage.lines[0]
            await stage.press("escape")
            assert "f again" not in stage.status
            await stage.send("f")
            await stage.send("f")
            await stage.until(lambda: "NaN since step 2500" in stage.lines[0], "it is read")


def test_what_is_asked_fits() -> None:
    from tui_params.tui.state.transfer_words import Amount, question

    words = question("S", "reads", Amount(150_323_855_360), "hf://acme/large-model", "esc", 78)
    assert words == "S reads 140 GiB from hf://acme/large-model: S again to start, esc to leave it"
    assert question("S", "reads", Amount(150_323_855_360), "hf://acme/large-model", "esc", 60).startswith(
        "S reads 140 GiB over"
    )
