"""Marks: which tensors have a mark, as far as they were read, and the worst mark below each module.

Everything is counted when a tensor is recorded, so that a module of 90,000 tensors is summed up without a look at them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal

from tui_params.core.findings import Finding, Severity
from tui_params.core.tree.tree import Tree

Mark = Literal["error", "warning", "unreadable", ""]

_RANK: dict[Mark, int] = {"": 0, "unreadable": 1, "warning": 2, "error": 3}


def row_of(tree: Tree, name: str) -> int | None:
    """The node of a tensor or of a module; of a module without a row of its own, that of its one tensor."""
    node = tree.find(name)
    if node is None and name:
        below = (at for at, leaf in enumerate(tree.leaves) if leaf.name.startswith(f"{name}."))
        position = next(below, None)
        node = None if position is None else tree.node_of_leaf(position)
    return node


class Marks:
    """The findings of each tensor, by name, and the worst mark of every module.

    ``changes`` grows whenever something is found: lists of findings that were made before are then out of date.
    """

    def __init__(self) -> None:
        self._marks: dict[int, Mark] = {}  # by position of the leaf
        self._worst: dict[int, Mark] = {}  # by node of the module
        self._read: dict[int, int] = {}  # by node of the module, -1 for the whole: how many tensors below were read
        self._counted: set[int] = set()  # by node of the tensor
        self._findings: dict[str, tuple[Finding, ...]] = {}
        self._of_modules: list[Finding] = []
        self._noted: dict[str, tuple[Finding, ...]] = {}
        self._led: dict[int, list[Finding]] = {}  # by position of a leaf: findings about modules that begin there
        self.unread: dict[str, str] = {}
        self.changes = 0
        self.errors = 0
        """How many of the findings in tensors are errors: counted, for the bars ask at every tensor that is read."""

    def leaves(self) -> Iterable[int]:
        """Positions of the leaves that carry a mark, and of the first leaf of each module that has one of its own."""
        marked = [at for at, found in self._led.items() if any(finding.severity != "info" for finding in found)]
        return {*self._marks, *marked}

    def findings(self, name: str) -> tuple[Finding, ...]:
        """What the rules found in a tensor, and what was noted of it."""
        return (*self._findings.get(name, ()), *self._noted.get(name, ()))

    def found_in(self, names: Iterable[str]) -> Iterator[Finding]:
        """What the rules found in some tensors, and what was noted of them; quick where they are thousands."""
        return chain.from_iterable(map(self.findings, names) if self._noted else map(self.measured, names))

    def measured(self, name: str) -> tuple[Finding, ...]:
        """What the rules found in a tensor."""
        return self._findings.get(name, ())

    def note(self, tree: Tree, finding: Finding) -> None:
        """Mark a tensor for what is no property of its values: what was seen while it trained, or in another rank.

        It stays until the marks are made anew, and is listed by whoever found it.
        """
        name = finding.tensor
        if name is None or finding in self._noted.get(name, ()):
            return
        self._noted[name] = (*self._noted.get(name, ()), finding)
        self.changes += 1
        self._mark(tree, name, finding.severity)

    def _mark(self, tree: Tree, name: str, severity: Severity) -> None:
        node = tree.find(name)
        if node is None or tree.is_module(node) or severity == "info":
            return
        at = tree.position(node)
        if _RANK[severity] > _RANK[self._marks.get(at, "")]:
            self._marks[at] = severity
        self._mark_modules(tree, tree.parent[node], severity)

    def mark(self, tree: Tree, node: int) -> Mark:
        """The mark of a tensor, or the worst below a module."""
        position = tree.position(node)
        return self._worst.get(node, "") if position < 0 else self._marks.get(position, "")

    def record(self, tree: Tree, name: str, findings: Iterable[Finding], reason: str | None) -> None:
        """Take what was found in one tensor, or why it could not be read."""
        found = tuple(findings)
        if found or reason is not None:
            self.changes += 1
        before = self._findings.get(name, ())
        if found or before:
            self.errors += _errors(found) - _errors(before)
        self._findings[name] = found
        if reason is not None:
            self.unread[name] = reason
        mark: Mark = "unreadable" if reason is not None else ""
        for finding in found:
            if finding.severity != "info" and _RANK[finding.severity] > _RANK[mark]:
                mark = finding.severity
        node = tree.find(name)
        if node is None or tree.is_module(node):
            return
        if reason is None and node not in self._counted:
            self._counted.add(node)
            at = node
            while at >= 0:
                at = tree.parent[at]
                self._read[at] = self._read.get(at, 0) + 1
        for finding in self._noted.get(name, ()):
            self._mark(tree, name, finding.severity)
        if not mark or _RANK[mark] < _RANK[self._marks.get(tree.position(node), "")]:
            return
        self._marks[tree.position(node)] = mark
        self._mark_modules(tree, tree.parent[node], mark)

    def _mark_modules(self, tree: Tree, at: int, mark: Mark) -> None:
        """Mark a module and those around it."""
        while at >= 0:
            if _RANK[mark] > _RANK[self._worst.get(at, "")]:
                self._worst[at] = mark
            at = tree.parent[at]

    def _record_of_module(self, tree: Tree, finding: Finding) -> None:
        """Take a finding about a module: its own row is marked, and those around it."""
        self._of_modules.append(finding)
        node = None if finding.module is None else row_of(tree, finding.module)
        if node is None:
            return
        self._led.setdefault(tree.first[node], []).append(finding)
        if finding.severity == "info":
            return
        at = tree.position(node)
        if at >= 0 and _RANK[finding.severity] > _RANK[self._marks.get(at, "")]:
            # A module of a single tensor has no row but that.
            self._marks[at] = finding.severity
        self._mark_modules(tree, node, finding.severity)

    def leading(self, tree: Tree, name: str) -> tuple[Finding, ...]:
        """The findings about modules whose first tensor has that name: the row where a filter shows them."""
        if not self._led:
            return ()
        node = tree.find(name)
        return () if node is None else tuple(self._led.get(tree.position(node), ()))

    def read_below(self, node: int | None) -> int:
        """How many tensors of a module were read; of the whole tree for None."""
        return self._read.get(-1 if node is None else node, 0)

    def below(self, tree: Tree, node: int) -> tuple[list[Finding], list[tuple[str, str]]]:
        """The errors and warnings about a module and below it, the worst first, and what could not be read and why."""

        def is_below(at: int | None) -> bool:
            return at is not None and node <= at < tree.end[node]

        found = [
            finding
            for name, findings in self._findings.items()
            if findings and is_below(tree.find(name))
            for finding in findings
            if finding.severity != "info"
        ]
        found += [
            finding
            for finding in self._of_modules
            if finding.severity != "info" and finding.module is not None and is_below(row_of(tree, finding.module))
        ]
        unread = [(name, reason) for name, reason in self.unread.items() if is_below(tree.find(name))]
        return sorted(found, key=lambda finding: finding.severity), unread

    def all_findings(self) -> Iterator[Finding]:
        for found in self._findings.values():
            yield from found

    def rules(self, name: str) -> frozenset[str] | None:
        """The rules of a tensor's findings; None as long as it has not been read."""
        found = self._findings.get(name)
        return None if found is None or name in self.unread else frozenset(finding.rule for finding in found)

    def replace(self, tree: Tree, findings: Iterable[Finding]) -> None:
        """Take the findings of a whole check instead of those of single tensors."""
        grouped: dict[str, list[Finding]] = {name: [] for name in self._findings}
        about_modules = []
        for finding in findings:
            if finding.tensor is None and finding.module is not None:
                about_modules.append(finding)
            elif finding.tensor is not None:
                grouped.setdefault(finding.tensor, []).append(finding)
        self._marks.clear()
        self._worst.clear()
        self._led.clear()
        self._of_modules.clear()
        self.changes += 1
        for name, found in grouped.items():
            self.record(tree, name, found, self.unread.get(name))
        for finding in about_modules:
            self._record_of_module(tree, finding)
        self._mark_noted(tree)

    def moved_to(self, tree: Tree) -> Marks:
        """The same marks for a tree of the same tensors in another order."""
        moved = Marks()
        for name, found in self._findings.items():
            moved.record(tree, name, found, self.unread.get(name))
        for finding in self._of_modules:
            moved._record_of_module(tree, finding)
        moved._noted = dict(self._noted)
        moved._mark_noted(tree)
        return moved

    def _mark_noted(self, tree: Tree) -> None:
        for name, noted in self._noted.items():
            for finding in noted:
                self._mark(tree, name, finding.severity)


def _errors(findings: Iterable[Finding]) -> int:
    return sum(finding.severity == "error" for finding in findings)
