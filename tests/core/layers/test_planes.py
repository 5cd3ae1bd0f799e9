"""Which tensor stands where: layers down, kinds across, experts in planes of their own."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.factories_names import deepseek_v3_names
from tui_params.core.dtypes import from_safetensors
from tui_params.core.kinds import members_by_kind
from tui_params.core.layers.planes import Plane, planes_of
from tui_params.core.layers.table import LayerTable, table_of
from tui_params.core.tensor import describe

F32 = from_safetensors("F32")


def table(names: Sequence[str]) -> LayerTable:
    assert F32 is not None
    return table_of([describe(name, (2, 3), F32) for name in names])


def shown(plane: Plane, names: Sequence[str]) -> list[list[str]]:
    """The names of a plane as it is drawn, without the layer."""
    cells = [[plane.at(row, column) for column in range(len(plane.columns))] for row in range(len(plane.rows))]
    return [["" if at is None else names[at] for at in row] for row in cells]


def test_layers_down_kinds_across() -> None:
    names = ["embed.weight", "h.0.q.weight", "h.0.k.weight", "h.10.q.weight", "h.2.q.weight", "h.2.k.weight"]
    (plane,) = planes_of(members_by_kind(names))
    assert (plane.title, plane.rows, plane.columns) == ("h", (0, 2, 10), ("q.weight", "k.weight"))
    assert shown(plane, names) == [
        ["h.0.q.weight", "h.0.k.weight"],
        ["h.2.q.weight", "h.2.k.weight"],
        ["h.10.q.weight", ""],
    ]
    assert table(names).left_out == 1


def test_stacks_do_not_mix() -> None:
    names = [f"{stack}.layers.{layer}.w" for stack in ("encoder", "decoder") for layer in range(3)]
    assert [(plane.stack, plane.rows) for plane in planes_of(members_by_kind(names))] == [
        ("encoder.layers", (0, 1, 2)),
        ("decoder.layers", (0, 1, 2)),
    ]


def test_few_second_numbers_are_columns_and_many_are_planes() -> None:
    few = [f"h.{layer}.mlp.{at}.weight" for layer in range(3) for at in (0, 2)]
    (plane,) = planes_of(members_by_kind(few))
    assert plane.columns == ("mlp.0.weight", "mlp.2.weight")
    experts = [f"h.{layer}.experts.{at}.up" for layer in range(2) for at in (1, 0, 3)]
    (plane,) = planes_of(members_by_kind([*experts, "h.1.experts.2.up"]))
    assert (plane.title, plane.is_split) == ("h.#.experts.#.up", True)
    assert (plane.rows, plane.columns) == ((0, 1), ("0", "1", "2", "3"))
    assert plane.at(0, 2) is None
    many = [f"h.{layer}.part.{at}.w" for layer in range(2) for at in range(8)]
    assert [plane.is_split for plane in planes_of(members_by_kind(many))] == [True]


def test_one_layer_no_layer_and_numbers_that_end_a_name() -> None:
    (plane,) = planes_of(members_by_kind(["layers.0.q", "layers.0.k"]))
    assert (plane.rows, plane.columns) == ((0,), ("q", "k"))
    assert planes_of(members_by_kind(["a", "b.c", "x." + "9" * 30, "y.#"])) == ()
    (plane,) = planes_of(members_by_kind(["prompts.0", "prompts.1", "prompts.01"]))
    assert (plane.columns, plane.rows, len(plane.tensors)) == (("#",), (0, 1), 2)  # "01" is layer 1, which there is
    assert table(["prompts.0", "prompts.1", "prompts.01"]).left_out == 1


def test_a_mixture_of_experts() -> None:
    names = [name for name, _, _ in deepseek_v3_names()]
    found = table(names)
    assert (len(found.kinds), found.left_out) == (43, 3)
    first, *experts = found.planes
    assert (len(first.rows), len(first.columns), first.stack) == (62, 34, "model.layers")
    assert [(len(plane.rows), len(plane.columns), plane.is_split) for plane in experts] == [(59, 256, True)] * 6
    at = experts[0].at(58, 255)
    assert at is not None
    assert names[at] == "model.layers.61.mlp.experts.255.gate_proj.weight"
    kind = next(number for number, group in enumerate(found.kinds) if group.count == 59 * 256)
    assert found.label(kind, found.members[kind].indices.index(at)) == "61.255"
    assert found.rows["model.layers"] == tuple(range(62))


@given(st.lists(st.from_regex(r"[ab]?(\.[0-3]{1,2}){0,3}(\.[xy])?", fullmatch=True), unique=True, max_size=30))
def test_every_tensor_is_in_one_cell_at_most_and_in_its_own(names: list[str]) -> None:
    found = table(names)
    placed = [at for plane in found.planes for at in plane.tensors]
    assert len(placed) == len(set(placed)) == len(names) - found.left_out
    for plane in found.planes:
        assert len(set(plane.columns)) == len(plane.columns)
        for key, place in plane.places.items():
            row, column = divmod(key, len(plane.columns))
            at = plane.at(row, column)
            assert at == plane.tensors[place]
            assert plane.column_of[place] == column
            assert str(plane.rows[row]) in [
                segment.lstrip("0") or "0" for segment in names[plane.tensors[place]].split(".")
            ]
