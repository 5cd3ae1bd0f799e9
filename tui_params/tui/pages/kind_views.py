"""KindViews: what the page of a kind shows: the same as that of a module, of the tensors of one kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tui_params.core.layers.table import LayerTable
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.totals import Sums, Totals
from tui_params.tui.state.layer_book import LayerBook
from tui_params.tui.state.marks import Marks
from tui_params.tui.widgets.detail.module_page import ModuleView

if TYPE_CHECKING:
    from tui_params.core.figures import Figures
    from tui_params.core.findings import Finding

MOST_SPREAD = 3_000
"""Tensors of a kind whose figures are compared within a few ms; of more, the page has no table of them."""


class _Fixed(NamedTuple):
    """What does not change of a kind, which may have thousands of tensors."""

    infos: tuple[TensorInfo, ...]
    names: tuple[str, ...]
    totals: Totals
    has_unknown_sizes: bool


class KindViews:
    """The views of the kinds of one table; ``class_of`` gives the class of the module that holds a tensor."""

    def __init__(
        self,
        table: LayerTable,
        figures: Callable[[str], Figures | None],
        class_of: Callable[[TensorInfo], str | None],
    ) -> None:
        self._table = table
        self._figures = figures
        self._class_of = class_of
        self._fixed: dict[int, _Fixed] = {}

    def of(self, kind: int, book: LayerBook, marks: Marks) -> ModuleView:
        """The view of a kind."""
        fixed = self._fixed.get(kind)
        if fixed is None:
            fixed = self._fixed[kind] = self._fixed_of(kind)
        infos, names = fixed.infos, fixed.names
        found: list[Finding] = []
        unread: list[tuple[str, str]] = []
        if book.mark_of_kind(kind):
            found = [finding for finding in marks.found_in(names) if finding.severity != "info"]
            unread = [(name, marks.unread[name]) for name in names if name in marks.unread] if marks.unread else []
        spread = infos if len(infos) <= MOST_SPREAD else ()
        known = [(_short(info.name), self._figures(info.name)) for info in spread]
        classes = {self._class_of(info) for info in infos[:100]}
        return ModuleView(
            self._table.kinds[kind].kind,
            classes.pop() if len(classes) == 1 else None,
            fixed.totals,
            (),
            tuple(sorted(found, key=lambda finding: finding.severity)),
            tuple(unread),
            book.count_read(kind),
            is_kind=True,
            has_unknown_sizes=fixed.has_unknown_sizes,
            figures=tuple((name, figures) for name, figures in known if figures is not None and figures.finite),
        )

    def _fixed_of(self, kind: int) -> _Fixed:
        infos = tuple(self._table.tensors[index] for index in self._table.members[kind].indices)
        names = tuple(info.name for info in infos)
        return _Fixed(infos, names, Sums(infos).totals(0, len(infos)), any(info.has_unknown_size for info in infos))


def _short(name: str) -> str:
    """What tells a tensor from the others of its kind: its numbers."""
    return ".".join(segment for segment in name.split(".") if segment.isdecimal()) or name
