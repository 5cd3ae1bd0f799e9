from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.core.tree.test_tree import names, tree_of
from tui_params.core.dtypes import DTYPES
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.tree.rows import Rows
from tui_params.core.tree.tree import Tree

F32 = next(dtype for dtype in DTYPES if dtype.short == "f32")


def shown(rows: Rows) -> list[str]:
    return [f"{'  ' * rows.depth(node)}{rows.label(node)}" for node in rows.visible]


def example() -> Rows:
    return Rows(tree_of("a.0.x", "a.0.y", "a.1.x", "a.1.y", "b.u", "b.v", "c"))


def node(rows: Rows, name: str) -> int:
    found = rows.tree.find(name)
    assert found is not None
    return found


def test_toggle_opens_and_closes_and_remembers_what_was_open_below() -> None:
    rows = example()
    assert shown(rows) == ["a", "b", "c"]
    rows.toggle(node(rows, "a"))
    rows.toggle(node(rows, "a.1"))
    assert shown(rows) == ["a", "  0", "  1", "    x", "    y", "b", "c"]
    rows.toggle(node(rows, "a"))
    assert shown(rows) == ["a", "b", "c"]
    rows.toggle(node(rows, "a"))
    assert shown(rows) == ["a", "  0", "  1", "    x", "    y", "b", "c"]


def test_reveal_opens_the_way_to_a_tensor() -> None:
    rows = example()
    row = rows.reveal(node(rows, "a.1.y"))
    assert shown(rows)[row] == "    y"
    assert rows.parent_row(row) == 2
    assert rows.parent_row(rows.parent_row(row)) == 0
    assert rows.parent_row(0) == 0


def test_siblings() -> None:
    rows = example()
    rows.set_all(True)
    assert shown(rows)[rows.next_sibling(0)] == "b"
    assert shown(rows)[rows.previous_sibling(rows.next_sibling(0))] == "a"
    last_of_zero = rows.row_of(node(rows, "a.0.y"))
    assert last_of_zero is not None
    assert rows.next_sibling(last_of_zero) == last_of_zero


def test_a_filter_keeps_the_modules_above_and_gives_back_what_was_open() -> None:
    rows = example()
    rows.expand(node(rows, "b"))
    before = shown(rows)
    wanted = [position for position, leaf in enumerate(rows.tree.leaves) if leaf.name.endswith("x")]
    rows.keep_only(wanted)
    assert shown(rows) == ["a", "  0.x", "  1.x"]
    assert rows.next_sibling(1) == 2
    assert rows.previous_sibling(2) == 1
    assert rows.parent_row(2) == 0
    assert rows.nearest_row(node(rows, "a.0.y")) == 0
    rows.toggle(node(rows, "a"))
    assert shown(rows) == ["a"]
    rows.keep_only([position for position, leaf in enumerate(rows.tree.leaves) if leaf.name.startswith("a.")])
    assert shown(rows) == ["a", "  0", "    x", "    y", "  1", "    x", "    y"]
    rows.keep_only([])
    assert shown(rows) == []
    rows.keep_only(None)
    assert shown(rows) == before


def test_opening_initially_fills_the_screen_and_not_much_more() -> None:
    rows = Rows(tree_of(*(f"model.layers.{layer}.{part}" for layer in range(40) for part in "abc"), "model.norm"))
    rows.open_initially(20)
    assert len(rows) == 3 + 40
    rows = Rows(tree_of(*(f"model.layers.{layer}.{part}" for layer in range(4) for part in "abc"), "model.norm"))
    rows.open_initially(20)
    assert len(rows) == 3 + 4 + 12
    rows = Rows(tree_of(*(f"{top}.{child}" for top in range(14) for child in range(3))))
    rows.open_initially(20)
    assert len(rows) == 14


def test_next_leaf_goes_around() -> None:
    rows = example()
    wanted = [position for position, leaf in enumerate(rows.tree.leaves) if leaf.name.endswith("y")]
    first, second = node(rows, "a.0.y"), node(rows, "a.1.y")
    assert rows.next_leaf(0, 1, wanted) == first
    assert rows.next_leaf(rows.reveal(first), 1, wanted) == second
    assert rows.next_leaf(rows.reveal(second), 1, wanted) == first
    assert rows.next_leaf(rows.reveal(first), -1, wanted) == second
    assert rows.next_leaf(0, 1, []) is None


