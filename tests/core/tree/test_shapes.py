"""Trees that are laid out from the shapes of their modules: the same as those that are built name by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_names import deepseek_v3_names
from tui_params.core.dtypes import DTYPES
from tui_params.core.source import Listing
from tui_params.core.tensor import describe
from tui_params.core.tree import tree as trees
from tui_params.core.tree.shapes import lay_out
from tui_params.core.tree.tree import Tree, tensors_in_order

segments = st.lists(st.sampled_from(["0", "1", "10", "2", "a", "b2", "b10", "", "a\n", "\n0"]), min_size=1, max_size=4)
names = st.lists(segments.map(".".join), max_size=40, unique=True)


def _listing(names: list[str], metadata: list[str], is_ordered: bool = False) -> Listing:
    tensors = tuple(describe(name, (2,), DTYPES[0]) for name in names)
    return Listing("test", tensors, dict.fromkeys(metadata, ""), is_ordered=is_ordered)


def _nodes(tree: Tree) -> tuple[object, ...]:
    return tree.leaves, tree.label, list(tree.parent), list(tree.end), list(tree.first)


def _built_by_name(listing: Listing) -> tuple[object, ...]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "_layout", lambda listing, leaves: None)
        return _nodes(Tree(listing))


@given(names, names, st.booleans())
def test_the_tree_is_the_one_that_is_built_name_by_name(listed: list[str], other: list[str], is_ordered: bool) -> None:
    listing = _listing(listed, other, is_ordered)
    assert _nodes(Tree(listing)) == _built_by_name(listing)


@given(names, st.integers(2, 4), st.booleans())
def test_layers_that_repeat(below: list[str], layers: int, is_ordered: bool) -> None:
    listing = _listing([f"m.{layer}.{name}" for layer in range(layers) for name in below], [], is_ordered)
    assert _nodes(Tree(listing)) == _built_by_name(listing)


def test_a_published_model_is_laid_out_in_whatever_order_it_is_listed() -> None:
    listed = [name for name, _, _ in deepseek_v3_names()][:9000]
    apart = [name for name in listed if "scale" in name] + [name for name in listed if "scale" not in name]
    for order in (listed, listed[::-1], apart):
        assert lay_out(order, len(order), is_ordered=False) is not None
        assert _nodes(Tree(_listing(order, []))) == _built_by_name(_listing(order, []))
    assert lay_out(listed, len(listed), is_ordered=True) is not None
    assert lay_out(apart, len(apart), is_ordered=True) is None


@pytest.mark.parametrize(
    "odd",
    [
        [".".join("a" * 2000)],
        [".".join("0" * depth) + ".w" for depth in range(1, 90)],
        [".".join("a" * depth) + ".w" for depth in range(1, 300)],
        ["m.0.a\nm.0.b", "m.1.a", "m.0.c"],
        ["m.0.a\nm.0.b", "n"],
    ],
)
def test_odd_names(odd: list[str]) -> None:
    listing = _listing(odd, [])
    assert _nodes(Tree(listing)) == _built_by_name(listing)
    assert tensors_in_order(listing) == list(Tree(listing).tensors_below(None))


def test_many_shapes_inside_each_other_do_not_take_more_room_than_names() -> None:
    """Each of these modules has a shape of its own, as long as all those inside it."""
    depths = [".".join(["a"] * depth) + f".{leaf}" for depth in range(1, 99) for leaf in range(40)]
    assert lay_out(depths, len(depths), is_ordered=False) is None
    assert _nodes(Tree(_listing(depths, []))) == _built_by_name(_listing(depths, []))
