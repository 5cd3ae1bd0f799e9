"""HTML elements: what is text is escaped, whatever it is; only what was made here is markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

from tui_params.core.text import clean


class Html(str):
    """Markup. A plain ``str`` is text, and is escaped where it goes into an element."""

    __slots__ = ()


Child: TypeAlias = "str | None"
Value: TypeAlias = "str | int | float | bool | None"

NOTHING = Html("")
_EMPTY = frozenset({"meta", "br", "path", "rect", "line", "polyline", "circle", "col"})


def plain(text: str) -> Html:
    """A text as it is, for an element or an attribute; control characters, bidi marks and the like are written out."""
    return text if isinstance(text, Html) else Html(escape(clean(text)))


def join(children: Iterable[Child], between: str = "") -> Html:
    """Some elements and texts, one after the other."""
    return Html(between.join([plain(child) for child in children if child is not None]))


def element(tag: str, *children: Child, **attributes: Value) -> Html:
    """An element. ``class_`` is the attribute ``class``; ``_`` within a name is ``-``; None and False leave one out."""
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        spelled = name.rstrip("_").replace("_", "-")
        parts.append(f" {spelled}" if value is True else f' {spelled}="{plain(_spelled(value))}"')
    if tag in _EMPTY and not children:
        return Html("".join([*parts, "/>"]))
    return Html("".join([*parts, ">", join(children), f"</{tag}>"]))


def _spelled(value: str | int | float) -> str:
    """A number as JSON has it, so that the figures of a page can be compared with those of ``--json``."""
    return value if isinstance(value, str) else repr(value)


def number_cell(shown: str, value: float | int | None = None, name: str = "data-value", **attributes: Value) -> Html:
    """A cell of a table that shows a number; its exact value is an attribute, left out where there is none."""
    extra: dict[str, Value] = {name: value, **attributes}
    return element("td", shown, class_="n", **extra)


def table(head: Iterable[Child], rows: Iterable[Child], **attributes: Value) -> Html:
    """A table with a title row, which is repeated on every printed page; it scrolls where it is wider than the page."""
    inner = element(
        "table",
        element("thead", element("tr", *(cell if isinstance(cell, Html) else element("th", cell) for cell in head))),
        element("tbody", *rows),
        **attributes,
    )
    return element("div", inner, class_="wide")


def number_head(title: str) -> Html:
    """The title of a column of numbers."""
    return element("th", title, class_="n")


def named(name: str, tag: str = "td", **attributes: Value) -> Html:
    """The name of a tensor, which may be broken behind a dot."""
    dotted = plain(name).replace(".", ".<wbr>")
    return element(tag, element("code", Html(dotted)), class_="name", **attributes)


def section(title: str, *children: Child, id_: str, note: str = "") -> Html:
    """A section with a heading, which links lead to."""
    heading = element("h2", title, element("small", note) if note else None)
    return element("section", heading, *children, id=id_)


def paragraph(*children: Child, class_: str | None = None) -> Html:
    return element("p", *children, class_=class_)


def rest(count: int, what: str, where: str) -> Html:
    """The line that says how many more there are, and which command lists them; nothing if there are none."""
    return paragraph(f"and {count:,} more {what} ({where})", class_="dim") if count > 0 else NOTHING
