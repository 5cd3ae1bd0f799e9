"""explore(): where it can take over the terminal and what it says where it cannot; and a live model in the explorer."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest

from tests.factories_memory import MemorySource
from tests.factories_screen import PATIENCE, eventually, on_stage
from tui_params.core.edits import Edit
from tui_params.core.source import Source
from tui_params.errors import EditError, ExploreError, OpenError
from tui_params.tui import app as app_module
from tui_params.tui.app import ParamsApp
from tui_params.tui.desk.pending_source import PendingSource
from tui_params.tui.explore import _faults_of_threads, explore, run_path, why_not
from tui_params.tui.screens.explorer.screen import ExplorerScreen
from tui_params.tui.state.view import View

torch = pytest.importorskip("torch")


class Stream:
    """A standard stream that is a terminal, or is not."""

    def __init__(self, is_terminal: bool = True) -> None:
        self.is_terminal = is_terminal
        self.written = ""

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, words: str) -> int:
        self.written += words
        return len(words)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Standard streams that are a terminal which can draw, as the module sees them."""
    streams = SimpleNamespace(stdin=Stream(), stdout=Stream(), stderr=Stream(), modules=sys.modules)
    monkeypatch.setattr("tui_params.tui.explore.sys", streams)
    monkeypatch.setenv("TERM", "xterm-256color")
    return streams


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_nothing_is_in_the_way() -> None:
    assert why_not() is None


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_is_an_error_that_says_what_to_do(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    with pytest.raises(ExploreError, match=r"TERM is .*open_source"):
        explore(MemorySource({}))


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_without_a_terminal_is_an_error_that_says_what_to_do(stream: str, terminal: SimpleNamespace) -> None:
    setattr(terminal, stream, Stream(is_terminal=False))
    with pytest.raises(ExploreError, match=r"needs a terminal.*open_source"):
        explore(MemorySource({}))


def test_where_only_the_errors_are_redirected_the_terminal_says_so(terminal: SimpleNamespace) -> None:
    terminal.stderr = Stream(is_terminal=False)
    with pytest.raises(ExploreError, match="standard error is not one"):
        explore(MemorySource({}))
    assert "standard error is not one" in terminal.stdout.written
    terminal.stdout = Stream(is_terminal=False)
    with pytest.raises(ExploreError, match="standard output and error are none"):
        explore(MemorySource({}))
    assert terminal.stdout.written == ""


@pytest.mark.usefixtures("terminal")
async def test_in_a_running_loop_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ExploreError, match=r"notebook.*open_source"):
        explore(MemorySource({}))


@pytest.mark.usefixtures("terminal")
def test_off_the_main_thread_is_an_error_that_says_what_to_do() -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            explore(MemorySource({}))
        except ExploreError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(100)
    assert len(caught) == 1
    assert "main thread" in str(caught[0])
    assert "open_source" in str(caught[0])


class Ended:
    """Stands for the running app: it notes what it was made of, and ends as a test wants."""

    made: list[Any] = []  # noqa: RUF012
    failure: str | None = None
    fault: Exception | None = None
    view: Any = None

    def __init__(self, opening: Any, **options: Any) -> None:
        self.opening = opening
        self.options = options
        self.return_code = 3 if Ended.failure else 0
        self.failure = Ended.failure
        Ended.made.append(self)

    def run(self) -> None:
        done = threading.Event()
        self.opening.when_done(lambda future: done.set())
        assert done.wait(100)

    def leave(self) -> None:
        pass


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Ended]:
    monkeypatch.setattr(app_module, "ParamsApp", Ended)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Ended, "made", [])
    return Ended


def test_explore_opens_a_model_and_returns_when_the_user_leaves(terminal: SimpleNamespace, ended: type[Ended]) -> None:
    assert explore(torch.nn.Linear(2, 3)) is None
    assert [app.opening.label for app in ended.made] == ["Linear"]


