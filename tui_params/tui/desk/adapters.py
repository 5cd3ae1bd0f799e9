"""The adapters of a source and the changes that they make, computed on a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.core import text
from tui_params.core.reading.outcome import attempt
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.tui.desk.fetching import Fetching
from tui_params.tui.desk.messages import AdaptersFound, ChangesFound, Faulted
from tui_params.tui.desk.worker import Worker

if TYPE_CHECKING:
    from tui_params.core.adapters.change import Change, Changes
    from tui_params.core.health.adapters import Adapter


class AdapterDesk:
    """Answers what is asked about adapters. What it needs is imported only then: the first screen is painted."""

    def __init__(self, source: Source, generation: int, post: Callable[[Message], object], fetching: Fetching) -> None:
        self._source = source
        self._fetching = fetching
        self._generation = generation
        self._post = post
        self._worker = Worker("adapters", self._say)
        self._changes: Changes | None = None
        self._path: str | None = None
        self._is_stopped = False

    def want(self) -> None:
        """Ask for the adapters of the source; answered by AdaptersFound."""

        def find() -> None:
            from tui_params.core.health.adapters import adapters_of

            found, reason = attempt(lambda: adapters_of(self._source))
            if not self._is_stopped:
                self._post(AdaptersFound(self._generation, found or ()))
                self._say(reason)

        self._worker.do(find)

    def want_changes(self, path: str, adapters: Sequence[Adapter]) -> None:
        """Ask for the changes that these adapters make, at or below the module ``path``; answered by ChangesFound.

        Only the module that was asked for last is answered: what is computed for another one is given up.
        """

        def is_over() -> bool:
            return self._is_stopped or self._path != path

        def compute() -> None:
            from tui_params.core.adapters.change import Changes

            if is_over():
                return
            if self._changes is None:
                self._changes = Changes(self._source)
            found = tuple([self._change(self._changes, adapter, is_over) for adapter in adapters])
            if not is_over():
                self._post(ChangesFound(self._generation, path, found))

        self._path = path
        if not self._is_stopped:
            self._worker.do(compute)

    def _change(self, changes: Changes, adapter: Adapter, is_over: Callable[[], bool]) -> Change:
        """What an adapter changes, or why that is not known. Raises StoppedError."""
        from tui_params.core.adapters.change import Change

        found, reason = attempt(lambda: changes.of(adapter, is_over, self._refuse))
        return found if found is not None else Change("", reason=reason)

    def _say(self, reason: str | None) -> None:
        if reason is not None:
            self._post(Faulted(f"Adapters: {reason}."))

    def _refuse(self, infos: Sequence[TensorInfo]) -> str:
        """Why these tensors are not read by themselves."""
        nbytes = self._fetching.total(infos).nbytes
        return f"{text.size(nbytes)} would be fetched for it" if nbytes > self._fetching.below else ""

    def stop(self) -> None:
        """Compute nothing after the present block."""
        self._is_stopped = True
        self._worker.stop()
