"""The characters that draw the interface: one cell wide each, with a plain ASCII set for poor terminals."""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping

import msgspec


class Glyphs(msgspec.Struct, frozen=True):
    """Marks of the tree and the detail pane. No meaning is carried by colour alone: each has a mark here."""

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


UNICODE = Glyphs(False, "▾", "▸", "!", "~", "x", "=", "*", "·", "…", "│", "█", " · ", "∇")
ASCII = Glyphs(True, "v", ">", "!", "~", "x", "=", "*", ".", ".", "|", "#", " | ", "grad")


def choose(environ: Mapping[str, str] = os.environ) -> Glyphs:
    """ASCII where the user asks for it (TUI_PARAMS_ASCII=1) or the locale cannot encode anything else."""
    if environ.get("TUI_PARAMS_ASCII", "") not in ("", "0"):
        return ASCII
    encoding = locale.getpreferredencoding(False).lower().replace("-", "")
    return UNICODE if encoding.startswith("utf") else ASCII
