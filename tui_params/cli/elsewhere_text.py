"""Values that are elsewhere on the other side, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from tui_params.cli.output import Output
from tui_params.core import text
from tui_params.core.compare.elsewhere import Elsewhere
from tui_params.core.compare.elsewhere_text import relation_entries, tried_sentences

_NARROWEST_NAME = 8


def relation_lines(elsewhere: Elsewhere, output: Output, *, names: bool) -> Iterator[str]:
    """A line for each relation or each kind of them, or two where a terminal is too narrow for both names."""
    for a, slice_a, b, tail in relation_entries(elsewhere, names=names):
        line = f"  A {a}{slice_a} = B {b}{tail}"
        if output.width is not None and len(line) > output.width:
            line = (
                f"  A {text.shorten(a, max(output.width - len(slice_a) - 4, _NARROWEST_NAME))}{slice_a}\n"
                f"    = B {text.shorten(b, max(output.width - len(tail) - 8, _NARROWEST_NAME))}{tail}"
            )
        yield line


def tried_lines(elsewhere: Elsewhere, output: Output) -> Iterator[str]:
    """What was read to find such values, and what was not."""
    said = tried_sentences(elsewhere)
    if said:
        yield ""
    for sentence in said:
        yield from (output.style(line, "dim") for line in wrap(text.clean(sentence, 500), output.width or 10_000))
