from __future__ import annotations

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.dtypes import DType, from_torch
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.tree.order import Sort
from tui_params.core.tree.totals import Entry
from tui_params.core.tree.tree import Tree, tensors_in_order


def dtype_of(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


F32, BF16 = dtype_of("float32"), dtype_of("bfloat16")

segments = st.sampled_from(["a", "b", "0", "2", "10", "layers", "", "w"])
names = st.lists(st.lists(segments, min_size=1, max_size=5).map(".".join), unique=True, max_size=30)


def tree_of(*listed: str, is_ordered: bool = False) -> Tree:
    return Tree(Listing("test", tuple(describe(name, (2, 3), F32) for name in listed), is_ordered=is_ordered))


def outline(tree: Tree) -> list[str]:
    return [f"{'  ' * tree.depth(node)}{tree.label[node]}" for node in range(len(tree))]


def test_single_children_share_a_line_and_numbers_sort_as_numbers() -> None:
    tree = tree_of(
        "model.layers.10.mlp.up.weight",
        "model.layers.2.mlp.up.weight",
        "model.layers.2.norm.weight",
        "model.embed.weight",
        "lm_head.weight",
    )
    assert outline(tree) == [
        "lm_head.weight",
        "model",
        "  embed.weight",
        "  layers",
        "    2",
        "      mlp.up.weight",
        "      norm.weight",
        "    10.mlp.up.weight",
    ]


def test_order_of_appearance_keeps_modules_together() -> None:
    tree = tree_of("z.b", "a", "z.a", "y.10", "y.2", "z.c", is_ordered=True)
    assert outline(tree) == ["z", "  b", "  a", "  c", "a", "y", "  10", "  2"]


def test_a_tensor_and_a_module_of_the_same_name() -> None:
    tree = tree_of("a", "a.b", "a.c")
    assert outline(tree) == ["a", "a", "  b", "  c"]
    node = tree.find("a")
    assert node is not None
    assert not tree.is_module(node)
    module = tree.find_module("a")
    assert module is not None
    assert tree.is_module(module)


def test_a_name_of_ten_thousand_digits_or_segments() -> None:
    tree = tree_of("9" * 10_000, "9" * 9_999 + "8", ".".join(["x"] * 5_000))
    assert len(tree) == 3
    assert tree.label[0].endswith("8")


@given(names, st.booleans())
def test_every_leaf_stands_once_below_the_modules_of_its_name(listed: list[str], is_ordered: bool) -> None:
    tree = tree_of(*listed, is_ordered=is_ordered)
    found = [tree.name(node) for node in range(len(tree)) if not tree.is_module(node)]
    assert sorted(found) == sorted(listed)
    for node in range(len(tree)):
        path = tree.name(node)
        if tree.is_module(node):
            below = [tree.name(child) for child in range(node + 1, tree.end[node]) if not tree.is_module(child)]
            assert sorted(below) == sorted(name for name in listed if name.startswith(path + "."))
            # A module that had one child would share its line.
            assert len([child for child in range(len(tree)) if tree.parent[child] == node]) >= 2
            assert tree.find_module(path) == node
        else:
            chain = [tree.label[node]]
            at = tree.parent[node]
            while at >= 0:
                chain.append(tree.label[at])
                assert tree.depth(at) < tree.depth(node)
                at = tree.parent[at]
            assert ".".join(reversed(chain)) == path
            assert tree.find(path) == node


@given(names, names, st.booleans())
def test_the_order_alone_is_that_of_the_tree(listed: list[str], metadata: list[str], is_ordered: bool) -> None:
    tensors = tuple(describe(name, (2, 3), F32) for name in listed)
    listing = Listing("test", tensors, dict.fromkeys(metadata, ""), is_ordered=is_ordered)
    assert tensors_in_order(listing) == list(Tree(listing).tensors_below(None))


@given(names)
def test_siblings_are_in_natural_order(listed: list[str]) -> None:
    tree = tree_of(*listed)
    leaves = [leaf.name for leaf in tree.leaves]

    def key(name: str) -> list[list[tuple[int, int, str]]]:
        return [
            [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", segment) if part]
            for segment in name.split(".")
        ]

    assert leaves == sorted(listed, key=key)


@given(names.filter(bool), st.data())
def test_tied_tensors_count_once_in_every_subtree(listed: list[str], data: st.DataObject) -> None:
    infos: list[TensorInfo] = []
    for position, name in enumerate(listed):
        first = data.draw(st.integers(0, position)) if position else 0
        target = infos[first].first_name if first < position else None
        size = next((info.numel for info in infos if info.name == target), position + 1)
        infos.append(TensorInfo(name, (size,), F32, size, 4 * size, tied_to=target))
    tree = Tree(Listing("test", tuple(infos)))
    for node in [None, *range(len(tree))]:
        once = {info.first_name: info for info in tree.tensors_below(node)}
        numel = sum(info.numel for info in once.values())
        assert tree.extent(node) == (numel, 4 * numel)
        totals = tree.totals(node)
        assert (totals.numel, totals.nbytes, totals.parameters) == (numel, 4 * numel, numel)
        assert totals.tensors == len(list(tree.tensors_below(node)))
        assert totals.tied == totals.tensors - len(once)
        assert totals.nbytes_by_dtype == ({"f32": 4 * numel} if once else {})


def test_totals_tell_parameters_buffers_and_trainable_apart() -> None:
    listing = Listing(
        "test",
        (
            TensorInfo("w", (4,), F32, 4, 16, "parameter", requires_grad=True),
            TensorInfo("frozen", (2,), BF16, 2, 4, "parameter", requires_grad=False),
            TensorInfo("running", (3,), F32, 3, 12, "buffer"),
        ),
        metadata={"epoch": "3"},
        modules={"": "Net"},
    )
    tree = Tree(listing)
    totals = tree.totals()
    assert (totals.tensors, totals.parameters, totals.trainable, totals.buffers) == (3, 6, 4, 3)
    assert totals.named == 6
    state = TensorInfo("optimizer.w", (5,), F32, 5, 20)
    with_state = Tree(msgspec.structs.replace(listing, tensors=(*listing.tensors, state))).totals()
    assert (with_state.parameters, with_state.named) == (11, 6)
    assert totals.nbytes_by_dtype == {"f32": 28, "bf16": 4}
    node = tree.find("epoch")
    assert node is not None
    assert tree.leaf_of(node) == Entry("epoch", "3")
    assert tree.tensor(node) is None
    weight = tree.find("w")
    assert weight is not None
    assert tree.class_name(weight) == "Net"


def test_an_empty_listing() -> None:
    tree = tree_of()
    assert len(tree) == 0
    assert tree.find("x") is None
    assert tree.totals().tensors == 0


def test_sorting_by_a_value_within_modules_and_flat() -> None:
    sizes = {"a.x": 1, "a.y": 3, "b.x": 2, "b.y": 2, "c": 9, "d": None}
    listing = Listing("test", tuple(describe(name, (2,), F32) for name in sizes), metadata={"epoch": "1"})
    assert outline(Tree(listing, Sort(lambda info: sizes[info.name]))) == [
        "c",
        "a",
        "  y",
        "  x",
        "b",
        "  x",
        "  y",
        "d",
        "epoch",
    ]
    ascending = Tree(listing, Sort(lambda info: sizes[info.name], is_ascending=True))
    assert outline(ascending) == ["a", "  x", "  y", "b", "  x", "  y", "c", "d", "epoch"]
    flat = Tree(listing, Sort(lambda info: sizes[info.name], is_flat=True))
    assert outline(flat) == ["c", "a.y", "b.x", "b.y", "a.x", "d", "epoch"]
    assert flat.totals() == Tree(listing).totals()
    node = flat.find("b.y")
    assert node is not None
    assert flat.name(node) == "b.y"


@given(names, st.booleans(), st.booleans())
def test_sorting_keeps_every_leaf(listed: list[str], is_flat: bool, is_ascending: bool) -> None:
    listing = Listing("test", tuple(describe(name, (len(name),), F32) for name in listed))
    tree = Tree(listing, Sort(lambda info: info.numel, is_ascending, is_flat))
    assert sorted(leaf.name for leaf in tree.leaves) == sorted(listed)
    if is_flat:
        lengths = [len(leaf.name) for leaf in tree.leaves]
        assert lengths == sorted(lengths, reverse=not is_ascending)


def test_sorted_by_a_sum_modules_stand_by_all_that_is_below_them() -> None:
    sizes = {"a.x": 5, "a.y": 5, "b.x": 8, "b.y.k": 1, "b.y.l": 2, "c": 9, "d.x": 9, "d.y": 9}
    infos = [describe(name, (size,), F32) for name, size in sizes.items()]
    infos[-1] = msgspec.structs.replace(infos[-1], tied_to="d.x")  # counts once in d
    listing = Listing("test", tuple(infos), metadata={"epoch": "1", "b.note": "x"})

    def order(sort: Sort) -> list[str]:
        return [leaf.name for leaf in Tree(listing, sort).leaves]

    by_sum = Sort(lambda info: info.numel, is_total=True)
    assert order(by_sum) == ["b.x", "b.y.l", "b.y.k", "b.note", "a.x", "a.y", "c", "d.x", "d.y", "epoch"]
    ascending = Sort(lambda info: info.numel, is_total=True, is_ascending=True)
    assert order(ascending) == ["c", "d.x", "d.y", "a.x", "a.y", "b.y.k", "b.y.l", "b.x", "b.note", "epoch"]
    assert order(Sort(lambda info: info.numel, is_total=True, is_flat=True))[:3] == ["c", "d.x", "d.y"]


@given(names, st.data())
def test_sorted_by_a_sum_every_module_is_in_the_order_of_its_totals(listed: list[str], data: st.DataObject) -> None:
    infos: list[TensorInfo] = []
    for name in listed:
        info = describe(name, (data.draw(st.integers(0, 4)),), F32)
        earlier = [other for other in infos if other.shape == info.shape and other.tied_to is None]
        is_tied = data.draw(st.booleans())
        if earlier and is_tied:
            info = msgspec.structs.replace(info, tied_to=data.draw(st.sampled_from(earlier)).name)
        infos.append(info)
    tree = Tree(Listing("test", tuple(infos)), Sort(lambda info: info.numel, is_total=True))
    assert sorted(leaf.name for leaf in tree.leaves) == sorted(listed)
    siblings: dict[int, list[int]] = {}
    for node in range(len(tree)):
        siblings.setdefault(tree.parent[node], []).append(tree.extent(node)[0])
    for totals in siblings.values():
        assert totals == sorted(totals, reverse=True)
