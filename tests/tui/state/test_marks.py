"""What is noted of a tensor beside what the rules find: marked as long as the marks last, listed by its finder."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_memory import MemorySource
from tui_params.core.findings import Finding, Severity
from tui_params.core.tree.tree import Tree
from tui_params.tui.state.marks import Marks

NOTED = Finding("error", "watch", "a.w", "nan at step 7")
FOUND = Finding("warning", "rule", "a.w", "odd")


def tree() -> Tree:
    return Tree(MemorySource({"a.w": np.zeros(2), "a.v": np.zeros(2), "b.w": np.zeros(2), "b.v": np.zeros(2)}).listing)


def mark(marks: Marks, tree: Tree, name: str) -> str:
    node = tree.find(name)
    assert node is not None
    return marks.mark(tree, node)


def test_a_note_marks_its_tensor_and_the_modules_above_whatever_is_found() -> None:
    shown = tree()
    for notes_first in (True, False):
        marks = Marks()
        if notes_first:
            marks.note(shown, NOTED)
        marks.record(shown, "a.w", (FOUND,), None)
        marks.record(shown, "a.v", (), None)
        if not notes_first:
            marks.note(shown, NOTED)
            marks.note(shown, NOTED)  # once is enough
        assert [mark(marks, shown, name) for name in ("a.w", "a", "a.v", "b")] == ["error", "error", "", ""]
        assert marks.findings("a.w") == (FOUND, NOTED)
        assert marks.measured("a.w") == (FOUND,)
        assert list(marks.all_findings()) == [FOUND]
        assert marks.errors == (FOUND.severity == "error")
        moved = marks.moved_to(tree())
        assert mark(moved, tree(), "a.w") == "error"
        marks.replace(shown, ())
        assert mark(marks, shown, "a.w") == "error"
        assert marks.findings("a.w") == (NOTED,)


def test_a_remark_is_no_mark() -> None:
    shown, marks = tree(), Marks()
    marks.note(shown, Finding("info", "watch", "a.w", "x"))
    marks.note(shown, Finding("error", "watch", "nobody", "x"))
    marks.note(shown, Finding("error", "watch", None, "x"))
    assert mark(marks, shown, "a.w") == ""
    assert mark(marks, shown, "a") == ""


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.sampled_from(["error", "warning", "info"]), max_size=3))),
    st.booleans(),
)
def test_errors_are_counted_as_findings_come_and_go(said: list[tuple[str, list[Severity]]], is_replaced: bool) -> None:
    shown, marks = tree(), Marks()
    for name, severities in said:
        marks.record(shown, f"{name}.w", [Finding(each, "rule", f"{name}.w", "words") for each in severities], None)
    if is_replaced:
        marks.replace(shown, [Finding("error", "rule", "b.w", "words")])
    for each in (marks, marks.moved_to(shown)):
        assert each.errors == sum(finding.severity == "error" for finding in each.all_findings())
