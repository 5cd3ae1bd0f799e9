"""Saving: the tensors of what a watch has seen, as files, as they were at their step."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tui_params.core.text import clean
from tui_params.errors import OccupiedError, WriteError
from tui_params.live.watching.watch import Look

_MOST_NAMES = 1_000


class Saving:
    """Writes the tensors of the events of each step into ``folder``, in a file of their own.

    ``before`` is what the names of its files begin with.
    """

    def __init__(self, folder: str, origin: str, before: str = "") -> None:
        self._folder, self._origin, self._before = folder, origin, before

    def save(self, look: Look) -> str:
        """The path of the new file. Raises WriteError."""
        from tui_params.core.export.new_file import write_file
        from tui_params.core.export.safetensors import safetensors_of

        by_name = {event.info.name: event.info for event in look.events}
        tensors = [(info, look.copies[name]) for name, info in by_name.items()]
        metadata = {"step": str(look.step), "source": self._origin}
        for number in range(1, _MOST_NAMES):
            path = os.path.join(
                self._folder, f"{self._before}step-{look.step}{f'-{number}' if number > 1 else ''}.safetensors"
            )
            with suppress(OccupiedError):
                write_file(path, lambda: safetensors_of(tensors, metadata))
                return path
        raise WriteError(f"{clean(self._folder, 60)} has {_MOST_NAMES - 1} files of step {look.step} already")


def writable_folder(path: str) -> Path:
    """The folder of a path. Raises WriteError if there is none, or nothing can be written in it."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise WriteError(f"there is no folder {clean(path, 100)}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"nothing can be written in {clean(path, 100)}")
    return folder
