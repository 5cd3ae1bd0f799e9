"""Reports: what the check of everything and the comparison with the hub have said, as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_params.tui.state.marks import Marks

if TYPE_CHECKING:
    from tui_params.core.health.checker import Report
    from tui_params.core.health.verification import Verification


class Reports:
    """The report of the check, with what came of comparing the files; either may come first, or never."""

    def __init__(self) -> None:
        self.whole: Report | None = None
        self.verification: Verification | None = None
        self._checked: Report | None = None

    def take_report(self, report: Report) -> None:
        self._checked = report
        self._join()

    def take_verification(self, verification: Verification) -> None:
        self.verification = verification
        self._join()

    def errors(self, marks: Marks) -> int:
        """How many errors the rules and the comparison have found, before all has been checked."""
        findings = self.verification.findings if self.verification is not None else ()
        return marks.errors + sum(finding.severity == "error" for finding in findings)

    def _join(self) -> None:
        self.whole = self._checked
        if self._checked is not None and self.verification is not None:
            self.whole = self._checked.with_verification(self.verification)
