"""``tui-params watch`` beside a process that trains: what it prints, saves, runs and holds, and how each may die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tui_params
from tests.cli.conftest import Ran
from tests.live.attached.conftest import runtime
from tests.live.attached.trainers import training
from tui_params.live.attached.source import AttachedSource

__all__ = ["runtime"]

PLANTED = """
import sys, torch
from torch import nn
import tui_params
torch.manual_seed(0)
torch.set_num_threads(1)
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
tui_params.serve(net, optimizer, name="planted")
data = torch.randn(4, 8)
weight = net[2].weight

def step(value=None, path=""):
    optimizer.zero_grad()
    net(data).pow(2).mean().backward()
    if value is not None:
        weight.grad[3, 5] = value
        torch.save(weight.grad.clone(), path)
    before = weight.detach().clone()
    optimizer.step()
    if value is not None:
        weight.data.copy_(before)

print("serving", flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    if word == "steps":
        for _ in range(int(rest[0])):
            step()
    else:
        step(float(word), rest[0])
    print("made", flush=True)
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="rt"))
    yield found
    shutil.rmtree(found, ignore_errors=True)


class Lines:
    """The lines that a process prints. A thread reads them: a line that is in a buffer already shows in no select()."""

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self._read: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._pass_on, args=(stream,), daemon=True).start()

    def _pass_on(self, stream: IO[str]) -> None:
        for line in stream:
            self._read.put(line)
        self._read.put("")

    def next(self, seconds: float = 100.0) -> str | None:
        """The next line, "" at the end; None if none comes within this time."""
        try:
            return self._read.get(timeout=seconds)
        except Empty:
            return None


