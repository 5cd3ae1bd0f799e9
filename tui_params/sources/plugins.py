"""Formats of others: rows for the table of formats that installed packages register by an entry point.

A package names them in the group ``tui_params.readers``; each leads to a ``Reader``. They are looked for only where
none of our own formats fits, or where one is asked for by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import msgspec

from tui_params.core.source import Source
from tui_params.core.text import clean
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.row import Reader

GROUP = "tui_params.readers"


class PluginError(OpenError):
    """A plug-in is broken; nothing else is."""


def reader_named(name: str, own: Sequence[Reader]) -> Reader:
    """The reader of that name, in whatever case: one of our ``own`` or a registered one.

    Raises UnknownFormatError if there is none, and PluginError if it is broken.
    """
    lowered = name.lower()
    row = next((row for row in own if row.name.lower() == lowered), None)
    if row is not None:
        return row
    points = _points()
    point = next((point for point in points if point.name.lower() == lowered), None)
    if point is None:
        known = ", ".join([*(row.name for row in own), *(clean(point.name, 60) for point in points)])
        raise UnknownFormatError(f"there is no format {clean(name, 60)!r} that can be opened; the formats are {known}")
    return _load(point)


def find_fitting(fits: Callable[[Reader], bool]) -> tuple[Reader | None, list[str]]:
    """The first registered reader that fits, and a sentence for each before it that is broken."""
    faults: list[str] = []
    for point in _points():
        try:
            row = _load(point)
            if _guarded(point, fits, row):
                return row, faults
        except PluginError as error:  # noqa: PERF203 - there are few plug-ins
            faults.append(str(error))
    return None, faults


def _points() -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def _load(point: EntryPoint) -> Reader:
    row = _guarded(point, point.load)
    if not isinstance(row, Reader):
        raise PluginError(f"{_called(point)} is broken: {clean(point.value, 120)} is no Reader")
    opener = row.open

    def open_it(path: Path) -> Source:
        source = _guarded(point, opener, path)
        if not isinstance(source, Source):
            raise PluginError(f"{_called(point)} is broken: it opened {clean(path.name, 80)} as no Source")
        return source

    return msgspec.structs.replace(row, open=open_it)


def _guarded(point: EntryPoint, call: Callable[..., Any], *given: Any) -> Any:
    """What a plug-in returns; whatever it raises but OpenError becomes one sentence."""
    try:
        return call(*given)
    except OpenError:
        raise
    except Exception as error:  # noqa: BLE001 - the code of others may raise anything
        raise PluginError(f"{_called(point)} is broken: {type(error).__name__}: {clean(str(error), 160)}") from None


def _called(point: EntryPoint) -> str:
    package = point.dist.name if point.dist is not None else point.value
    return f"the plug-in {clean(point.name, 60)} of {clean(package, 60)}"
