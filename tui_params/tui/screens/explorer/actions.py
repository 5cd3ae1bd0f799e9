"""Actions: what each key of the main screen does, and each click, as the part of it that does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tui_params.tui import keys
from tui_params.tui.screens.explorer import packed, timeline
from tui_params.tui.screens.explorer.compare_actions import CompareActions
from tui_params.tui.widgets.detail.tensor_detail import Facts, TensorDetail
from tui_params.tui.widgets.tree import tree_messages

if TYPE_CHECKING:
    from tui_params.tui.desk.desk import Desk
    from tui_params.tui.screens.explorer.axis_choice import AxisChoice
    from tui_params.tui.screens.explorer.comparing import Comparing
    from tui_params.tui.screens.explorer.copying import Copying
    from tui_params.tui.screens.explorer.dialogs import Dialogs
    from tui_params.tui.screens.explorer.editing import Editing
    from tui_params.tui.screens.explorer.exporting import Exporting
    from tui_params.tui.screens.explorer.filter import Filter
    from tui_params.tui.screens.explorer.inside import Inside
    from tui_params.tui.screens.explorer.layers import Layers
    from tui_params.tui.screens.explorer.notice import Notice
    from tui_params.tui.screens.explorer.order import Order
    from tui_params.tui.screens.explorer.page_choices import PageChoices
    from tui_params.tui.screens.explorer.panes import Panes
    from tui_params.tui.screens.explorer.pulse import Pulse
    from tui_params.tui.screens.explorer.questions import Questions
    from tui_params.tui.screens.explorer.session import Session
    from tui_params.tui.screens.explorer.transfer import Transfer
    from tui_params.tui.screens.explorer.travel import Travel
    from tui_params.tui.screens.explorer.verification import Verification
    from tui_params.tui.state.searches import Searches
    from tui_params.tui.state.view import View
    from tui_params.tui.terminal.glyphs import Glyphs
    from tui_params.tui.widgets.bars import SearchBar
    from tui_params.tui.widgets.tree.module_tree import ModuleTree


class Actions(CompareActions):
    """A screen with the keys of ``SCREEN`` and ``EDITS``; the parts are made by the screen that composes them."""

    BINDINGS = keys.bindings((*keys.SCREEN, *keys.EDITS))

    axis_choice: AxisChoice
    comparing: Comparing
    copying: Copying
    dialogs: Dialogs
    editing: Editing
    exporting: Exporting
    detail: TensorDetail
    filter: Filter
    inside: Inside
    folded: Layers
    notice: Notice
    order: Order
    glyphs: Glyphs
    page_choices: PageChoices
    panes: Panes
    questions: Questions
    search: SearchBar
    searches: Searches
    session: Session
    transfer: Transfer
    travel: Travel
    pulse: Pulse
    tree_view: ModuleTree
    verification: Verification
    left: View | None
    """Where the user was when the source was left or opened again."""

    @property
    def desk(self) -> Desk | None:
        return self.session.desk

    def key_of(self, name: str) -> str:
        """The key of that id, as the user has it."""
        raise NotImplementedError

    def update_bars(self) -> None:
        raise NotImplementedError

    def action_search(self) -> None:
        self.panes.shrink()  # the tree shows what matches
        self.tree_view.search_anchor = self.tree_view.cursor
        self.searches.begin()
        self.search.open()
        self.update_bars()

    def action_clear(self) -> None:
        if self.notice.withdraw():
            return
        if not self.tree_view.has_focus:
            self.tree_view.focus()
        elif self.panes.is_enlarged:
            self.panes.toggle_enlarged()
        elif self.exporting.stop():
            return
        elif self.desk is not None and self.desk.is_sweeping:
            self.desk.stop_sweep()
            self.questions.ask()
        elif self.transfer.stop():
            return
        elif not self.verification.stop() and not self.comparing.against.halt() and self.filter.query is not None:
            self.search.clear()
        self.panes.hide_values()

    def action_values(self) -> None:
        self.page_choices.edit_values()

    def action_inside(self) -> None:
        self.inside.open()

    def action_inside_here(self) -> None:
        self.inside.open(self.detail.grid)

    def on_module_tree_entered(self, message: tree_messages.Entered) -> None:
        self.inside.open()

    def action_gradient(self) -> None:
        self.page_choices.toggle_gradient()

    def action_log_counts(self) -> None:
        self.page_choices.toggle_log_counts()

    def action_log_axis(self) -> None:
        self.page_choices.toggle_log_axis()

    def action_enlarge(self) -> None:
        self.panes.toggle_enlarged()

    def action_resize(self, step: int) -> None:
        self.panes.widen(step)

    def action_other_pane(self) -> None:
        self.questions.show()
        self.panes.focus_next()

    def action_scroll_detail(self, step: int) -> None:
        self.panes.scroll_facts(step)

    def action_copy_name(self) -> None:
        self.copying.copy_name()

    def action_copy_line(self) -> None:
        self.copying.copy_summary()

    def action_verify(self) -> None:
        if self.transfer.may_verify():
            self.verification.start()

    def action_fetch(self) -> None:
        self.transfer.fetch()

    def action_reload(self) -> None:
        if self.session.opened is not None:
            self.left = self.travel.view
            self.session.open_again()

    def action_logical(self) -> None:
        left, opened = self.travel.view, self.session.opened
        if packed.switch(self.session, self.notice):
            if left is not None and left.cursor is not None and opened is not None:
                left = msgspec.structs.replace(left, cursor=packed.place_of(opened, left.cursor))
            self.left = left

    def action_hold(self) -> None:
        self.notice.say(self.pulse.toggle() or "Nothing here trains while it is looked at.")

    def action_watch(self) -> None:
        self.pulse.watched.open()

    def action_scan(self) -> None:
        self.scan(self.notice, "scan")

    def scan(self, notice: Notice, key: str) -> bool:
        """Read and check everything; False if ``notice`` asks first whether so much may be fetched."""
        if self.desk is None:
            return True
        if not self.transfer.may_read_all(notice, key):
            return False
        self.pulse.hold_to_check()
        if self.desk.sweep():
            self.notice.clear()
            self.questions.ask()
        elif self.desk.is_cross_checking:
            self.notice.say("Everything is read; the tensors are being cross-checked.")
        else:
            self.notice.say(f"Every tensor has been checked; {self.key_of('problems')} lists what was found.")
        return True

    def action_axis(self) -> None:
        self.axis_choice.toggle()

    def action_pin(self) -> None:
        self.comparing.toggle_pin()

    def action_timeline(self) -> None:
        timeline.open_timeline(self.session, self.travel, self.notice, self.glyphs, self.app)

    def action_problems(self) -> None:
        self.notice.clear()
        self.dialogs.problems(self.app)

    def action_kinds(self) -> None:
        self.folded.open("kinds")

    def action_matrix(self) -> None:
        self.folded.open("matrix")

    def action_sort(self) -> None:
        self.dialogs.sort(self.app)

    def action_export(self, what: str = "") -> None:
        self.exporting.open(what)

    def action_edit(self) -> None:
        self.questions.show()
        self.editing.open()

    def action_edits(self) -> None:
        self.editing.list()

    def action_apply_edits(self) -> None:
        self.editing.apply()

    def action_undo_edit(self) -> None:
        self.editing.undo()

    def action_columns(self) -> None:
        self.dialogs.columns(self.app)

    def action_travel(self, step: int) -> None:
        self.travel.step(step)

    def action_bookmark(self) -> None:
        self.travel.set_bookmark(self.app)

    def action_go_to_bookmark(self) -> None:
        self.travel.go_to_bookmark(self.app)

    def action_help(self) -> None:
        self.dialogs.help(self.app, at_filter=self.search.display)

    # Clicks

    def on_facts_path_clicked(self, message: Facts.PathClicked) -> None:
        self.travel.go_to(message.path)

    def on_tensor_detail_went_to_place(self, message: TensorDetail.WentToPlace) -> None:
        self.panes.show_place()

    def on_module_tree_heading_clicked(self, message: tree_messages.HeadingClicked) -> None:
        if message.is_menu:
            self.action_columns()
        else:
            self.order.choose_column(message.column)