def slow_visible(tree: Tree, is_open: set[int], kept: set[int] | None) -> list[int]:
    """What must be visible, from the definition: every module above is open, and under a filter leads to several."""

    def children(node: int) -> int:
        return sum(tree.parent[other] == node for other in kept or ())

    found = []
    for at in range(len(tree)):
        if kept is not None and tree.is_module(at) and at in kept and children(at) == 1:
            continue
        above = tree.parent[at]
        while above >= 0 and (above in is_open or (kept is not None and children(above) == 1)):
            above = tree.parent[above]
        if above < 0 and (kept is None or at in kept):
            found.append(at)
    return found


@given(names.filter(bool), st.data())
def test_any_sequence_of_steps_shows_what_the_definition_says(listed: list[str], data: st.DataObject) -> None:
    tree = tree_of(*listed)
    rows = Rows(tree)
    is_open: set[int] = set()
    without_filter: set[int] | None = None
    kept: set[int] | None = None
    anything = st.integers(0, len(tree) - 1)
    for _ in range(data.draw(st.integers(1, 8))):
        step = data.draw(st.sampled_from(["toggle", "below", "all", "reveal", "filter"]))
        if step == "toggle":
            at = data.draw(anything)
            if tree.is_module(at):
                rows.toggle(at)
                is_open ^= {at}
        elif step == "below":
            at, flag = data.draw(anything), data.draw(st.booleans())
            rows.set_below(at, flag)
            below = set(range(at, tree.end[at]))
            is_open = is_open | below if flag else is_open - below
        elif step == "all":
            flag = data.draw(st.booleans())
            rows.set_all(flag)
            is_open = set(range(len(tree))) if flag else set()
        elif step == "reveal":
            at = data.draw(anything)
            rows.reveal(at)
            above = tree.parent[at]
            while above >= 0:
                is_open.add(above)
                above = tree.parent[above]
        else:
            leaves = data.draw(st.none() | st.sets(st.integers(0, len(tree.leaves) - 1)))
            rows.keep_only(leaves)
            if leaves is None:
                is_open = without_filter if without_filter is not None else is_open
                kept = without_filter = None
            else:
                without_filter = set(is_open) if without_filter is None else without_filter
                kept = set()
                for leaf in leaves:
                    at = tree.node_of_leaf(leaf)
                    while at >= 0:
                        kept.add(at)
                        at = tree.parent[at]
                is_open = set(kept)
        assert rows.visible == slow_visible(tree, is_open, kept)
        for row, at in enumerate(rows.visible):
            assert rows.row_of(at) == row
            around = rows.parent(at)
            shown_above = f"{tree.name(around)}." if around >= 0 else ""
            assert shown_above + rows.label(at) == tree.name(at)


@given(st.data())
def test_under_a_filter_totals_are_those_of_what_it_leaves(data: st.DataObject) -> None:
    names = [f"m{data.draw(st.integers(0, 2))}.l{place}.w" for place in range(8)]
    tensors = [
        structs.replace(describe(name, (place + 1,), F32), tied_to=names[0] if place == 5 else None)
        for place, name in enumerate(names)
    ]
    tree = Tree(Listing("memory", tuple(tensors)))
    rows = Rows(tree)
    kept = data.draw(st.sets(st.integers(0, len(names) - 1)))
    rows.keep_only(kept)
    for node in range(len(tree)):
        first, last = tree.span(node)
        inside = [tree.leaves[position] for position in sorted(kept) if first <= position < last]
        counted = {info.first_name: info for info in inside if isinstance(info, TensorInfo)}
        totals = rows.totals(node)
        assert totals.tensors == len(inside)
        is_tied = len(counted) < len(inside)
        assert is_tied or totals.numel == sum(info.numel for info in counted.values())
        assert rows.first_leaf(node) == min((place for place in kept if first <= place < last), default=None)
    rows.keep_only(None)
    assert all(rows.totals(node) == tree.totals(node) for node in range(len(tree)))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_the_node_before_is_the_last_one_of_the_same_module(parts: list[str]) -> None:
    names = [f"{part}.{place % 3}.w{place}" for place, part in enumerate(parts)]
    tree = Tree(Listing("memory", tuple(describe(name, (1,), F32) for name in names)))
    rows = Rows(tree)
    for node in range(len(tree)):
        before = [other for other in range(node) if tree.parent[other] == tree.parent[node]]
        assert rows.previous(node) == (before[-1] if before else None)