class Trainer:
    """A process that makes the steps that it is told to, and says so after them."""

    def __init__(self, folder: Path) -> None:
        self._training = training(PLANTED, folder)
        self.process, self.folder = self._training.__enter__(), folder
        self.path = folder / "tui-params" / f"{self.process.pid}.sock"
        self.gradient = folder / "gradient.pt"
        self._lines = Lines(self.process.stdout)

    def end(self) -> None:
        self._training.__exit__(None, None, None)

    @property
    def steps(self) -> int:
        """How many it has made."""
        with AttachedSource(self.path) as viewer:
            assert isinstance(viewer, AttachedSource)
            return viewer.page.steps

    def tell(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()

    def plant(self, value: str) -> None:
        """Make a step with ``value`` in a gradient, which is saved; afterwards the parameters are as before."""
        self.tell(f"{value} {self.gradient}")

    def has_made(self, seconds: float = 100.0) -> bool:
        """Whether what it was told is done within this time."""
        return self._lines.next(seconds) == "made\n"


@pytest.fixture(scope="module")
def trainers(folder: Path) -> Iterator[list[Trainer]]:
    """The trainers of this module: one, and another one after each that a test has killed."""
    found: list[Trainer] = []
    yield found
    for each in found:
        each.end()


@pytest.fixture
def trainer(trainers: list[Trainer], folder: Path) -> Trainer:
    if not trainers or trainers[-1].process.poll() is not None:
        trainers.append(Trainer(folder))
    return trainers[-1]


# It hears ctrl+c even if this process does not: nohup and "&" in a script leave SIGINT ignored, which is inherited.
HEARING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tui_params.cli.app import run
sys.exit(run())
"""


class Viewer:
    """``tui-params watch --json`` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines = Lines(process.stdout)

    def next(self, what: str) -> dict[str, Any]:
        """What the next line says, which is about ``what``."""
        line = self._lines.next()
        assert line is not None, f"no line about {what} came"
        assert line, self.process.stderr.read() if self.process.stderr is not None else ""
        (entry,) = json.loads(line).items()
        assert entry[0] == what, line
        found: dict[str, Any] = entry[1]
        return found

    def press_enter(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def watching(trainer: Trainer, *options: str) -> Iterator[Viewer]:
    """A viewer that looks already."""
    with subprocess.Popen(
        [sys.executable, "-c", HEARING, "watch", str(trainer.process.pid), "--json", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "XDG_RUNTIME_DIR": str(trainer.folder), "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        bufsize=1,
    ) as process:
        try:
            viewer = Viewer(process)
            assert viewer.next("watching")["every_step"] is True
            yield viewer
        finally:
            process.kill()


def test_the_very_step_is_told_saved_and_held_until_enter_is_pressed(trainer: Trainer, tmp_path: Path) -> None:
    trainer.tell("steps 3")
    assert trainer.has_made()
    step = trainer.steps + 1
    out = tmp_path / "$(touch here)"  # a name that a shell would run
    out.mkdir()
    (out / f"step-{step}.safetensors").write_text("of somebody else")
    told = tmp_path / "told"
    facts = " ".join(f'"$TUI_PARAMS_{name}"' for name in ("STEP", "TENSOR", "CONDITION", "SAVED"))
    command = f'printf "%s|" {facts} > {told}'
    with watching(trainer, "--pause", "--once", "--save", str(out), "--exec", command) as viewer:
        trainer.plant("nan")
        gradient, parameter = viewer.next("event"), viewer.next("event")
        assert (gradient["step"], gradient["tensor"], gradient["nan"]) == (step, "2.weight.grad", 1)
        assert (parameter["step"], parameter["tensor"], parameter["nan"]) == (step, "2.weight", 1)
        held = viewer.next("held")
        assert (held["step"], held["event_step"]) == (step, step)
        assert held["seconds"] == pytest.approx(300, abs=20)
        with AttachedSource(trainer.path) as other:
            assert isinstance(other, AttachedSource)
            before = other.read("2.weight").tobytes()
            assert not trainer.has_made(0.2)
            assert other.read("2.weight").tobytes() == before
            assert (other.page.steps, other.page.held) == (step, step)
        viewer.press_enter()
        assert viewer.next("released") == {"step": step, "by": "user"}
        assert trainer.has_made()
        end = viewer.next("end")
        assert (end["events"], end["looked"], end["missed"]) == (2, 1, 0)
        assert viewer.process.wait(100) == 1
    saved = load_file(out / f"step-{step}-2.safetensors")
    assert set(saved) == {"2.weight.grad", "2.weight"}
    planted = torch.load(trainer.gradient)
    assert torch.equal(saved["2.weight.grad"].view(torch.int32), planted.view(torch.int32))
    assert told.read_text() == f"{step}|2.weight.grad|nan|{out}/step-{step}-2.safetensors|"
    assert (out / f"step-{step}.safetensors").read_text() == "of somebody else"


def test_a_viewer_that_is_killed_lets_the_training_go_on(trainer: Trainer) -> None:
    with watching(trainer, "--pause", "--on", "inf", "--tensor", "2.weight.grad") as viewer:
        trainer.plant("inf")
        assert viewer.next("event")["pos_inf"] == 1
        viewer.next("held")
        assert not trainer.has_made(0.1)
        viewer.process.kill()
        assert trainer.has_made()


def test_a_hold_ends_after_its_time_and_the_next_event_holds_again(trainer: Trainer) -> None:
    with watching(trainer, "--pause", "--for", "0.3") as viewer:
        for _ in range(2):
            trainer.plant("nan")
            for _ in range(2):
                viewer.next("event")
            step = viewer.next("held")["step"]
            assert viewer.next("released") == {"step": step, "by": "limit"}
            assert trainer.has_made()
            trainer.tell("steps 1")
            assert trainer.has_made()
        viewer.process.send_signal(signal.SIGINT)
        assert viewer.next("end")["reason"] == "interrupted"
        assert viewer.process.wait(100) == 130


def test_what_only_the_viewer_can_judge_is_held_a_little_later_and_says_so(trainer: Trainer) -> None:
    with watching(trainer, "--pause", "--on", "norm>1e6") as viewer:
        trainer.plant("1e7")
        trainer.tell("steps 1000000")
        event, held = viewer.next("event"), viewer.next("held")
        assert event["norm"] == pytest.approx(1e7)
        assert held["event_step"] == event["step"] <= held["step"]
        # The trainer is killed while it stands: nothing is wrong with the viewer.
        trainer.process.kill()
        assert "has ended" in viewer.next("end")["reason"]
        assert viewer.process.wait(100) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--on", "norm"], "'norm' is no condition: write nan, inf, norm>NUMBER"),
        (["--on", "still:0"], "a number of steps from 1 on follows still:"),
        (["--for", "3"], "--for says how long --pause holds: add --pause"),
        (["--pause", "--for", "0"], "'0' is no time: write seconds above 0, at most 86400."),
        (["--pause", "--for", "nan"], "'nan' is no time"),
        (["--tensor", "nothing.*"], "has no tensor 'nothing.*'"),
    ],
)
def test_bad_options_are_wrong_usage(
    cli: Callable[..., Ran], served: nn.Module, options: list[str], sentence: str
) -> None:
    ran = cli("watch", "run 7", *options)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err


@pytest.fixture
def served(runtime: Path) -> Iterator[nn.Module]:
    net = nn.Sequential(nn.Linear(3, 2))
    server = tui_params.serve(net, torch.optim.SGD(net.parameters(), lr=0.1), name="run 7")
    yield net
    server.stop()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["other"], "no process with the number or the name 'other' serves a model"),
        (["run 7", "--save", "/nowhere/at/all"], "there is no folder /nowhere/at/all"),
        (["run 7", "--on", "still:3", "--tensor", "0.weight.grad"], "there is nothing to watch in run 7"),
    ],
)
def test_what_cannot_be_watched_is_said(
    cli: Callable[..., Ran], served: nn.Module, arguments: list[str], sentence: str
) -> None:
    ran = cli("watch", *arguments)
    assert (ran.code, ran.out) == (3, "")
    assert sentence in ran.err


def test_without_a_process_it_says_what_to_do(cli: Callable[..., Ran], runtime: Path) -> None:
    ran = cli("watch")
    assert ran.code == 3
    assert "put tui_params.serve(model, optimizer) into the training script" in ran.err
