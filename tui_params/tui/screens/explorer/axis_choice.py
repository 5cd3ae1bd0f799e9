"""AxisChoice: whether the sparklines of one module share an axis."""

from __future__ import annotations

from tui_params.core import text
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.state.shared_axis import MOST, SharedAxis
from tui_params.tui.widgets.tree.module_tree import ModuleTree


class AxisChoice:
    """The key that puts the sparklines of a module on one axis, and takes it away again."""

    def __init__(self, session: Session, tree: ModuleTree, notice: Notice) -> None:
        self._session = session
        self._tree = tree
        self._notice = notice

    def toggle(self) -> None:
        """One axis for the module at the cursor, or around the tensor there; if it has it already, none."""
        desk, node = self._session.desk, self._tree.cursor
        if desk is None or node is None:
            return
        if not self._tree.layout_of_columns.has("spark"):
            self._notice.say("There is no column with the distribution of values to put on one axis.")
            return
        tree = desk.opened.tree
        module = node if tree.is_module(node) else tree.parent[node]
        path = tree.name(module) if module >= 0 else ""
        before = self._tree.axis
        if before is not None and before.path == path:
            self._tree.set_axis(None)
            self._notice.say("Each tensor has its own axis again.")
            return
        below = tree.tensors_below(module) if module >= 0 else iter(desk.opened.tensors)
        if module >= 0 and not tree.is_module(node):
            below = (info for info in below if tree.parent[tree.find(info.name) or 0] == module)
        names = [info.name for info in below]
        if len(names) > MOST:
            self._notice.say(f"{text.plural(len(names), 'tensor')} are too many for one axis: at most {MOST:,}.")
            return
        self._tree.set_axis(SharedAxis(path, names, desk.figures))
        self._notice.say(
            f"One axis for the {text.plural(len(names), 'tensor')} of {text.clean(path, 60) or 'the top'}."
        )
