"""Files of one folder, opened one after another; elsewhere side by side, because each waits for its server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from tui_params.core.source import Source
from tui_params.errors import OpenError
from tui_params.sources.bytes.far import is_far

OpenFile: TypeAlias = Callable[[Path], Source]
"""Opens one file of a folder, whatever its format. Raises OpenError."""

_AT_ONCE = 32
"""Files that are opened at a time elsewhere, as many as a server is asked at once."""


def open_each(folder: Path, names: Iterable[str], open_file: OpenFile) -> Iterator[tuple[str, Source | str]]:
    """Each file with its source, or with the sentence that says why there is none; in the order of ``names``."""
    names = list(names)
    if len(names) < 2 or not is_far(folder):
        for name in names:
            yield name, open_or_reason(folder / name, open_file)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_AT_ONCE, len(names)), "tui-params open") as threads:
        yield from zip(names, threads.map(lambda name: open_or_reason(folder / name, open_file), names), strict=True)


def open_or_reason(path: Path, open_file: OpenFile) -> Source | str:
    """The source in one file, or the sentence that says why there is none."""
    try:
        return open_file(path)
    except OpenError as error:
        return str(error)
