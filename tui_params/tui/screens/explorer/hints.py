"""The keys that matter now, as the status line of the explorer names them."""

from __future__ import annotations

from typing import NamedTuple

from tui_params.tui import keys
from tui_params.tui.screens.explorer.bar_state import BarState


class Hint(NamedTuple):
    """A key, as the user has it, and a word for it; ``id`` is empty where a click cannot stand for it."""

    key: str
    word: str
    id: str = ""


def hints_of(state: BarState) -> list[Hint]:
    """The keys that matter now."""

    def hint(name: str, word: str) -> Hint:
        return Hint(keys.first(name, state.keys), word, name)

    words: tuple[tuple[str, str], ...]
    arrows = "arrows" if state.glyphs.is_ascii else "↑↓"
    if state.focus == "search":
        more = [Hint("f1", "filter help"), Hint("pgdn", "next row")]
        return [Hint("enter", "keep"), Hint("esc", "clear"), Hint(arrows, "earlier"), *more]
    if state.focus == "slice":
        return [Hint("enter", "to the values"), Hint("esc", "back to the tree")]
    back = hint("clear", "back")
    if state.focus == "values":
        tables = [hint("values.next_table", "next table")] if state.has_tables else []
        move = Hint("arrows" if state.glyphs.is_ascii else "↑↓←→", "move over the values")
        return [*_edit_hints(state), move, *tables, Hint("home", "start"), back]
    if state.focus == "facts":
        words = (("values", "values"), ("log_counts", "log counts"), ("log_axis", "log axis"), ("enlarge", "enlarge"))
        return [*(hint(name, word) for name, word in words), back, hint("help", "keys")]
    if state.sweep is not None or state.verifying is not None or state.comparing is not None:
        words = (("clear", "stop"), ("problems", "problems"), ("search", "search"), ("help", "keys"), ("quit", "quit"))
        return [hint(name, word) for name, word in words]
    opened = state.opened
    edits = _edit_hints(state) if state.is_tensor or "staged" in state.editing else []
    # As wide for both, so that the hints behind it need not be painted again at each move.
    hints = [hint("tree.enter", "look in" if state.is_tensor else "open".ljust(len("look in")))]
    words = (("search", "search"), ("help", "keys"), ("quit", "quit"), ("scan", "check all"), ("problems", "problems"))
    if opened is not None and any(finding.rule == "newest-step" for finding in opened.source.listing.findings):
        words = (("search", "search"), ("help", "keys"), ("timeline", "timeline of the run"), *words[2:])
    if state.pulse:
        words = (*words[:-3], ("watch", "watch"), ("hold", "hold"), *words[-3:])
    if opened is not None and opened.both is not None:
        of_tensor = ("difference", "B - A") if state.has_difference else ("unchanged", "what is the same")
        words = (("search", "search"), ("help", "keys"), of_tensor, ("compare", "compared"), ("quit", "quit"))
    hints += [hint(name, word) for name, word in words]
    hints.append(hint("values", "values"))
    if opened is not None and opened.source.listing.gradients:
        hints.append(hint("gradient", "gradient"))
    words = (("sort", "sort"), ("tree.expand_below", "expand"), ("tree.next_mark", "next mark"), ("copy_name", "copy"))
    return [*edits, *hints, *(hint(name, word) for name, word in words)]


def _edit_hints(state: BarState) -> list[Hint]:
    """The keys of edits, where values can be set."""
    if not state.is_editable:
        return []
    hints = [Hint(keys.first("edit", state.keys), "set", "edit")]
    if "staged" in state.editing:
        hints.append(Hint(keys.first("apply", state.keys), "apply", "apply"))
    elif "made" in state.editing:
        hints.append(Hint(keys.first("undo", state.keys), "undo", "undo"))
    return hints
