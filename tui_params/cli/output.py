"""How the commands print: styled lines on a terminal, plain ones into a pipe, or one JSON document."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TextIO

from tui_params.cli.streams import losing_complaints
from tui_params.core.text import clean

if TYPE_CHECKING:
    from rich.console import Console

    from tui_params.core.findings import Finding

PLAIN_WIDTH = 100
STYLE_OF_SEVERITY = {"error": "bold red", "warning": "yellow", "info": "dim"}
_NOT_ASCII = re.compile("[^\x00-\x7e]")
_INDEX = re.compile(r"\[[\d, ]+\]")


class Output:
    """Lines on stdout.

    ``width`` is the number of columns of the terminal. It is None if stdout is no terminal: then nothing is shortened
    to fit, and ``style`` adds nothing.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.width: int | None = None
        self.height: int | None = None
        self._paint: Callable[[str, str], str] | None = None
        if self.stream.isatty():
            from rich.console import Console

            console = Console(file=self.stream)
            self.width, self.height = max(console.width, 40), max(console.height, 10)
            self._paint = _painter(console)

    def style(self, text: str, style: str) -> str:
        """``text`` in a rich style such as ``bold`` or ``red``, if stdout is a terminal that can show it."""
        return text if self._paint is None or not text else self._paint(text, style)

    def note(self, note: str, style: str, used: int) -> str:
        """A note to append to a line of ``used`` characters; if a terminal is too narrow for it, it goes below."""
        if not note:
            return ""
        if self.width is None or used + 2 + len(note) <= self.width:
            return f"  {self.style(note, style)}"
        return "".join(f"\n{self.style(line, style)}" for line in hanging(note, self.width, 4))

    def line(self, text: str = "") -> None:
        """Print a line and flush it, because somebody may be waiting for it."""
        self.stream.write(text.rstrip(" ") + "\n")
        self.stream.flush()

    def lines(self, lines: Iterable[str]) -> None:
        """Print many lines."""
        self.stream.writelines(f"{line.rstrip(' ')}\n" for line in lines)


def _painter(console: Console) -> Callable[[str, str], str] | None:
    """A function that adds the escapes of a style to a text, or None if the terminal shows no styles."""
    from rich.color import ColorSystem
    from rich.style import Style

    systems = {
        "standard": ColorSystem.STANDARD,
        "256": ColorSystem.EIGHT_BIT,
        "truecolor": ColorSystem.TRUECOLOR,
        "windows": ColorSystem.WINDOWS,
    }
    system = systems.get(console.color_system or "")
    if system is None:
        return None

    def paint(text: str, style: str) -> str:
        parsed = Style.parse(style)
        return (parsed.without_color if console.no_color else parsed).render(text, color_system=system)

    return paint


def hanging(sentence: str, width: int, indent: int) -> list[str]:
    """A sentence as lines of ``width`` columns, the first indented by ``indent`` and the others by two more.

    An index such as ``[7, 300]`` is never split.
    """
    whole = _INDEX.sub(lambda match: match.group().replace(" ", "\xa0"), sentence)
    lines = wrap(
        whole, width, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2), break_on_hyphens=False
    )
    return [line.replace("\xa0", " ") for line in lines]


def complain(message: str) -> None:
    """Print one line on stderr that says what could not be done."""
    if sys.stderr is not None:  # print would take None for stdout
        with losing_complaints():
            print(f"tui-params: {clean(message)}", file=sys.stderr)


def write_json(document: object) -> None:
    """Print ``document`` as one line of strict JSON: NaN and infinities become null, every character is ASCII."""
    sys.stdout.write(encode_json(document) + "\n")


def finding_entry(finding: Finding) -> dict[str, Any]:
    """A finding as the documents have it."""
    return {
        "severity": finding.severity,
        "rule": finding.rule,
        "tensor": finding.tensor,
        "module": finding.module,
        "file": finding.file,
        "evidence": finding.evidence,
        "indices": finding.indices,
    }


def encode_json(value: object) -> str:
    """Strict JSON in ASCII, which every locale can print, and which has no control characters for a terminal."""
    import msgspec

    try:
        text = msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError):
        # A lone surrogate in a name, or an integer beyond 64 bits in a hostile shape: the slower json takes both.
        import json

        return json.dumps(msgspec.to_builtins(value), separators=(",", ":"))
    return text if text.isascii() and "\x7f" not in text else _NOT_ASCII.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))
