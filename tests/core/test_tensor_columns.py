"""Tensors as columns are those that objects would be, wherever they are looked at."""

from __future__ import annotations

import copy
import pickle
from array import array
from itertools import accumulate

import msgspec
import pytest

from tui_params.core.dtypes import from_torch
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo
from tui_params.core.tensor_columns import Form, TensorColumns, join_columns
from tui_params.core.tree.leaves import NamesOfTree
from tui_params.core.tree.totals import tensors_among
from tui_params.core.tree.tree import Tree, tensors_in_order

NAMES = ["a.b.2.w", "a.b.10.w", "a.b.10.bias", "a.b.1.w", "head", "x.y.w", "x.y.b"]


def _columns(names: list[str] = NAMES, file: str = "f") -> TensorColumns:
    bf16, f32 = from_torch("bfloat16"), from_torch("float32")
    assert bf16 is not None
    assert f32 is not None
    forms = [Form((2, 3), bf16, 6, 12, file), Form((5,), f32, 5, 20, file)]
    rows = array("i", [0 if name.endswith("w") else 1 for name in names])
    ends = list(accumulate((forms[row].nbytes for row in rows), initial=100))
    return TensorColumns(names, forms, rows, array("q", ends[:-1]))


def test_one_is_made_when_it_is_looked_at_and_all_are_made_once() -> None:
    columns = _columns()
    one = columns[2]
    assert (one.name, one.shape, one.nbytes, one.offset, one.file) == ("a.b.10.bias", (5,), 20, 124, "f")
    assert columns[-1].name == "x.y.b"
    assert columns[1:3] == (columns[1], one)
    with pytest.raises(IndexError):
        columns[len(NAMES)]
    made = tuple(columns)
    assert made == tuple([columns[at] for at in range(len(columns))])
    assert made[2] == one
    assert columns == made
    assert tuple(reversed(columns)) == made[::-1]
    assert columns.made() is columns.made()
    assert (sum(columns.numel), sum(columns.nbytes)) == (
        sum(info.numel for info in made),
        sum(info.nbytes for info in made),
    )


def test_columns_can_do_what_a_tuple_of_tensors_can() -> None:
    columns, more = _columns(), tuple(_columns(["n.w"]))
    made = tuple(_columns())
    for copied in (copy.copy(columns), copy.deepcopy(columns), pickle.loads(pickle.dumps(columns))):
        assert not copied.are_made
        assert copied == columns
    assert hash(columns) == hash(made)
    assert columns + more == made + more == (*made, *more)
    assert more + columns == more + made
    assert columns + _columns(["n.w"]) == made + more
    with pytest.raises(TypeError):
        columns + 1
    assert columns != list(made)
    assert columns == made
    assert made == columns
    # Those whose names are those of a tree, too.
    tree = Tree(Listing("x", columns))
    names = NamesOfTree(tree.label, tree.parent, tree.first, tree.leaves.order, len(columns))  # type: ignore[attr-defined]
    kept = TensorColumns(names, columns.forms, columns.rows, columns.offsets)
    assert pickle.loads(pickle.dumps(kept)) == made


def test_columns_of_several_files_are_joined_in_their_order() -> None:
    parts = [_columns(NAMES[:3], "one"), _columns([], "none"), _columns(NAMES[3:], "two")]
    assert tuple(join_columns(parts)) == tuple([info for part in parts for info in part])


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}, {"a.b.10.note": "n", "zz": "z"}], ids=len)
@pytest.mark.parametrize("is_ordered", [False, True])
def test_the_tree_of_columns_is_that_of_objects(metadata: dict[str, str], *, is_ordered: bool) -> None:
    listing = Listing("x", _columns(), metadata, is_ordered=is_ordered)
    plain = msgspec.structs.replace(listing, tensors=tuple(_columns()))
    tree, other = Tree(listing), Tree(plain)
    assert (tree.label, tree.parent, tree.end, tree.first) == (other.label, other.parent, other.end, other.first)
    for node in (None, *range(len(tree))):
        for most in (1, 3, 9):
            assert tree.largest_below(node, most) == other.largest_below(node, most)
    assert tree.leaves[1:4] == other.leaves[1:4]  # before all are made
    assert list(tree.leaves) == list(other.leaves) == [tree.leaves[at] for at in range(len(tree.leaves))]
    assert tree.leaves[1:4] == other.leaves[1:4]
    for node in (None, *range(len(tree))):
        assert tree.totals(node) == other.totals(node)
        assert list(tree.totals(node).nbytes_by_dtype) == list(other.totals(node).nbytes_by_dtype)
        assert list(tree.tensors_below(node)) == list(other.tensors_below(node))
    assert [tree.find(name) for name in (*NAMES, *metadata)] == [other.find(name) for name in (*NAMES, *metadata)]
    assert tree.sums.dtypes == other.sums.dtypes
    assert tensors_in_order(listing) == tensors_in_order(plain)
    found, positions = tensors_among(tree.leaves, range(len(tree.leaves)))
    expected, places = tensors_among(other.leaves, range(len(other.leaves)))
    assert list(found) == list(expected) == [found[at] for at in range(len(found))] == list(found[:])
    assert list(positions) == list(places)
    assert all(isinstance(info, TensorInfo) for info in found)


def test_types_are_in_the_order_of_the_tree_not_of_the_file() -> None:
    listing = Listing("x", _columns(["z.w", "a.b"]))
    assert list(Tree(listing).totals().nbytes_by_dtype) == ["f32", "bf16"]
