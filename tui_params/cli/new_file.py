"""The writing of the file that ``-o`` names: how far it is on a terminal, and one line when it is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.errors import OccupiedError

if TYPE_CHECKING:
    from tui_params.core.export.contents import Contents
    from tui_params.core.reading.readable import FileStamp


def write_new(path: str, make: Callable[[], Contents], opened: Iterable[FileStamp], *, may_replace: bool) -> None:
    """Write what ``make`` makes, whole or not at all; says on stderr what was written.

    A file that is there is replaced only if ``may_replace``, and never if it is one of ``opened``. Raises WriteError,
    OccupiedError if there is a file, and what making raises.
    """
    from tui_params.core.export.new_file import write_file

    is_watched = sys.stderr is not None and sys.stderr.isatty()
    said = False

    def progress(done: int, total: int | None) -> None:
        nonlocal said
        if is_watched:
            said = True
            share = text.percent(done, total) if total else text.size(done)
            print(f"\r\x1b[K{share}", end="", file=sys.stderr, flush=True)

    try:
        written, contents = write_file(path, make, may_replace=may_replace, opened=opened, progress=progress)
    except OccupiedError as error:
        raise OccupiedError(f"{error}: --force writes over it") from error
    finally:
        if said:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    about = contents.about()
    print(f"wrote {text.clean(path)} ({text.size(written)}){f'; {about}' if about else ''}", file=sys.stderr)
