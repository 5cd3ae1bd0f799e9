"""Opens the explorer: on a path from the command line, on a live model from Python."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.source import Source
from tui_params.errors import ExploreError

if TYPE_CHECKING:
    from tui_params.api.opening import Optimizer, Target
    from tui_params.tui.app import ParamsApp
    from tui_params.tui.state.view import Views


def run_path(path: str, hint: str = "", reader: str | None = None) -> int:
    """Open the explorer on a checkpoint or a folder; returns the exit code, 3 if it could not be opened.

    ``hint`` is said in the status line until the user does something; ``{scan}`` in it becomes the key of that id.
    ``reader`` is the name of the format to read it as.
    """

    def open_it() -> Source:
        from tui_params.api.opening import open_source

        return open_source(path, format=reader)

    return _run(path, open_it, sys.stderr.write, hint=hint)


@with_subnormals
def explore(target: Target, *, optimizer: Optimizer | None = None) -> None:
    """Open the explorer on a model, a state dict, a path or a Source, and return when the user leaves.

    Called again on the same model or path, it opens where it was left: cursor, openings, filter and order. The caller
    waits, so a model stands still and is read in place. ``optimizer`` is the torch optimizer of a model: its
    states are shown too, as ``open_source`` lists them. Raises ExploreError where there is no terminal to take over,
    inside a running event loop (a notebook) and off the main thread; OpenError if the target cannot be opened; and
    TypeError if it is none of these, or if an optimizer is given with anything but a model. A fault of the explorer
    itself is raised once the terminal is given back, and a signal that came meanwhile (SIGINT, SIGTERM, SIGHUP) is then
    sent again.
    """
    reason = why_not()
    if reason is not None:
        raise ExploreError(reason)
    from tui_params.api.opening import open_source
    from tui_params.errors import OpenError

    source = open_source(target, optimizer=optimizer)
    said: list[str] = []
    first = [source]

    def open_it() -> Source:
        # A reload lists a model anew: its parameters may have moved.
        return first.pop() if first else open_source(target, optimizer=optimizer)

    _run(source.label, open_it, said.append, target)
    if said:
        raise OpenError("".join(said).strip())


def why_not() -> str | None:
    """Why the explorer cannot take over the terminal here and what to do instead; None if it can."""
    instead = "tui_params.open_source(model) gives the same statistics without a terminal"
    if threading.current_thread() is not threading.main_thread():
        return f"explore() must be called on the main thread, because the terminal's signals arrive there; {instead}."
    loop = sys.modules.get("asyncio")
    # If nobody has imported asyncio, no loop is running; importing it here would only cost time.
    if loop is not None and loop._get_running_loop() is not None:
        return (
            "explore() cannot run inside a running event loop (a notebook, an async function): save the state dict and "
            f"run `tui-params FILE` in a terminal, or call it from a plain script; {instead}."
        )
    # Textual draws on standard error.
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        return f"explore() needs a terminal, and standard input, output or error is not one; {instead}."
    if os.environ.get("TERM", "") in ("", "dumb"):
        return f"explore() needs a terminal that can draw, and TERM is {os.environ.get('TERM', '')!r}; {instead}."
    return None


_VIEWS: list[Views] = []
"""Where explorers of this process were left; made when the first one is."""


def _run(
    label: str,
    open_it: Callable[[], Source],
    complain: Callable[[str], object],
    target: object = None,
    hint: str = "",
) -> int:
    was_collecting = gc.isenabled()
    apps: list[ParamsApp] = []
    faults: list[Exception] = []
    held: list[int] = []

    def fail(fault: Exception) -> None:
        faults.append(fault)
        for app in apps:
            app.fail(fault)

    # Until the first screen is painted nothing becomes garbage; the screen turns collection on again.
    gc.disable()
    try:
        with _faults_of_threads(fail):
            from tui_params.tui.desk.pending_source import PendingSource

            # The source is opened while Textual is still being imported.
            opening = PendingSource(label, open_it)
            from tui_params import settings
            from tui_params.cache.figures import FigureCache
            from tui_params.core import text
            from tui_params.tui import keys
            from tui_params.tui.app import ParamsApp
            from tui_params.tui.terminal import signals

            chosen, complaint = settings.load(keys.IDS)
            left = _VIEWS[0].find(target) if _VIEWS else None
            app: ParamsApp = ParamsApp(
                opening, settings=chosen, complaint=complaint, cache=FigureCache(), left=left, hint=hint
            )
            apps.append(app)
            for fault in faults[:1]:
                app.fail(fault)
            with signals.held(app.leave) as held:
                app.run()
            if target is not None and app.view is not None:
                from tui_params.tui.state.view import Views

                _VIEWS[:] = _VIEWS or [Views()]
                _VIEWS[0].keep(target, app.view)
        if app.fault is not None:
            raise app.fault
    finally:
        if was_collecting:
            gc.enable()
        else:
            gc.disable()
        if held:
            signals.deliver(held)
    if app.failure is not None:
        complain(f"tui-params: {text.clean(app.failure)}\n")
    return app.return_code or 0


@contextmanager
def _faults_of_threads(fail: Callable[[Exception], None]) -> Iterator[None]:
    """Meanwhile unforeseen exceptions in threads of ours go to ``fail``; Python would print them over the screen."""
    before = threading.excepthook

    def hook(happened: threading.ExceptHookArgs) -> None:
        from traceback import walk_tb

        fault = happened.exc_value
        is_ours = any(
            frame.f_globals.get("__name__", "").startswith("tui_params.")
            for frame, _ in walk_tb(happened.exc_traceback)
        )
        if isinstance(fault, Exception) and is_ours:
            fail(fault)
        else:
            before(happened)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
