"""The characters that draw the interface: one cell wide each, with a plain ASCII set for poor terminals."""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping

import msgspec


class Glyphs(msgspec.Struct, frozen=True):
    """The characters of the tree and the detail pane. Colour alone says nothing: each meaning has its own mark."""

    is_ascii: bool
    opened: str
    closed: str
    error: str
    warning: str
    unreadable: str
    tied: str
    trainable: str
    unknown: str
    working: str
    divider: str
    bar: str
    separator: str
    gradient: str
    ascending: str


UNICODE = Glyphs(False, "▾", "▸", "!", "~", "x", "=", "*", "·", "…", "│", "█", " · ", "∇", "▴")
ASCII = Glyphs(True, "v", ">", "!", "~", "x", "=", "*", ".", ".", "|", "#", " | ", "grad", "^")


def choose(environ: Mapping[str, str] = os.environ) -> Glyphs:
    """ASCII if the user asks for it (TUI_PARAMS_ASCII=1) or the locale is not a Unicode one."""
    if environ.get("TUI_PARAMS_ASCII", "") not in ("", "0"):
        return ASCII
    # In the locale C, Python itself writes UTF-8 (PEP 540) and says so; the terminal was asked for ASCII.
    if (environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG")) in ("C", "POSIX"):
        return ASCII
    encoding = locale.getpreferredencoding(False).lower().replace("-", "")
    return UNICODE if encoding.startswith("utf") else ASCII
