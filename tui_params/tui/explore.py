"""Opens the explorer: on a path from the command line, on a live model from Python."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, overload

from tui_params.core.collector import look_again
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.source import Source
from tui_params.errors import ExploreError

if TYPE_CHECKING:
    from tui_params.api.opening import Optimizer, Target
    from tui_params.core.edits import Change, Editor
    from tui_params.live.editor import LiveEditor
    from tui_params.tui.app import ParamsApp
    from tui_params.tui.desk.listing_process import ListingProcess
    from tui_params.tui.state.looks import Looks, LooksByModel
    from tui_params.tui.state.view import Views


def run_path(
    path: str, hint: str = "", reader: str | None = None, *, is_logical: bool = False, other: str | None = None
) -> int:
    """Open the explorer on a checkpoint or a folder; returns the exit code, 3 if it could not be opened.

    It is compared with ``other``, if that is given.

    ``hint`` is said in the status line until the user does something; ``{scan}`` in it becomes the key of that id.
    ``reader`` is the name of the format to read it as. ``is_logical``: packed weights are shown as what they mean.
    """

    def open_it() -> Source:
        from tui_params.api.opening import open_source

        return open_source(path, format=reader)

    def open_other() -> Source:
        from tui_params.api.opening import open_source

        assert other is not None
        return open_source(other, format=reader)

    from tui_params.tui.desk import listing_process

    beside = open_other if other is not None else None
    is_plain = reader is None and other is None and not is_logical
    # First of all, because it is a fork.
    listing = listing_process.begin(path) if is_plain else None
    from tui_params.sources.given import shown

    return _run(
        shown(path), open_it, sys.stderr.write, hint=hint, is_logical=is_logical, open_other=beside, given=path,
        listing=listing,
    )  # fmt: skip


@overload
def explore(
    target: Target,
    *,
    optimizer: Optimizer | None = None,
    keep: bool = False,
    editable: Literal[False] = False,
    against: Target | None = None,
) -> None: ...


@overload
def explore(
    target: Target,
    *,
    optimizer: Optimizer | None = None,
    keep: bool = False,
    editable: Literal[True],
    against: Target | None = None,
) -> list[Change]: ...


@overload
def explore(
    target: Target,
    *,
    optimizer: Optimizer | None = None,
    keep: bool = False,
    editable: bool,
    against: Target | None = None,
) -> list[Change] | None: ...


@with_subnormals
def explore(
    target: Target,
    *,
    optimizer: Optimizer | None = None,
    keep: bool = False,
    editable: bool = False,
    against: Target | None = None,
) -> list[Change] | None:
    """Open the explorer on a model, a state dict, a path or a Source, and return when the user leaves.

    With ``editable``, the values of a model or of a mapping of tensors in memory can be set (README, "Set values"), and
    what was changed and not undone is returned, a frozen record for each edit, the oldest first; else None.

    Called again on the same model or path, it opens where it was left: cursor, openings, filter and order. The caller
    waits, so a model stands still and is read in place. ``optimizer`` is the torch optimizer of a model: its states are
    shown too, as ``open_source`` lists them.

    Of a model that was looked at before, it shows what has moved since: a few figures and a digest of each tensor are
    kept for as long as the model lives. With ``keep`` its values are kept too (in memory, at most 4 GiB and a quarter
    of the machine's), so that the next look shows the exact relative change. ``keep`` does nothing for a path or a
    mapping, which cannot be recognised again.

    ``against`` is another target, such as the checkpoint that the model was started from: what differs between both is
    shown in place of what has moved since the last look.

    Raises ExploreError where there is no terminal to take over, inside a running event loop (a notebook) and off the
    main thread; OpenError if the target cannot be opened; and TypeError if it is none of these, if an optimizer is
    given with anything but a model, or if ``editable`` is asked for anything but a model or a mapping: files are never
    written. A fault of the explorer itself is raised once the terminal is given back, and a signal that came meanwhile
    (SIGINT, SIGTERM, SIGHUP) is then sent again.
    """
    reason = why_not()
    if reason is not None:
        if sys.stdout.isatty() and not sys.stderr.isatty():
            # The traceback will be where nobody looks.
            sys.stdout.write(f"{reason}\n")
        raise ExploreError(reason)
    from tui_params.api.opening import open_source
    from tui_params.errors import OpenError

    if editable and isinstance(target, (str, os.PathLike, Source)):
        what = "a model or a mapping of tensors in memory"
        raise TypeError(f"editable=True is for {what}, not for a {type(target).__name__}: files are never written")
    source = open_source(target, optimizer=optimizer)
    editor = _editor_of(source) if editable else None
    said: list[str] = []
    first = [source]

    def open_it() -> Source:
        # A reload lists a model anew: its parameters may have moved.
        opened = first.pop() if first else open_source(target, optimizer=optimizer)
        _attach(editor, opened)
        return opened

    try:
        beside = (lambda: open_source(against)) if against is not None else None
        _run(source.label, open_it, said.append, target, keeps_values=keep, editor=editor, open_other=beside)
    except Exception as fault:
        if editor is not None and editor.changes and hasattr(fault, "add_note"):  # from Python 3.11 on
            fault.add_note(f"These edits were made before: {editor.changes}")
        raise
    finally:
        if editor is not None:
            editor.close()
    if said:
        raise OpenError("".join(said).strip())
    return list(editor.changes) if editor is not None else None


def _editor_of(source: Source) -> LiveEditor:
    from tui_params.live.editor import LiveEditor

    editor = LiveEditor()
    _attach(editor, source)
    return editor


def run_timeline(paths: Sequence[str], reader: str | None = None) -> int:
    """Open the timeline of the checkpoints at these paths, in their order; returns the exit code, as ``run_path``."""
    apps: list[ParamsApp] = []

    def fail(fault: Exception) -> None:
        for app in apps:
            app.fail(fault)

    with _faults_of_threads(fail):
        from tui_params import settings
        from tui_params.cache.figures import FigureCache
        from tui_params.tui.app import ParamsApp
        from tui_params.tui.screens.tensor.lenses import KeyIds
        from tui_params.tui.state.run import Run
        from tui_params.tui.terminal import signals

        chosen, complaint = settings.load(KeyIds())
        run = Run(tuple(paths), reader)
        app = ParamsApp(None, settings=chosen, complaint=complaint, cache=FigureCache(), run=run)
        apps.append(app)
        with signals.held(app.leave) as held:
            app.run()
    if app.fault is not None:
        raise app.fault
    if held:
        signals.deliver(held)
    if app.failure is not None:
        from tui_params.core import text

        sys.stderr.write(f"tui-params: {text.clean(app.failure)}\n")
    return app.return_code or 0


def _attach(editor: LiveEditor | None, source: Source) -> None:
    from tui_params.live.source import ProbeSource

    if editor is not None and isinstance(source, ProbeSource):
        editor.attach(source)


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
    streams = (("input", sys.stdin), ("output", sys.stdout), ("error", sys.stderr))
    redirected = [name for name, stream in streams if not stream.isatty()]
    if redirected:
        are = f"{' and '.join(redirected)} {'is not one' if len(redirected) == 1 else 'are none'}"
        return f"explore() needs a terminal, and standard {are} (redirected?); {instead}."
    if os.environ.get("TERM", "") in ("", "dumb"):
        return f"explore() needs a terminal that can draw, and TERM is {os.environ.get('TERM', '')!r}; {instead}."
    return None


_VIEWS: list[Views] = []
"""Where explorers of this process were left; made when the first one is."""

_LOOKS: list[LooksByModel] = []
"""What was kept of the models that were looked at; made when the first one is."""

FINISHING = 0.25
"""Seconds for which a call reads on when the user has left, so that the next look finds more to compare with."""


def _run(
    label: str,
    open_it: Callable[[], Source],
    complain: Callable[[str], object],
    target: object = None,
    hint: str = "",
    *,
    keeps_values: bool = False,
    editor: Editor | None = None,
    is_logical: bool = False,
    open_other: Callable[[], Source] | None = None,
    given: str | None = None,
    listing: ListingProcess | None = None,
) -> int:
    was_collecting, frozen = gc.isenabled(), gc.get_freeze_count()
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
            opening = PendingSource(
                label, open_it, is_logical=is_logical, open_other=open_other, given=given, listing=listing
            )
            from tui_params import settings
            from tui_params.cache.figures import FigureCache
            from tui_params.core import text
            from tui_params.tui.app import ParamsApp
            from tui_params.tui.screens.tensor.lenses import KeyIds
            from tui_params.tui.terminal import signals

            chosen, complaint = settings.load(KeyIds())
            left = _VIEWS[0].find(target) if _VIEWS else None
            looks = _looks_at(target)
            if looks is not None:
                looks.keeps_values = keeps_values
            app: ParamsApp = ParamsApp(
                opening,
                settings=chosen,
                complaint=complaint,
                cache=FigureCache(),
                left=left,
                hint=hint,
                looks=looks,
                editor=editor,
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
            if looks is not None and app.fault is None and not held:
                _finish(looks, open_it)
        if app.fault is not None:
            raise app.fault
    finally:
        look_again(frozen)
        if was_collecting:
            gc.enable()
        else:
            gc.disable()
        if held:
            signals.deliver(held)
    if app.failure is not None:
        complain(f"tui-params: {text.clean(app.failure)}\n")
    return app.return_code or 0


def _looks_at(target: object) -> Looks | None:
    """The looks at a model; None for everything else."""
    from tui_params.api.opening import is_live_module

    if not is_live_module(target):
        return None
    from tui_params.tui.state.looks import LooksByModel

    _LOOKS[:] = _LOOKS or [LooksByModel()]
    return _LOOKS[0].of(target)


def _finish(looks: Looks, open_it: Callable[[], Source]) -> None:
    """Read what the next look needs and was not read yet: a moment long, or where values are kept to the end."""
    present = looks.present
    if present is None:
        return
    from tui_params.errors import TuiParamsError
    from tui_params.tui.desk.recording import Recording

    if not present.is_whole:
        try:
            source = open_it()
        except TuiParamsError:
            looks.end()
            return
        others = [look for look in (looks.pin,) if look is not None]
        rest = Recording(
            source, 0, present, looks.before, others, keeps_values=looks.keeps_values, figures=lambda name: None
        )
        with source:
            rest.run(None if looks.keeps_values else FINISHING)
    looks.end()


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
