"""Python literals in the header of a NumPy file: read by a parser of our own, which evaluates nothing.

numpy/lib/_format_impl.py writes ``repr`` of a dict of texts, tuples, lists, whole numbers and booleans.
"""

from __future__ import annotations

import re
from typing import Any

from tui_params.errors import OpenError

MAX_DEPTH = 32
"""Levels of brackets: a type of records in records has a few."""

_SPACES = " \t\n\r\f"
"""What Python takes for the space between tokens: no other one of Unicode."""

_TOKEN = re.compile(
    r"[ \t\n\r\f]*(?:(?P<open>[({\[])|(?P<close>[)}\]])|(?P<mark>[,:])|"
    r"(?P<number>-?(?:0{1,19}|[1-9]\d{0,18}))[lL]?(?![\w.])"
    r"|(?P<word>True|False|None)(?!\w)|[uU]?(?:'(?P<single>(?:[^'\\\n]|\\[^\n])*)'|\"(?P<double>(?:[^\"\\\n]|\\[^\n])*)\"))",
    re.ASCII,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|U0010[0-9a-fA-F]{4}|.)")
_LETTERS = {"n": "\n", "t": "\t", "r": "\r"}
_WORDS: dict[str, bool | None] = {"True": True, "False": False, "None": None}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def token(self) -> tuple[str, str]:
        """The next token: its kind and its text; two empty texts at the end."""
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            if self._text[self._at :].strip(_SPACES):
                raise OpenError("its header is no Python literal")
            return "", ""
        self._at = match.end()
        kind = match.lastgroup or ""
        return kind, match[kind]

    def value(self, token: tuple[str, str], depth: int) -> Any:
        kind, text = token
        if kind == "number":
            return int(text)
        if kind == "word":
            return _WORDS[text]
        if kind in ("single", "double"):
            return _ESCAPE.sub(_unescape, text) if "\\" in text else text
        if kind != "open" or depth >= MAX_DEPTH:
            raise OpenError("its header is no Python literal, or is nested too deeply")
        return self._mapping(depth + 1) if text == "{" else self._sequence(text, depth + 1)

    def _sequence(self, bracket: str, depth: int) -> Any:
        items: list[Any] = []
        has_comma = True
        while True:
            token = self.token()
            if token == ("close", _CLOSING[bracket]):
                # One item in parentheses without a comma is that item.
                is_tuple = bracket == "(" and (has_comma or len(items) != 1)
                return tuple(items) if is_tuple else items[0] if bracket == "(" else items
            if not has_comma:
                raise OpenError("its header lacks a comma")
            items.append(self.value(token, depth))
            has_comma = self._comma()

    def _mapping(self, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        has_comma = True
        while True:
            token = self.token()
            if token == ("close", "}"):
                return items
            key = self.value(token, depth) if has_comma else None
            if type(key) is not str or self.token() != ("mark", ":"):
                raise OpenError("its header is no dict of names")
            items[key] = self.value(self.token(), depth)
            has_comma = self._comma()

    def _comma(self) -> bool:
        before = self._at
        if self.token() == ("mark", ","):
            return True
        self._at = before
        return False


def parse_literal(text: str) -> Any:
    """The value of a literal of dicts, tuples, lists, texts, whole numbers, True, False and None. Raises OpenError."""
    parser = _Parser(text)
    value = parser.value(parser.token(), 0)
    if parser.token() != ("", ""):
        raise OpenError("its header goes on after its end")
    return value


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _LETTERS.get(code, code)
