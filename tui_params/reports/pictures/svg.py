"""SVG: the picture around its parts, and shapes as short paths."""

from __future__ import annotations

from collections.abc import Iterable

from tui_params.reports.html import Child, Html, Value, element

Box = tuple[float, float, float, float]
"""x, y, width and height."""


def picture(width: float, height: float, *parts: Child, label: str, class_: str) -> Html:
    """An inline SVG that shrinks with the page; ``label`` is what a screen reader says of it."""
    size = f"0 0 {short(width)} {short(height)}"
    attributes: dict[str, Value] = {"viewBox": size, "width": short(width), "height": short(height)}
    return element("svg", *parts, class_=class_, role="img", aria_label=label, **attributes)


def short(value: float) -> str:
    """A coordinate with at most one digit behind the point."""
    return f"{value:.1f}".removesuffix(".0")


def boxes(places: Iterable[Box]) -> str:
    """Filled rectangles as the data of one path."""
    return "".join(
        f"M{short(x)} {short(y)}h{short(width)}v{short(height)}h{short(-width)}z" for x, y, width, height in places
    )


def words(
    text: str,
    x: float,
    y: float,
    *,
    anchor: str = "start",
    class_: str | None = None,
    turn: bool = False,
    title: str | None = None,
) -> Html:
    """A line of text; ``turn`` lets it rise to the right from its place, ``title`` is what the mouse shows."""
    return element(
        "text",
        None if title is None else element("title", title),
        text,
        x=short(x),
        y=short(y),
        text_anchor=None if anchor == "start" else anchor,
        class_=class_,
        transform=f"rotate(-45 {short(x)} {short(y)})" if turn else None,
    )


def titled(shape: str, title: str, class_: str, **attributes: Value) -> Html:
    """A path that says what it is where the mouse rests on it."""
    return element("path", element("title", title), d=shape, class_=class_, **attributes)