@pytest.mark.usefixtures("terminal")
def test_explore_shows_the_states_of_the_optimizer_also_after_a_reload(ended: type[Ended]) -> None:
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    explore(model, optimizer=optimizer)
    opening = ended.made[0].opening
    for _ in range(2):
        listed: Queue[list[str]] = Queue()
        opening.when_done(lambda future, listed=listed: listed.put([info.name for info in future.result().tensors]))
        assert "optimizer.weight.momentum_buffer" in listed.get(timeout=PATIENCE)
        opening.start()


@pytest.mark.usefixtures("terminal")
def test_an_optimizer_without_a_model_and_an_unknown_option_are_errors(ended: type[Ended]) -> None:
    optimizer = torch.optim.SGD(torch.nn.Linear(2, 3).parameters(), lr=0.1)
    for target in (MemorySource({}), {"w": torch.ones(2)}, "x.pt"):
        with pytest.raises(TypeError, match="optimizer"):
            explore(target, optimizer=optimizer)
    with pytest.raises(TypeError, match="optimiser"):
        explore(torch.nn.Linear(2, 3), optimiser=optimizer)  # type: ignore[call-overload]
    assert ended.made == []


@pytest.mark.usefixtures("terminal")
def test_explore_returns_what_was_changed_where_values_can_be_set(
    ended: type[Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = torch.nn.Linear(2, 3)
    editors = []

    def run(self: Ended) -> None:
        editor = self.options["editor"]
        editors.append(editor)
        editor.apply((editor.propose(Edit("bias", "[:2]", "set", "5")),))
        editor.apply((editor.propose(Edit("weight", "", "zero")),))
        editor.undo()

    monkeypatch.setattr(ended, "run", run)
    (change,) = explore(model, editable=True)
    assert model.bias.tolist()[:2] == [5, 5]
    assert (change.name, change.slice, change.operation, change.value) == ("bias", "[0:2]", "set", "5")
    assert (change.numel, change.changed, change.after.min, change.also) == (2, 2, 5, ())
    with pytest.raises(AttributeError):
        change.value = "6"  # type: ignore[misc]
    # What is left of the explorer can do nothing more to the model.
    assert editors[0].undoable == 0
    for late in (editors[0].undo, lambda: editors[0].propose(Edit("bias", "", "zero"))):
        with pytest.raises(EditError):
            late()


@pytest.mark.usefixtures("terminal")
def test_files_and_sources_are_never_editable(ended: type[Ended], tmp_path: Path) -> None:
    for target in ("x.pt", tmp_path / "x.pt", MemorySource({})):
        with pytest.raises(TypeError, match="files are never written"):
            explore(target, editable=True)
    assert explore({"w": torch.ones(2)}, editable=True) == []
    assert [app.options["editor"] is not None for app in ended.made] == [True]


@pytest.mark.usefixtures("terminal")
def test_a_fault_says_which_edits_were_made_before_it(ended: type[Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Ended) -> None:
        editor = self.options["editor"]
        editor.apply((editor.propose(Edit("bias", "", "set", "5")),))
        self.fault = ZeroDivisionError("of ours")

    monkeypatch.setattr(ended, "run", run)
    with pytest.raises(ZeroDivisionError) as caught:
        explore(torch.nn.Linear(2, 3), editable=True)
    if hasattr(Exception, "add_note"):
        assert "These edits were made before" in caught.value.__notes__[0]


def test_what_the_app_fails_with_is_raised(
    terminal: SimpleNamespace, ended: type[Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended, "failure", "the model is gone")
    with pytest.raises(OpenError, match="the model is gone"):
        explore(torch.nn.Linear(2, 3))


def test_what_cannot_be_opened_is_an_error_before_the_terminal_is_touched(
    terminal: SimpleNamespace, ended: type[Ended], tmp_path: Path
) -> None:
    with pytest.raises(OpenError):
        explore(tmp_path / "no-such-file.pt")
    with pytest.raises(TypeError, match="float"):
        explore(3.5)
    assert ended.made == []


def test_run_path_returns_the_code_and_says_why(
    ended: type[Ended], terminal: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended, "failure", "x.pt is not\x1b a checkpoint")
    assert run_path("x.pt") == 3
    said = terminal.stderr.written
    assert "tui-params: " in said
    assert "x.pt is not" in said
    assert "\x1b" not in said


def test_a_fault_of_the_explorer_is_raised_and_not_taken_for_an_end(
    terminal: SimpleNamespace, ended: type[Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended, "fault", ZeroDivisionError("of ours"))
    for call in (lambda: explore(torch.nn.Linear(2, 3)), lambda: run_path("x.pt")):
        with pytest.raises(ZeroDivisionError, match="of ours"):
            call()


async def test_a_fault_in_a_key_leaves_the_screen_without_a_page_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: ExplorerScreen) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(ExplorerScreen, "action_help", broken)
    apps: list[ParamsApp] = []

    async def press() -> None:
        async with on_stage(MemorySource({})) as stage:
            apps.append(stage.app)
            await stage.send("question_mark")

    with pytest.raises(ZeroDivisionError, match="of ours"):
        await press()
    assert isinstance(apps[0].fault, ZeroDivisionError)
    assert apps[0]._exit_renderables == []


async def test_a_fault_in_a_thread_of_ours_ends_the_explorer() -> None:
    def no_reader() -> Source:
        raise ZeroDivisionError("of ours")

    caught: list[Exception] = []
    with _faults_of_threads(caught.append):
        opening = PendingSource("x.pt", no_reader)
        await eventually(lambda: caught, "the fault of the thread")

    async def before_the_screen() -> None:
        app = ParamsApp(opening)
        app.fail(caught[0])
        async with app.run_test():
            pass

    async def on_the_screen() -> None:
        async with on_stage(MemorySource({})) as stage:
            stage.app.fail(caught[0])
            await stage.turn()

    for run in (before_the_screen, on_the_screen):
        with pytest.raises(ZeroDivisionError, match="of ours"):
            await run()


def test_a_fault_in_a_thread_of_others_is_told_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    caught: list[Exception] = []
    with _faults_of_threads(caught.append):
        thread = threading.Thread(target=lambda: 1 // 0)
        thread.start()
        thread.join(100)
    assert caught == []
    assert [happened.exc_type for happened in told] == [ZeroDivisionError]
    assert threading.excepthook == told.append


@pytest.mark.parametrize("is_running", [False, True], ids=["before it runs", "while it runs"])
async def test_leave_ends_the_app(is_running: bool) -> None:
    app = ParamsApp(PendingSource("memory", lambda: MemorySource({})))
    if not is_running:
        app.leave()
    async with app.run_test() as pilot:
        if is_running:
            await pilot.pause()
            assert app.is_running
            app.leave()
        await eventually(lambda: not app.is_running, "the end")
    assert app.return_code == 0
    app.leave()  # a signal that comes when the loop is closed harms nothing


# A live model


class Tiny(torch.nn.Module):  # type: ignore[misc, name-defined]  # mypy does not read torch
    """Two layers, one of them frozen, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 3)
        self.second = torch.nn.Linear(3, 2)
        self.register_buffer("scale", torch.full((3,), 2.0))
        self.second.weight.requires_grad_(False)


def trained() -> Tiny:
    torch.manual_seed(0)
    model = Tiny()
    model.second(model.first(torch.ones(5, 4)) * model.scale).sum().backward()
    return model


async def test_a_live_model_shows_classes_trainable_marks_and_gradients() -> None:
    from tui_params.live.source import ModelSource

    model = trained()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    async with on_stage(ModelSource(model)) as stage:
        assert "Tiny" in stage.header
        await stage.press("E")
        assert stage.row("first.weight")[1] == "*"
        assert stage.row("second.weight")[1] == " "
        assert stage.row("scale")[1] == " "
        await stage.go("first")
        assert "Linear" in stage.facts
        assert "trainable 15 of 15" in stage.facts
        await stage.go("scale")
        assert "buffer" in stage.facts
        await stage.go("first.weight")
        assert "in Linear" in stage.facts
        assert "trainable *" in stage.facts
        assert "cpu" in stage.facts
        await stage.press("g")
        assert stage.facts.startswith("first.weight.grad")
        assert "gradient" in stage.facts
        grad = model.first.weight.grad
        assert grad is not None
        assert f"{float(grad[0, 0]):.3f}"[:5] in stage.values
        await stage.go("second.weight")
        assert "no gradient: frozen" in stage.facts
        assert "frozen" in stage.facts
        await stage.press("g")
        assert "the gradient" not in stage.facts
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


async def test_a_model_before_backward_has_no_gradients_and_says_so() -> None:
    from tui_params.live.source import ModelSource

    async with on_stage(ModelSource(Tiny())) as stage:
        await stage.go("first.weight")
        before = stage.facts
        await stage.press("g")
        assert stage.facts == before
        assert "backward" in stage.status


async def test_a_model_that_changed_in_place_is_shown_anew_after_a_reload() -> None:
    from tui_params.live.source import ModelSource

    model = trained()
    async with on_stage(lambda: ModelSource(model)) as stage:
        await stage.go("scale")
        with torch.no_grad():
            model.scale.mul_(64)
        await stage.press("R")
        await stage.until(lambda: stage.screen.session.generation == 2, "opened again")
        await stage.rest()
        assert stage.cursor == "scale"
        assert "128" in stage.facts


async def test_a_filter_on_training_facts_of_a_live_model() -> None:
    from tui_params.live.source import ModelSource

    async with on_stage(ModelSource(trained())) as stage:
        await stage.send("slash")
        await stage.type("frozen:yes")
        await stage.rest()
        assert "second.weight" in stage.names
        assert stage.matching == 1


def test_explore_goes_on_where_the_same_model_was_left(
    terminal: SimpleNamespace, ended: type[Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = View("weight")
    model = torch.nn.Linear(2, 3)
    monkeypatch.setattr(ended, "view", view)
    explore(model)
    explore(model)
    explore(torch.nn.Linear(2, 3))
    assert [app.options["left"] for app in ended.made] == [None, view, None]


def test_explore_opens_another_target_beside_the_first(
    terminal: SimpleNamespace, ended: type[Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[tuple[str, str]] = []

    def run(app: Ended) -> None:
        both = app.opening._future.result(30).both
        assert both is not None
        labels.append((both.a.label, both.b.listing.format))
        both.close()

    monkeypatch.setattr(ended, "run", run)
    model = torch.nn.Linear(2, 3)
    explore(model, against=model.state_dict())
    assert labels == [("Linear", "state dict in memory")]


def test_explore_compares_with_the_last_look_at_the_same_model(
    terminal: SimpleNamespace, ended: type[Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(app: Ended) -> None:
        app.options["before"] = app.options["looks"].before
        app.options["looks"].begin()

    monkeypatch.setattr(ended, "run", run)
    model = torch.nn.Linear(2, 3)
    explore(model, keep=True)
    with torch.no_grad():
        model.weight.add_(1)
    explore(model)
    first, second = (app.options for app in ended.made)
    assert first["looks"] is second["looks"]
    assert first["before"] is None
    # What the user did not wait for was read before the call returned.
    assert set(second["before"].kept) == {"weight", "bias"}
    assert second["before"].nbytes == 36
    looks = second["looks"]
    assert looks.last is not second["before"]
    assert looks.last.kept["bias"].digest == second["before"].kept["bias"].digest
    assert looks.last.kept["weight"].digest != second["before"].kept["weight"].digest
    assert not looks.keeps_values


@pytest.mark.usefixtures("terminal")
def test_of_a_path_and_of_a_mapping_no_look_is_kept(ended: type[Ended]) -> None:
    explore({"w": torch.ones(2)}, keep=True)
    explore(MemorySource({}), keep=True)
    assert [app.options["looks"] for app in ended.made] == [None, None]
