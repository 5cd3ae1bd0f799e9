"""The section of totals: how much there is, in which types, and where."""

from __future__ import annotations

from collections.abc import Mapping

from tui_params.core import text
from tui_params.reports.facts import Checked
from tui_params.reports.html import Html, element, join, paragraph, section

_MOST_TYPES = 12
_LONGEST = 200


def totals(checked: tuple[Checked, ...], names: tuple[str, ...]) -> Html:
    """The totals of each source; with several, each below its name."""
    parts = [_source(one, name if len(checked) > 1 else None) for one, name in zip(checked, names, strict=True)]
    return section("Totals", *parts, id_="totals")


def _source(checked: Checked, name: str | None) -> Html:
    found, files = checked.totals, checked.files
    facts = [
        ("Format", text.clean(checked.listing.format, _LONGEST), None, None),
        ("Files with tensors", f"{files:,}" if files else "in memory", "files", files),
        ("Tensors", f"{found.tensors:,}", "tensors", found.tensors),
        (checked.counted.capitalize(), f"{found.numel:,}", "numel", found.numel),
        ("Bytes", text.exact_size(found.nbytes), "nbytes", found.nbytes),
    ]
    if found.tied:
        facts.append(("Tied", f"{found.tied:,}, counted once", "tied", found.tied))
    if checked.listing.gradients:
        count = len(checked.listing.gradients)
        facts.append(("Gradients beside them", f"{count:,}", "gradients", count))
    entries = [
        element("div", element("dt", title), element("dd", shown, data_figure=figure, data_value=value))
        for title, shown, figure, value in facts
    ]
    lines = [paragraph(text.clean(line, 500), class_="dim") for line in checked.adapters]
    heading = None if name is None else element("h3", f"{name}  ", element("code", text.clean(checked.label, _LONGEST)))
    return element(
        "div",
        heading,
        element("dl", *entries),
        _types(found.nbytes_by_dtype),
        *lines,
        class_="source",
        data_source=name,
    )


def _types(nbytes: Mapping[str, int]) -> Html:
    """The element types: a bar of their shares, and a word on each."""
    ordered = sorted(nbytes.items(), key=lambda item: (-item[1], item[0]))
    whole = sum(nbytes.values())
    if not whole:
        return Html("")
    shares, said = [], []
    for at, (dtype, size) in enumerate(ordered[:_MOST_TYPES]):
        shares.append(element("span", class_=f"t{min(at, 5)}", style=f"flex-grow:{max(size / whole, 0.002):.4f}"))
        about = f"{text.clean(dtype, 40)} {text.size(size)}, {text.percent(size, whole)}"
        key = element("i", class_=f"t{min(at, 5)}")
        said.append(element("span", key, about, data_dtype=dtype, data_nbytes=size))
    if len(ordered) > _MOST_TYPES:
        said.append(element("span", f"and {len(ordered) - _MOST_TYPES:,} more types"))
    return join([element("div", *shares, class_="types"), element("div", *said, class_="key")])
