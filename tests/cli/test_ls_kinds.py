"""``ls --kinds``: one line for the names that differ in numbers only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.factories_terminal import Terminal
from tui_params.cli.ls import list_tensors

ARRAYS = {
    "embed.weight": np.zeros((12, 4), ml_dtypes.bfloat16),
    **{f"layers.{layer}.down.weight": np.zeros((4, layer + 1), np.float32) for layer in range(7)},
    **{f"layers.{layer}.up.weight": np.zeros((4, 4), np.float32) for layer in (0, 1, 2, 5)},
    "layers.0.q.0.w": np.zeros(2, ml_dtypes.bfloat16),
    "layers.1.q.3.w": np.zeros(2, np.float32),
    "layers.7.only": np.zeros(3, np.float32),
    "head.weight": np.zeros((12, 4), ml_dtypes.bfloat16),
}
OPTIONS: dict[str, Any] = {
    "tied_to": {"head.weight": "embed.weight", "layers.5.up.weight": "layers.0.up.weight"},
    "unreadable": {"layers.1.q.3.w": "the file ends too early"},
}


def test_one_line_a_kind(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    serve(ARRAYS, **OPTIONS)
    ran = cli("ls", "model", "--kinds")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "model  memory\n"
        "16 tensors of 6 kinds, 215 elements, 760 B  (f32 660 B, bf16 100 B)\n"
        "\n"
        "  kind                       shape     dtype          size\n"
        "  embed.weight               [12, 4]   bf16           96 B\n"
        "  layers.#.down.weight  x 7  7 shapes  f32           448 B"
        "  # 0-6; [4, 1], [4, 2], [4, 3], [4, 4] and 3 more\n"
        "  layers.#.up.weight    x 4  [4, 4]    f32           192 B  # 0-2, 5; 1 tied, counted once\n"
        "! layers.#.q.#.w        x 2  [2]       2 types        12 B"
        "  1 cannot be read; # 0-1 and # 0, 3; bf16, f32\n"
        "  layers.7.only              [3]       f32            12 B\n"
        "= head.weight                [12, 4]   bf16            0 B  tied, counted once\n"
    )


def test_json_has_kinds_in_place_of_tensors(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    serve(ARRAYS, **OPTIONS)
    document = cli("ls", "model", "--kinds", "--json").json()
    assert "tensors" not in document
    assert document["totals"]["tensors"] == sum(kind["count"] for kind in document["kinds"]) == len(ARRAYS)
    for total in ("numel", "nbytes"):
        assert document["totals"][total] == sum(kind[total] for kind in document["kinds"])
    found = {kind["kind"]: kind for kind in document["kinds"]}
    assert found["layers.#.up.weight"] == {
        "kind": "layers.#.up.weight",
        "count": 4,
        "numbers": ["0-2, 5"],
        "shapes": [[4, 4]],
        "distinct_shapes": 1,
        "dtypes": ["f32"],
        "numel": 48,
        "nbytes": 192,
        "tied": 1,
        "unreadable": 0,
        "figures": None,
    }
    assert found["layers.#.q.#.w"]["dtypes"] == ["bf16", "f32"]
    assert found["layers.#.q.#.w"]["unreadable"] == 1
    assert found["layers.#.down.weight"]["distinct_shapes"] == len(found["layers.#.down.weight"]["shapes"]) == 7


def test_nothing_to_list(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    serve({})
    assert cli("ls", "model", "--kinds").out == "model  memory\n0 tensors of 0 kinds, 0 elements, 0 B\n\n"
    serve({})
    assert cli("ls", "model", "--kinds", "--json").json()["kinds"] == []


def test_hostile_names_reach_no_terminal(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    huge = "9" * 5000
    serve({f"x\x1b[2J.{number}.\n": np.zeros(2) for number in ("0", "1", huge)})
    plain = cli("ls", "model", "--kinds").out
    assert "  x\\x1b[2J.#.\\x0a  x 3  [2]" in plain
    assert "# 0-1" in plain
    assert not [letter for letter in plain if letter != "\n" and not letter.isprintable()]


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_terminal_lines_fit(serve: Callable[..., Any], terminal: Callable[..., Terminal], columns: int) -> None:
    long = "model.layers.{}.self_attn.some_quite_long_projection_name.weight"
    serve({**ARRAYS, **{long.format(number): np.zeros((2, 2)) for number in range(0, 900, 3)}}, **OPTIONS)
    stream = terminal(columns, NO_COLOR="1")
    list_tensors("model", as_json=False, kinds=True)
    assert max(map(len, stream.plain().splitlines())) <= columns
    assert "name.weight" in stream.plain()
    assert "x 300" in stream.plain()
