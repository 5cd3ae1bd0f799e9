"""``tui-params watch``: says when a gradient or a parameter of a model that trains becomes NaN, too large, or still."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress

import click

from tui_params.cli.completion import complete_condition, complete_path, complete_serving
from tui_params.cli.exit_codes import FAILED, FOUND, INTERRUPTED, OK
from tui_params.cli.fields import WATCH, epilog
from tui_params.cli.numbers import Seconds
from tui_params.cli.selection import select as select_tensors
from tui_params.cli.served import choose_served
from tui_params.cli.watch_command import Running
from tui_params.cli.watch_report import JsonReport, Report, Served, TextReport, event_entry
from tui_params.core.tensor import TensorInfo
from tui_params.core.watching import HOLD_SECONDS, MAX_HOLD_SECONDS
from tui_params.errors import OpenError, QueryError, ReadError, WriteError
from tui_params.live.attached.finding import find_serving
from tui_params.live.attached.source import AttachedSource
from tui_params.live.relay.address import is_far, parse_far
from tui_params.live.watching.condition import Condition, parse_condition
from tui_params.live.watching.saving import Saving, writable_folder
from tui_params.live.watching.watch import Look, Watch, choose_watched

_TICK = 0.1
_GRADIENT = ".grad"


@click.command(name="watch", short_help="Say when a tensor goes wrong while it trains.", epilog=epilog(WATCH))
@click.argument("which", metavar="[PID | NAME]", required=False, shell_complete=complete_serving)
@click.option(
    "--on",
    "wanted",
    multiple=True,
    metavar="CONDITION",
    shell_complete=complete_condition,
    help="nan, inf, norm>NUMBER, norm>NUMBERx (times the median of its last 128 norms), or still:STEPS (not a bit of a"
    " parameter changed). May be repeated; by default nan and inf.",
)
@click.option(
    "--tensor",
    "patterns",
    multiple=True,
    metavar="NAME",
    help="Only these: a tensor, the tensors below a module, or a pattern such as '*.bias'; with their gradients. Only"
    " the gradients: NAME.grad. May be repeated.",
)
@click.option("--exec", "command_line", metavar="CMD", help="Run this in a shell at each step with events.")
@click.option(
    "--save",
    "folder",
    metavar="DIR",
    shell_complete=complete_path,
    help="Write the tensors of the events of a step to DIR/step-N.safetensors, as they were at that step. DIR has to"
    " exist.",
)
@click.option("--pause", is_flag=True, help="Hold the training after an event, until enter is pressed.")
@click.option(
    "--for",
    "seconds",
    type=Seconds(MAX_HOLD_SECONDS),
    metavar="SECONDS",
    help=f"How long --pause holds at most; {HOLD_SECONDS:.0f} by default.",
)
@click.option("--once", is_flag=True, help="End after the first step with events.")
@click.option("--json", "as_json", is_flag=True, help="Print all that happens, each as a line of JSON.")
def command(
    which: str | None,
    wanted: tuple[str, ...],
    patterns: tuple[str, ...],
    command_line: str | None,
    folder: str | None,
    pause: bool,
    seconds: float | None,
    once: bool,
    as_json: bool,
) -> int:
    """Look at gradients, parameters and buffers of a model at every step, and print a line when something begins.

    NaN and infinities are looked for in all of them; norms are those of gradients. A condition that goes on holding for
    a tensor is not told again. PID and NAME are those of attach; a process that serves nothing is entered.

    With --pause the training thread stands at the end of a step: for NaN and infinities of that very step, else, and
    for what lies on a GPU, of one soon after, which is said. It goes on when enter is pressed, when the time is over,
    and when the watch ends, however it ends.

    CMD finds the facts in its environment: TUI_PARAMS_STEP, TUI_PARAMS_TENSOR and TUI_PARAMS_CONDITION of the first
    event, TUI_PARAMS_COUNT, TUI_PARAMS_EVENTS (JSON), TUI_PARAMS_SAVED, TUI_PARAMS_PID and TUI_PARAMS_NAME.

    The exit code is 1 if there was an event, 3 if no step or a tensor at none was looked at, 130 after ctrl+c.
    """
    conditions = _conditions(wanted)
    if which is not None and is_far(which):
        raise click.UsageError(
            f"watch runs where the model trains: ssh {parse_far(which)[0].name} tui-params watch PID"
        )
    if seconds is not None and not pause:
        raise click.UsageError("--for says how long --pause holds: add --pause")
    if folder is not None:
        folder = str(writable_folder(folder))
    chosen = choose_served(find_serving(), which)
    with AttachedSource(chosen.path) as source:
        assert isinstance(source, AttachedSource)
        choice = choose_watched(source.listing, *_selected(source, patterns), conditions)
        if not choice.watched:
            reason = next(iter(choice.left_out.values()), "nothing of it is what these conditions are about")
            raise OpenError(f"there is nothing to watch in {source.label}: {reason}")
        served = Served(chosen.pid, chosen.name, source.page.steps)
        watch = Watch(source, choice, (seconds or HOLD_SECONDS) if pause else 0.0)
        report: Report = JsonReport() if as_json else TextReport()
        report.start(served, choice, [each.text for each in conditions], watch.is_whole)
        session = _Session(watch, report, pause=pause, once=once)
        session.saving = None if folder is None else Saving(folder, source.label)
        session.running = None if command_line is None else Running(command_line, chosen.pid, chosen.name)
        return session.run()


def _conditions(wanted: tuple[str, ...]) -> list[Condition]:
    try:
        return list(dict.fromkeys(parse_condition(word) for word in wanted or ("nan", "inf")))
    except QueryError as error:
        raise click.UsageError(str(error)) from None


def _selected(source: AttachedSource, patterns: tuple[str, ...]) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """The tensors and the gradients that are meant. Raises UnknownTensorError."""
    listing = source.listing
    if not patterns:
        model = [info for info in listing.tensors if info.kind in ("parameter", "buffer")]
        return model, list(listing.gradients.values())
    tensors: dict[str, TensorInfo] = {}
    gradients: dict[str, TensorInfo] = {}
    for pattern in patterns:
        of_gradients = pattern.endswith(_GRADIENT)
        for info in select_tensors(source, pattern.removesuffix(_GRADIENT)):
            if not of_gradients:
                tensors[info.name] = info
            if info.name in listing.gradients:
                gradients[info.name] = listing.gradients[info.name]
    return list(tensors.values()), list(gradients.values())


class _Session:
    """A watch from its first step to its end."""

    def __init__(self, watch: Watch, report: Report, *, pause: bool, once: bool) -> None:
        self._watch, self._report, self._pause, self._once = watch, report, pause, once
        self.saving: Saving | None = None
        self.running: Running | None = None
        self._events = 0
        self._event_step = 0
        self._standing: int | None = None
        """The step at whose end the training stands; 0 if that is not known yet, None if it is not to stand."""

        self._enter = _Enter()

    def run(self) -> int:
        """The exit code."""
        try:
            reason = self._run()
        except KeyboardInterrupt:
            # The end of the connection lets the training go on.
            self._report.end("interrupted", self._events, self._watch)
            return INTERRUPTED
        self._report.end(reason, self._events, self._watch)
        if self.running is not None:
            self.running.wait()
        if self._events:
            return FOUND
        return FAILED if not self._watch.looked or self._watch.unlooked() else OK

    def _run(self) -> str:
        watch = self._watch
        while True:
            look = watch.look(_TICK)
            if look is not None and look.events:
                self._act(look)
            if self._standing is not None:
                self._stand()
            elif look is None and self._pause:
                self._let_go()
            if self._once and self._events and self._standing is None:
                return "done"
            if look is None and watch.lost is not None and not watch.has_unread():
                return watch.lost

    def _act(self, look: Look) -> None:
        self._events += len(look.events)
        self._event_step = look.step
        if self._pause:
            with suppress(ReadError):  # it has gone meanwhile: what was seen is told all the same
                self._watch.hold()
            self._standing = self._standing or 0
        saved = not_saved = None
        if self.saving is not None:
            try:
                saved = self.saving.save(look)
            except WriteError as error:
                not_saved = str(error)
        self._report.look(look, saved, not_saved)
        if self.running is not None:
            self.running.run(look, saved, event_entry)

    def _stand(self) -> None:
        """Tell that the training stands, and look whether it is to go on."""
        watch, stood = self._watch, self._standing
        if watch.has_unread():
            return
        try:
            held = watch.held()
            if stood and (held is None or held.step not in (stood, 0)):
                self._report.released(stood, "limit")
            if held is None:
                self._standing = None
            elif held.step and held.step != stood and not watch.has_unread():
                self._standing = held.step
                self._enter.forget()
                self._report.held(held, self._event_step)
            elif stood and self._enter.was_pressed():
                watch.release()
                self._report.released(stood, "user")
                self._standing = None
        except ReadError:
            self._standing = None  # the process has ended

    def _let_go(self) -> None:
        """Let the training go on if it stands for a reason that is none here: an infinity hidden by a NaN, or none."""
        watch = self._watch
        if not watch.is_anyone_holding() or watch.has_unread():
            return
        with suppress(ReadError):
            held = watch.held()
            if held is not None and not watch.has_unread():
                watch.release()
                self._report.released(held.step, "watch")


class _Enter:
    """The enter key: a line on stdin, which may be a terminal or a pipe. Its end is no line."""

    def __init__(self) -> None:
        try:
            self._fd: int | None = sys.stdin.fileno()
        except (OSError, ValueError, AttributeError):
            self._fd = None

    def forget(self) -> None:
        """Take no notice of what was typed until now."""
        if self._fd is not None and os.isatty(self._fd):
            self.was_pressed()

    def was_pressed(self) -> bool:
        """Whether a line came since the last call."""
        fd = self._fd
        try:
            # A process in the background that reads from its terminal is stopped.
            if fd is None or (os.isatty(fd) and os.tcgetpgrp(fd) != os.getpgrp()):
                return False
            if not select.select([fd], [], [], 0)[0]:
                return False
            typed = os.read(fd, 4096)
        except (OSError, ValueError):
            typed = b""
        if not typed:
            self._fd = None
        return b"\n" in typed
