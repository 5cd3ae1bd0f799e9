"""RuleScreen: the rule behind a finding: what it means, its thresholds as they are now, and its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from tui_params.core.findings import SEVERITY_WORDS
from tui_params.core.health.thresholds import MEANINGS, Thresholds
from tui_params.tui.screens.help import HelpPage
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped

if TYPE_CHECKING:
    from tui_params.core.health.rule import Rule


class RuleScreen(ModalScreen[None]):
    """One rule; any key that opened it closes it."""

    BINDINGS = [Binding("escape,q,question_mark,f1,enter", "dismiss", "close", show=False)]

    def __init__(self, rule: Rule, thresholds: Thresholds, glyphs: Glyphs) -> None:
        super().__init__()
        self.rule = rule
        self.thresholds = thresholds
        self.glyphs = glyphs

    def compose(self) -> ComposeResult:
        yield HelpPage(id="rule")

    def on_mount(self) -> None:
        page = self.query_one(HelpPage)
        page.set_class(self.glyphs.is_ascii, "-ascii")
        page.border_title = self.rule.id
        page.border_subtitle = "esc closes"

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        page = self.query_one(HelpPage)
        if page.size.width <= 0:
            return  # not laid out yet, or a terminal with no cell to spare
        lines = rule_lines(self.rule, self.thresholds, page.size.width)
        page.styles.height = len(lines) + 2  # the border; a view of lines has no height of its own
        page.set_lines(lines)


def meaning_lines(rule: Rule, thresholds: Thresholds, width: int) -> list[Line]:
    """The rule in a few lines: what it means, and its thresholds."""
    lines = [[(rule.id, "label"), (f"  {rule.title}"[: max(0, width - len(rule.id))], "dim")], []]
    lines += wrapped(rule.meaning, width, "text", limit=6)
    known = [f"{name.replace('_', '-')} {getattr(thresholds, name):g}" for name in rule.thresholds]
    return [*lines, *wrapped(f"Thresholds: {', '.join(known)}", width, "dim", limit=2)] if known else lines


def rule_lines(rule: Rule, thresholds: Thresholds, width: int) -> list[Line]:
    """The whole page in lines ``width`` cells wide."""
    severities = " or ".join(SEVERITY_WORDS[severity] for severity in rule.severities)
    lines = [*wrapped(rule.title, width, "title"), *wrapped(severities, width, "dim"), []]
    lines += wrapped(rule.meaning, width, "text")
    if rule.thresholds:
        lines += [[], *wrapped('Thresholds (--threshold, or "thresholds" in config.json)', width, "label")]
        for name in rule.thresholds:
            shown = f"{name.replace('_', '-')} {getattr(thresholds, name):g}"
            lines += wrapped(shown, width, "number")
            lines += wrapped(MEANINGS[name], width, "dim")
    return [*lines, [], *wrapped("Source", width, "label"), *wrapped(rule.source, width, "text")]
