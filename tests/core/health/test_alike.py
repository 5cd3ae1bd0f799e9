"""Findings that repeat become one group; none is lost, and none is shown twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tui_params.core.findings import Finding
from tui_params.core.health.alike import MOST_ALONE, Alike, group_findings, group_reasons

NAMES = st.none() | st.sampled_from(["a", "b.0", "b.1", "b.2", "b.3", "b.10", "c.0.w", "c.1.w", ""])
RULES = st.sampled_from(["nan", "missing-shard", "truncated"])
SENTENCES = st.sampled_from(["3 of 9 values are NaN", "4 of 9 values are NaN", "its shard is missing", ""])


@given(st.lists(st.builds(Finding, st.just("error"), RULES, NAMES, SENTENCES), max_size=30))
@settings(max_examples=150)
def test_every_finding_is_in_one_group(findings: list[Finding]) -> None:
    groups = group_findings(findings)
    assert sorted(place for group in groups for place in group.members) == list(range(len(findings)))
    for group in groups:
        members = [findings[place] for place in group.members]
        assert list(group.members) == sorted(group.members)
        assert len({member.rule for member in members}) == 1
        assert group.is_same is (len({member.evidence for member in members}) == 1)
        assert len(members) == 1 or len(members) > MOST_ALONE
        assert len(members) == 1 or all(member.tensor is not None for member in members)


@given(st.lists(st.tuples(NAMES, SENTENCES), max_size=30))
@settings(max_examples=150)
def test_every_reason_is_in_one_group(entries: list[tuple[str | None, str]]) -> None:
    groups = group_reasons(entries)
    assert sorted(place for group in groups for place in group.members) == list(range(len(entries)))
    for group in groups:
        assert len({entries[place][0] is None for place in group.members}) == 1
        assert group.is_same is (len({entries[place][1] for place in group.members}) == 1)


def test_reasons_are_one_whatever_numbers_and_own_names_they_have() -> None:
    entries: list[tuple[str | None, str]] = [
        (f"layers.{number}.w", f"layers.{number}.w ends at byte {number:,} of 4,096") for number in range(5)
    ]
    entries += [("head", "head ends at byte 3 of 9"), ("tail", "its shard is missing"), (None, "its shard is missing")]
    groups = group_reasons(entries)
    assert [group.members for group in groups] == [(0, 1, 2, 3, 4, 5), (6,), (7,)]
    assert [group.is_same for group in groups] == [False, True, True]
    assert groups[0].title("layers.0.w") == "layers.0.w and 5 more"


def test_what_stands_for_a_group() -> None:
    kind = Alike(tuple(range(1200)), "model.layers.#.w", True)
    assert kind.title("model.layers.0.w") == "model.layers.#.w × 1,200"
    assert kind.title("model.layers.0.w", "model") == "layers.#.w × 1,200"
    assert kind.title("model.layers.0.w", "model.layers.0") == "w × 1,200"
    assert Alike((0, 1), "a.#", False).title("a.0") == "a.0 and 1 more"
    assert Alike((0,), "a.#", True).title("a.0", "a") == "0"
    assert Alike((0,), "", True).title("") == "(empty name)"
