"""What the shell may complete: paths, the names of tensors below a SOURCE, the names of thresholds.

Only the listing of a source is read, never a value. Whatever goes wrong, there is nothing to complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import Thread
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from tui_params.cli.reader_option import Reader

OPEN = "open"
"""The type of an item after which the shell must not put a space, because more of the word follows."""

MOST = 300
"""Names that are offered at a time."""

PATIENCE = 2.0
"""Seconds after which nothing is offered, because the source is slow to list."""


def complete_path(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files and folders, as the shell itself completes them: a checkpoint may have any name."""
    return [CompletionItem(incomplete, type="file")]


def complete_serving(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The numbers and the names of the processes that serve a model."""
    from tui_params.errors import TuiParamsError
    from tui_params.live.attached.finding import find_serving

    try:
        found = find_serving()
    except TuiParamsError:
        return []  # the command will say why
    words = {word: each.command for each in found for word in (each.number, each.name) if word}
    return [CompletionItem(word, help=command) for word, command in words.items() if word.startswith(incomplete)]


def complete_condition(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What ``watch --on`` takes; a number follows two of them."""
    words = {
        "nan": "an element is NaN",
        "inf": "an element is infinite",
        "norm>": "the norm of a gradient is above a number, or with x above a multiple of its median",
        "still:": "a parameter has not changed for so many steps",
    }
    return [
        CompletionItem(word, type=OPEN if word[-1] in ">:" else "plain", help=meaning)
        for word, meaning in words.items()
        if word.startswith(incomplete)
    ]


def complete_threshold(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """``abs-max-warning=``, to be followed by a number."""
    from tui_params.core.health.thresholds import MEANINGS

    names = ((name.replace("_", "-"), meaning) for name, meaning in MEANINGS.items())
    return [
        CompletionItem(f"{name}=", type=OPEN, help=meaning) for name, meaning in names if name.startswith(incomplete)
    ]


def complete_name(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names in SOURCE that begin so, up to the next dot, as paths are completed up to the next slash."""
    from tui_params.cli.reader_option import chosen_reader

    reader = chosen_reader(context)
    words = next_parts(_names_in(context.params.get("source"), reader), incomplete)
    return [CompletionItem(word, type=OPEN if word.endswith(".") else "plain") for word in words]


def _names_in(path: str | None, reader: Reader) -> list[str]:
    """The names of the tensors at a path as they are printed; empty if it cannot be listed, or not soon."""
    if not path:
        return []
    from tui_params.cli.reader_option import open_chosen
    from tui_params.core.text import clean

    names: list[str] = []

    def read() -> None:
        try:
            with open_chosen(os.path.expandvars(path), reader) as source:
                names.extend([clean(info.name) for info in source.listing.tensors])
        except Exception:  # noqa: BLE001 - Python would print it over the line that is typed; the command will say why
            names.clear()

    thread = Thread(target=read, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return [] if thread.is_alive() else names


def next_parts(names: Iterable[str], start: str) -> list[str]:
    """The names that begin with ``start``, each cut behind its next dot unless it is alone there, in natural order.

    Where only one module begins so, those inside it. At most MOST, among them two which have nothing more in common
    than all of them have: a shell inserts what all that it is offered have in common.
    """
    from tui_params.core.name_order import natural_key

    fitting = [name for name in names if name and name.startswith(start)]
    parts: dict[str, list[str]] = {}
    while fitting:
        parts = {}
        for name in fitting:
            parts.setdefault(name[: name.find(".", len(start)) + 1] or name, []).append(name)
        start = next(iter(parts))
        if len(parts) > 1 or len(fitting) == 1 or start in fitting:
            break
    chosen = [whole[0] if len(whole) == 1 else part for part, whole in parts.items()]
    if len(chosen) > MOST:
        # The first and the last in the order of characters differ where any two do.
        chosen = list(dict.fromkeys([min(chosen), max(chosen), *chosen[: MOST - 2]]))[:MOST]
    return sorted(chosen, key=lambda part: [natural_key(segment) for segment in part.split(".")])
