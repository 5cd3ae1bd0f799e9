from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.conftest import refuse
from tests.factories_adapters import write_peft
from tests.factories_memory import MemorySource
from tests.factories_safetensors import entry, file_bytes
from tests.factories_terminal import Terminal
from tui_params.api.comparing import compare
from tui_params.cli.app import run
from tui_params.cli.diff import document
from tui_params.cli.output import encode_json
from tui_params.errors import OpenError


class Changed(msgspec.Struct):
    name: str
    name_in_b: str
    change: str
    shape_a: list[int]
    shape_b: list[int]
    dtype_a: str
    dtype_b: str
    max_abs: float | None
    mean_abs: float | None
    relative_l2: float | None
    cosine: float | None
    changed_fraction: float | None
    changed_count: int | None
    first_index: list[int] | None
    count: int | None
    pairs: int | None
    became_nan: int | None
    was_nan: int | None
    became_inf: int | None
    was_inf: int | None
    reason: str | None


class Kind(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    count: int
    changed: int
    equal: int
    identical: int
    uncompared: int
    max_abs: float | None
    relative_l2: float | None
    cosine: float | None
    elements: int
    changed_elements: int
    other_shape: int
    other_dtype: int
    new_nan: int
    new_inf: int
    unread: int
    worst: str | None
    became_nan: int
    became_inf: int
    became_zero: int


class Entry(msgspec.Struct):
    name: str
    reason: str


class Document(msgspec.Struct):
    a: str
    b: str
    only_in_a: list[str]
    only_in_b: list[str]
    identical: int
    changed: list[Changed]
    equal: list[Changed]
    uncompared: list[Entry]
    renames: list[str]
    suggested_renames: list[Any]
    kinds: list[Kind]
    status: str
    ignore_dtype: bool
    changed_type: int
    changed_type_and_value: int
    identical_names: list[str] | None = None


def layers(count: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        f"layers.{i}.{part}": rng.normal(size=(4, 2)).astype(ml_dtypes.bfloat16)
        for i in range(count)
        for part in ("mlp.up.weight", "norm.weight")
    }


def trained() -> dict[str, Any]:
    arrays = layers()
    for i in (1, 2):
        arrays[f"layers.{i}.mlp.up.weight"] = arrays[f"layers.{i}.mlp.up.weight"] + ml_dtypes.bfloat16(i)
    return arrays


ODD = {
    "a.bias": np.zeros(3, np.float32),
    "a.gone": np.zeros(3, np.float32),
    "a.ids": np.arange(3),
    "a.nan": np.array([1, np.inf, 2], np.float32),
    "a.shape": np.zeros((2, 3), np.float32),
    "a.type": np.ones(3, np.float32),
    "a.lost": np.ones(3, np.float32),
    "a.zero": np.array([0.0, 1.0], np.float32),
}
OTHER = {
    "a.bias": np.zeros(3, np.float32),
    "a.new": np.zeros(3, np.float32),
    "a.ids": np.arange(3),
    "a.nan": np.array([np.nan, np.nan, 2], np.float32),
    "a.shape": np.zeros((3, 2), np.float32),
    "a.type": np.ones(3, ml_dtypes.bfloat16),
    "a.lost": np.ones(3, np.float32),
    "a.zero": np.array([-0.0, 1.0], np.float32),
}


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[MemorySource]]:
    """Make sources of arrays be what the paths ``a`` and ``b`` open."""

    def served(a: dict[str, Any], b: dict[str, Any], **unreadable: str) -> list[MemorySource]:
        made = [
            MemorySource({n: np.asarray(v) for n, v in arrays.items()}, label=name, unreadable=reasons)
            for name, arrays, reasons in (
                ("a", a, {}),
                ("b", b, {n.replace("_", "."): r for n, r in unreadable.items()}),
            )
        ]

        def open_source(path: str) -> MemorySource:
            if path not in ("a", "b"):
                raise OpenError(f"{path}: there is no such file or folder")
            return made["ab".index(path)]

        monkeypatch.setattr("tui_params.api.opening.open_source", open_source)
        return made

    return served


def test_plain_report(sources: Any, cli: Callable[..., Any]) -> None:
    made = sources(layers(), trained())
    ran = cli("diff", "a", "b")
    assert (ran.code, ran.err) == (1, "")
    assert all(source.is_closed for source in made)
    assert ran.out == (
        "A  a  memory  8 tensors\n"
        "B  b  memory  8 tensors\n"
        "different: 2 of 8 common tensors changed, 6 bit-identical\n"
        "\n"
        "Changed, by kind (2)\n"
        "  kind                            max |b-a|    rel. L2    cosine  elements\n"
        "  layers.#.mlp.up.weight  2 of 4       2.01       2.91  0.661374    50.0 %\n"
        "\n"
        "Changed tensors\n"
        "  tensor                  max |b-a|    rel. L2    cosine  elements\n"
        "  layers.2.mlp.up.weight       2.01       2.91  0.661374     100 %\n"
        "  layers.1.mlp.up.weight       1.01        1.4  0.713211     100 %\n"
        "\n"
        "Unchanged, by kind (6)\n"
        "  layers.#.mlp.up.weight  2 of 4\n"
        "  layers.#.norm.weight  4 of 4\n"
    )


def test_every_name(sources: Any, cli: Callable[..., Any]) -> None:
    sources(layers(), trained())
    ran = cli("diff", "a", "b", "--names")
    names = [line.strip() for line in ran.out.partition("Unchanged (6)\n")[2].splitlines()]
    assert names == [name for name in layers() if name not in ("layers.1.mlp.up.weight", "layers.2.mlp.up.weight")]


def test_the_same(sources: Any, cli: Callable[..., Any]) -> None:
    sources(layers(), layers())
    ran = cli("diff", "a", "b")
    assert (ran.code, ran.err) == (0, "")
    assert "same: 0 of 8 common tensors changed, 8 bit-identical\n" in ran.out
    assert "  layers.#.norm.weight  4 of 4\n" in ran.out


@pytest.mark.parametrize(
    ("a", "b", "code", "status", "line", "reason"),
    [
        ({}, {}, 3, "uncompared", "nothing was compared: neither has a tensor", "neither has a tensor"),
        (
            {"w.weight": np.zeros((0, 3))},
            {"w.weight": np.zeros((0, 3))},
            3,
            "uncompared",
            "nothing was compared: the one common tensor has no element",
            "the one common tensor has no element",
        ),
        (
            {"a": np.ones(3), "b": np.ones(4)},
            {"c": np.ones(5)},
            1,
            "different",
            "different: no name is common, and 0 of 1 shape: these look like two models",
            "no name is common, and 0 of 1 shape: these look like two models",
        ),
        (
            {"a": np.ones(3), "e": np.zeros(0)},
            {"a": np.ones(3), "e": np.zeros(0)},
            0,
            "same",
            "same: 0 of 2 common tensors changed, 2 bit-identical, 1 without elements",
            None,
        ),
    ],
)
def test_nothing_in_common_is_never_the_same(
    a: dict[str, Any], b: dict[str, Any], code: int, status: str, line: str, reason: str | None, sources: Any, cli: Any
) -> None:
    sources(a, b)
    ran = cli("diff", "a", "b")
    assert (ran.code, ran.out.splitlines()[2]) == (code, line)
    sources(a, b)
    ran = cli("diff", "a", "b", "--json")
    found = ran.json()
    assert (ran.code, found["status"], found["reason"]) == (code, status, reason)
    assert found["empty"] == [name for name, array in a.items() if name in b and not array.size]
    assert ran.err == (f"tui-params: nothing was compared: {reason}\n" if code == 3 else "")


def test_everything_that_can_differ(sources: Any, cli: Callable[..., Any]) -> None:
    sources(ODD, OTHER, a_lost="shard 2 is missing")
    ran = cli("diff", "a", "b")
    assert ran.code == 1
    for line in (
        "different: 3 of 7 common tensors changed, 1 in type (0 of them also in value), 2 bit-identical, 1 equal in "
        "value but not in bits, 1 not compared",
        "Only in A (1)",
        "  a.gone",
        "Only in B (1)",
        "  a.new",
        "  a.shape  [2, 3] became [3, 2]",
        "f32 became bf16, every value equal",
        "first at [0], 2 became NaN (first at [0]), 1 no longer infinite",
        "! a.lost  in B: shard 2 is missing",
        "Equal in value but not in bits (1)",
        "  a.zero  max |b-a| 0",
    ):
        assert line in ran.out.replace(" " * 60, ""), line


def test_json_of_everything(sources: Any, cli: Callable[..., Any]) -> None:
    sources(ODD, OTHER, a_lost="shard 2 is missing")
    ran = cli("diff", "a", "b", "--json")
    found = msgspec.convert(ran.json(), Document)
    assert (ran.code, ran.err) == (1, "")
    assert (found.a, found.b, found.status, found.identical) == ("a", "b", "different", 2)
    assert (found.only_in_a, found.only_in_b) == (["a.gone"], ["a.new"])
    assert [(change.name, change.change) for change in found.changed] == [
        ("a.nan", "values"),
        ("a.shape", "shape"),
        ("a.type", "dtype"),
    ]
    nan, shape, dtype = found.changed
    assert (nan.became_nan, nan.was_inf, nan.changed_fraction, nan.max_abs, nan.first_index) == (2, 1, 2 / 3, 0.0, [0])
    assert (shape.shape_a, shape.shape_b, shape.max_abs, shape.changed_fraction) == ([2, 3], [3, 2], None, None)
    assert (dtype.dtype_a, dtype.dtype_b, dtype.cosine, dtype.changed_fraction) == ("f32", "bf16", 1.0, 0.0)
    assert [change.name for change in found.equal] == ["a.zero"]
    assert [(item.name, item.reason) for item in found.uncompared] == [("a.lost", "in B: shard 2 is missing")]
    assert found.identical_names is None
    assert sum(kind.count for kind in found.kinds) == 7
    sources(ODD, OTHER, a_lost="shard 2 is missing")
    named = msgspec.convert(cli("diff", "a", "b", "--json", "--names").json(), Document)
    assert named.identical_names == ["a.bias", "a.ids"]


def test_what_could_not_be_compared_is_not_the_same(sources: Any, cli: Callable[..., Any]) -> None:
    sources(layers(), layers(), layers_0_mlp_up_weight="shard 2 is missing")
    ran = cli("diff", "a", "b")
    assert ran.code == 3
    assert "could not compare everything: 0 of 8 common tensors changed, 7 bit-identical, 1 not compared\n" in ran.out
    sources(layers(), layers(), layers_0_mlp_up_weight="shard 2 is missing")
    ran = cli("diff", "a", "b", "--json")
    assert ran.json()["status"] == "uncompared"
    assert (ran.code, ran.err) == (3, "tui-params: 1 tensor could not be compared\n")


def test_a_file_with_bytes_behind_its_end_is_not_the_same(cli: Callable[..., Any], tmp_path: Path) -> None:
    content = file_bytes({"w": entry("F32", (4,), 0)}, np.ones(4, np.float32).tobytes())
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    a.write_bytes(content)
    b.write_bytes(content)
    ran = cli("diff", str(a), str(b))
    assert (ran.code, ran.out.splitlines()[2]) == (0, "same: 0 of 1 common tensor changed, 1 bit-identical")
    assert cli("diff", str(a), str(b), "--json").json()["doubt"] is None
    b.write_bytes(content + b"#")
    ran = cli("diff", str(a), str(b))
    assert ran.code == 3
    assert ran.out.splitlines()[2:4] == [
        "   ! error: b.safetensors: trailing-bytes: it has 1 byte after the last tensor that belongs to none",
        "could not compare everything: 0 of 1 common tensor changed, 1 bit-identical, but B is damaged or not whole",
    ]
    ran = cli("diff", str(a), str(b), "--json")
    assert (ran.code, ran.err) == (3, "tui-params: the tensors are equal, but B is damaged or not whole\n")
    found = ran.json()
    assert (found["status"], found["doubt"], found["findings_a"]) == ("uncompared", "B is damaged or not whole", [])
    assert [(item["rule"], item["file"]) for item in found["findings_b"]] == [("trailing-bytes", "b.safetensors")]


def test_tolerances(sources: Any, cli: Callable[..., Any]) -> None:
    for arguments, code in (([], 1), (["--atol", "4"], 0), (["--rtol", "1e9"], 0), (["--atol", "0.5"], 1)):
        sources(layers(), trained())
        assert cli("diff", "a", "b", *arguments).code == code
    sources(layers(), trained())
    ran = cli("diff", "a", "b", "--atol", "4")
    assert "an element changed if |b-a| > 4 + 0 |a|\n" in ran.out
    same = "same: 0 of 8 common tensors changed, 6 bit-identical, 2 within the tolerance but not the same in bits\n"
    assert same in ran.out
    assert "Within the tolerance but not the same in bits (2)\n" in ran.out
    assert "every value equal" not in ran.out


def with_type(arrays: dict[str, Any], dtype: Any) -> dict[str, Any]:
    return {name: array.astype(dtype) for name, array in arrays.items()}


def test_another_type_is_told_apart_from_other_values(sources: Any, cli: Callable[..., Any]) -> None:
    f32 = {f"layers.{i}.w": np.random.default_rng(i).normal(size=(4, 4)).astype(np.float32) for i in range(3)}
    bf16 = with_type(f32, ml_dtypes.bfloat16)
    sources(f32, bf16)
    ran = cli("diff", "a", "b")
    assert (ran.code, "3 of 3 common tensors changed type, 3 of them changed in value, 0 bit" in ran.out) == (1, True)
    sources(f32, bf16)
    ran = cli("diff", "a", "b", "--rtol", "0.01")
    assert ran.code == 1
    assert "3 of 3 common tensors changed type, 0 of them changed in value beyond the tolerance, 0 bit" in ran.out
    assert "f32 became bf16, every value within the tolerance\n" in ran.out
    sources(with_type(bf16, np.float32), bf16)
    ran = cli("diff", "a", "b", "--rtol", "0.01")
    assert "f32 became bf16, every value equal\n" in ran.out
    sources(f32, bf16 | {"layers.1.w": np.zeros((2, 8), np.float32)})
    ran = cli("diff", "a", "b", "--json", "--rtol", "1e-9")
    found = msgspec.convert(ran.json(), Document)
    assert (len(found.changed), found.changed_type, found.changed_type_and_value) == (3, 2, 2)


def test_the_type_may_be_ignored(sources: Any, cli: Callable[..., Any]) -> None:
    f32 = {f"layers.{i}.w": np.random.default_rng(i).normal(size=(4, 4)).astype(np.float32) for i in range(3)}
    bf16 = with_type(f32, ml_dtypes.bfloat16)
    for b, arguments, code in (
        (bf16, [], 1),
        (bf16, ["--rtol", "0.004"], 0),
        (bf16, ["--rtol", "1e-9"], 1),
        (with_type(f32, np.float64), [], 0),
        (bf16 | {"layers.1.w": np.zeros((2, 8), np.float32)}, ["--rtol", "0.004"], 1),
    ):
        sources(f32, b)
        assert cli("diff", "a", "b", "--ignore-dtype", *arguments).code == code
    sources(f32, bf16)
    ran = cli("diff", "a", "b", "--ignore-dtype", "--rtol", "0.004")
    assert "same: 0 of 3 common tensors changed, 0 bit-identical, 3 of another type, with every value within" in ran.out
    assert "Every value within the tolerance (3)\n  layers.0.w  f32 became bf16, max |b-a| " in ran.out
    sources(f32, bf16)
    ran = cli("diff", "a", "b", "--ignore-dtype")
    assert "different: 3 of 3 common tensors changed, 0 bit-identical\n" in ran.out
    sources(f32, bf16, layers_1_w="shard 2 is missing")
    ran = cli("diff", "a", "b", "--ignore-dtype", "--rtol", "0.004")
    assert (ran.code, "1 not compared" in ran.out) == (3, True)


def test_figures_of_a_kind_are_those_of_all_its_tensors(sources: Any, cli: Callable[..., Any]) -> None:
    a: dict[str, Any] = {f"layers.{i}.w": np.arange(1, 11, dtype=np.float32) for i in range(6)}
    b = {name: array.copy() for name, array in a.items()}
    b["layers.0.w"][0] += 9
    b["layers.1.w"] = -b["layers.1.w"] / 8
    b["layers.2.w"][:2] = np.nan, np.inf
    b["layers.3.w"] = b["layers.3.w"].astype(np.float64)
    b["layers.4.w"] = b["layers.4.w"].reshape(2, 5)
    sources(a, b)
    row = next(line for line in cli("diff", "a", "b").out.splitlines() if line.startswith("  layers.#.w"))
    assert " ".join(row.split()) == "layers.#.w 5 of 6 11.2 1.12 -1 26.0 % " + (
        "1 of another shape, 1 of another type, 1 became NaN in 1 tensor, 1 became infinite in 1 tensor"
    )
    sources(a, b)
    (kind,) = msgspec.convert(cli("diff", "a", "b", "--json").json(), Document).kinds
    assert (kind.max_abs, kind.relative_l2, kind.elements, kind.changed_elements) == (11.25, 1.125, 50, 13)
    assert (kind.other_shape, kind.other_dtype, kind.new_nan, kind.new_inf, kind.worst) == (1, 1, 1, 1, "layers.4.w")
    assert kind.cosine == pytest.approx(-1)
    sources({"layers.7.w": np.zeros(2), "x": np.ones(1)}, {"layers.7.w": np.ones(2), "x": np.ones(1)})
    out = cli("diff", "a", "b").out
    assert "  layers.7.w  1 of 1          1          –         –     100 %\n" in out
    assert "layers.#" not in out


def test_files_that_were_not_opened_are_named(sources: Any, cli: Callable[..., Any], terminal: Any) -> None:
    def served() -> None:
        _, b = sources(layers(), layers())
        b.listing = msgspec.structs.replace(b.listing, not_opened=("optimizer.bin", "scheduler.bin"))

    served()
    ran = cli("diff", "a", "b")
    assert (ran.code, ran.out.splitlines()[1:3]) == (
        0,
        ["B  b  memory  8 tensors", "   not read: optimizer.bin, scheduler.bin (open them by their paths)"],
    )
    served()
    found = cli("diff", "a", "b", "--json").json()
    assert (found["not_opened_a"], found["not_opened_b"]) == ([], ["optimizer.bin", "scheduler.bin"])
    served()
    stream = terminal(40, NO_COLOR="1", TERM="dumb")
    assert run(["diff", "a", "b"]) == 0
    assert "   not read: optimizer.bin,\n     scheduler.bin (open them by their\n     paths)\n" in stream.getvalue()


def test_what_stands_on_one_side_alone_is_told_with_its_numbers(sources: Any, cli: Callable[..., Any]) -> None:
    x = np.zeros(1)
    layers = {f"layers.{i}.up.weight": x for i in (0, 1, 2, 3, 7)} | {f"h.2.e.{i}.w": x for i in range(3)}
    sources(layers | {"layers.3.down.weight": x, "both": x}, {"both": x})
    assert (
        cli("diff", "a", "b")
        .out.partition("Only in A (9)\n")[2]
        .startswith("  layers.{0-3, 7}.up.weight  x 5\n  h.2.e.{0-2}.w  x 3\n  layers.3.down.weight\n")
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rtol", "-1"], "--rtol"),
        (["--rtol", "nan"], "tolerance"),
        (["--atol", "inf"], "tolerance"),
        (["--rename", "module."], "'module.' is not a rename"),
        (["--rename", "a=a"], "changes no name"),
        (["--nothing"], "--nothing"),
    ],
)
def test_usage(arguments: list[str], said: str, sources: Any, cli: Callable[..., Any]) -> None:
    sources(layers(), layers())
    ran = cli("diff", "a", "b", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_side_that_is_missing(sources: Any, cli: Callable[..., Any]) -> None:
    sources(layers(), layers())
    ran = cli("diff", "a", "c")
    assert (ran.code, ran.out, ran.err) == (3, "", "tui-params: c: there is no such file or folder\n")
    assert cli("diff", "a").code == 2


def test_renames_are_suggested_and_applied_when_asked_for(sources: Any, cli: Callable[..., Any]) -> None:
    wrapped = {f"module.{name}": array for name, array in layers().items()}
    sources(wrapped, layers())
    ran = cli("diff", "a", "b")
    assert ran.code == 1
    assert "Renames that match more names\n  --rename module.=  matches 8 more names\n" in ran.out
    assert "Only in A (8)\n  module.layers.{0-3}.mlp.up.weight  x 4\n" in ran.out
    for arguments in (["--rename", "module.="], ["--auto-rename"], ["--rename", "b:=module."]):
        sources(wrapped, layers())
        ran = cli("diff", "a", "b", *arguments)
        assert ran.code == 0
        assert "Renamed first: --rename " in ran.out
    sources(wrapped, trained())
    found = msgspec.convert(cli("diff", "a", "b", "--json", "--auto-rename").json(), Document)
    assert found.renames == ["module.="]
    assert (found.changed[0].name, found.changed[0].name_in_b) == (
        "module.layers.1.mlp.up.weight",
        "layers.1.mlp.up.weight",
    )
    sources({name.replace("mlp", "_orig_mod.mlp"): array for name, array in layers().items()}, layers())
    assert "--rename '*_orig_mod.='" in cli("diff", "a", "b").out


def test_words_of_names_are_suggested_and_renamed(sources: Any, cli: Callable[..., Any]) -> None:
    old = {name.replace("norm.weight", "norm.gamma"): array for name, array in layers().items()}
    sources(old, layers())
    assert "  --rename gamma=weight  matches 4 more names\n" in cli("diff", "a", "b").out
    sources(old, layers())
    found = cli("diff", "a", "b", "--json").json()
    assert found["suggested_renames"] == [{"renames": ["gamma=weight"], "matches": 4}]
    for expression in ("gamma=weight", ".gamma=.weight", "/norm.(gam)ma$/=norm.weight", r"b:/(\w+)\.weight$/=\1.gamma"):
        sources(old, {name.replace("mlp.up.weight", "mlp.up.gamma"): value for name, value in layers().items()})
        ran = cli("diff", "a", "b", "--json", "--rename", expression)
        assert (ran.code, ran.json()["renames"], ran.json()["identical"]) == (1, [expression], 4), expression
    for expression, said in (("/(a+)+/=b", "can take for ever"), (r"/a/=\3", "invalid group reference 3")):
        sources(old, layers())
        ran = cli("diff", "a", "b", "--rename", expression)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err
        assert "Traceback" not in ran.err


def test_renames_that_collide_or_change_nothing_are_said(sources: Any, cli: Callable[..., Any]) -> None:
    array = np.ones(2, np.float32)
    sides = {"h.x.w": array, "h.y.w": array, "g.w": array}, {"h.w": array, "g.w": array}
    options = ["--rename", r"/\.[xy]\./=.", "--rename", "gone.=", "--rename", "b:q.=z."]
    sources(*sides)
    ran = cli("diff", "a", "b", *options)
    assert (ran.code, ran.err) == (1, "")
    assert "\\x00" not in ran.out
    assert (
        "Renamed first: --rename '/\\.[xy]\\./=.'\n"
        "! --rename gone.= changes no name of A\n"
        "! --rename b:q.=z. changes no name of B\n"
        "\nRenames that give two tensors one name (1)\n"
        "  A  h.y.w  h.w is already h.x.w: not compared\n"
    ) in ran.out
    sources(*sides)
    assert "  A  g.w  its name goes to h.x.w: not compared\n" in cli("diff", "a", "b", "--rename", "h.x.=g.").out
    sources(*sides)
    found = cli("diff", "a", "b", "--json", *options).json()
    assert found["unused_renames"] == ["gone.=", "b:q.=z."]
    assert found["collisions"] == [{"in": "a", "name": "h.y.w", "called": "h.w", "taken_by": "h.x.w"}]


def test_a_thousand_renames_are_counted_and_take_bounded_time(
    sources: Any, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.ones(1, np.float32)
    sides = {f"a{at}.w": array for at in range(1000)}, {f"b{at}.w": array for at in range(1000)}
    sources(*sides)
    options = [part for at in range(1000) for part in ("--rename", f"a{at}.=b{at}.")]
    ran = cli("diff", "a", "b", *options, *(part for at in range(30) for part in ("--rename", f"gone{at}.=")))
    assert (ran.code, ran.err) == (0, "")
    assert "same: 0 of 1,000 common tensors changed" in ran.out
    assert " --rename a19.=b19. and 980 more\n" in ran.out
    assert "! --rename gone19.= changes no name of A\n! 10 more change no name\n" in ran.out
    assert len(ran.out.splitlines()) < 60
    monkeypatch.setattr("tui_params.core.compare.renames.RENAMING_SECONDS", -1)
    ran = cli("diff", "a", "b", *options)
    assert (ran.code, ran.out) == (2, "")
    assert "1,000 renames take more than -1 s over these names: give fewer of them" in ran.err


def test_an_adapter_is_told_by_how_far_it_moves_each_weight(tmp_path: Path, cli: Callable[..., Any]) -> None:
    ones = np.ones((4, 4), np.float32)
    weights = tmp_path / "base.safetensors"
    header = {"layers.0.q.weight": entry("F32", (4, 4), 0), "layers.0.k.weight": entry("F32", (4, 4), 64)}
    weights.write_bytes(file_bytes(header, 2 * ones.tobytes()))
    factors = {"lora_A": ones[:1] / 2, "lora_B": ones[:, :1] / 8}
    arrays = {f"base_model.model.layers.0.q.{name}.weight": array for name, array in factors.items()}
    adapter = write_peft(tmp_path / "lora", arrays, r=1, lora_alpha=2)
    ran = cli("diff", str(weights), str(adapter))
    assert (ran.code, ran.err) == (1, "")
    assert "Weights that the adapter moves (1 of 2)\n     12.5 %  layers.0.q.weight  LoRA in B, rank 1" in ran.out
    found = cli("diff", "--json", str(adapter), str(weights)).json()["adapted"]
    assert [(item["name"], item["relative"]) for item in found] == [
        ("layers.0.q.weight", 0.125),
        ("layers.0.k.weight", 0.0),
    ]
    report = tmp_path / "report.md"
    assert cli("report", str(weights), str(adapter), "-o", str(report)).err.startswith("wrote ")
    assert "The adapter moves 1 of 2 weights.\n\n- `layers.0.q.weight`: 12.5 %\n" in report.read_text()
    assert cli("report", str(weights), str(adapter), "-o", str(tmp_path / "report.html")).err.startswith("wrote ")
    assert "Weights that the adapter moves, of 2 (1)" in (tmp_path / "report.html").read_text()


def test_the_same_file_also_by_a_link_is_said_to_be_that(tmp_path: Path, cli: Callable[..., Any]) -> None:
    path, link, copy = (tmp_path / f"{name}.safetensors" for name in ("a", "link", "copy"))
    header = {"w": entry("F32", (2,), 0)}
    path.write_bytes(file_bytes(header, bytes(8)))
    copy.write_bytes(path.read_bytes())
    link.symlink_to(path)
    said = "A and B are the same file, perhaps by a link: nothing can differ.\n"
    for other, is_same in ((path, True), (link, True), (copy, False)):
        ran = cli("diff", str(path), str(other))
        assert (ran.code, said in ran.out) == (0, is_same)
        assert cli("diff", "--json", str(path), str(other)).json()["same_files"] == is_same


def bits(**state: Any) -> Any:
    return np.frombuffer(json.dumps(state).encode(), np.uint8)


def test_a_packed_weight_says_which_shape_is_packed(sources: Any, cli: Callable[..., Any]) -> None:
    whole = {f"layers.{i}.w": np.ones((2, 64), ml_dtypes.bfloat16) for i in range(4)}
    packed: dict[str, Any] = {name: np.zeros((64, 1), np.uint8) for name in whole}
    for number, state in enumerate(
        (
            bits(quant_type="nf4", shape=[2, 64], dtype="bfloat16", blocksize=64),
            bits(quant_type="nf4", shape=[2, -64]),
            np.frombuffer(b'{"shape": [', np.uint8),
            bits(quant_type="nf4", shape=[2, 32, 2]),
        )
    ):
        packed[f"layers.{number}.w.quant_state.bitsandbytes__nf4"] = state
    sources(whole, packed)
    out = cli("diff", "a", "b").out
    assert "layers.0.w  bf16 [2, 64] became u8 [64, 1] (bitsandbytes nf4 of bf16 [2, 64])\n" in out
    for number in (1, 2):
        assert f"layers.{number}.w  bf16 [2, 64] became u8 [64, 1]\n" in out
    assert "layers.3.w  bf16 [2, 64] became u8 [64, 1] (bitsandbytes nf4 of [2, 32, 2])\n" in out
    sources(packed, whole)
    assert (
        "layers.0.w  u8 [64, 1] (bitsandbytes nf4 of bf16 [2, 64]) became bf16 [2, 64]\n" in cli("diff", "a", "b").out
    )


def test_what_a_cast_to_half_precision_destroys_is_counted(sources: Any, cli: Callable[..., Any]) -> None:
    a = {f"layers.{i}.w": np.linspace(1, 2, 12, dtype=np.float32).reshape(3, 4) for i in range(2)}
    a["layers.0.w"][1, 2], a["layers.0.w"][2, 3], a["layers.1.w"][2, 0] = 7e4, -1e5, 1e9
    a["layers.1.w"][0, :3] = 1e-12, -1e-9, 0.0
    a["eps"] = np.array([1e-12], np.float32)
    with np.errstate(all="ignore"):
        b = {name: array.astype(np.float16) for name, array in a.items()}
    sources(a, b)
    out = cli("diff", "a", "b").out
    row = next(line for line in out.splitlines() if line.startswith("  layers.#.w"))
    assert row.endswith("  f32 became f16, 3 became infinite in 2 tensors, 2 became 0")
    assert "f32 became f16, first at [0, 1], 2 became infinite (first at [1, 2])\n" in out
    assert "1 became infinite (first at [2, 0]), 2 became 0\n" in out
    row = next(line for line in out.splitlines() if line.startswith("  eps ") and "1 of 1" in line)
    assert row.endswith("  f32 became f16, 1 became 0")
    sources(a, b)
    found = cli("diff", "a", "b", "--json").json()
    assert {change["name"]: (change["became_inf"], change["became_zero"]) for change in found["changed"]} == {
        "layers.0.w": (2, 0), "layers.1.w": (1, 2), "eps": (0, 1)
    }  # fmt: skip
    kinds = {kind["kind"]: (kind["new_inf"], kind["became_inf"], kind["became_zero"]) for kind in found["kinds"]}
    assert kinds == {"layers.#.w": (2, 3, 2), "eps": (0, 0, 1)}
    sources({"eps": a["eps"]}, {"eps": b["eps"]})
    out = cli("diff", "a", "b", "--ignore-dtype", "--atol", "1e-6").out
    assert "  eps  f32 became f16, max |b-a| 1e-12, 1 became 0\n" in out


def fused() -> tuple[dict[str, Any], dict[str, Any]]:
    """Two checkpoints of the same values: apart, and fused, stacked, turned and shuffled."""
    rng = np.random.default_rng(1)
    a: dict[str, Any] = {}
    b: dict[str, Any] = {}
    for i in range(3):
        layer = f"model.layers.{i}"
        q, k, down, out = (rng.normal(size=shape).astype(np.float32) for shape in ((8, 4), (2, 4), (4, 6), (8, 4)))
        experts = rng.normal(size=(2, 6, 4)).astype(np.float32)
        a |= {f"{layer}.self_attn.q_proj.weight": q, f"{layer}.self_attn.k_proj.weight": k}
        b[f"{layer}.self_attn.qk_proj.weight"] = np.concatenate([q, k])
        a[f"{layer}.mlp.down_proj.weight"], b[f"{layer}.mlp.down_proj.weight"] = down, down.T.copy()
        a[f"{layer}.o.weight"], b[f"{layer}.o.weight"] = out, out[::-1].copy()
        a |= {f"{layer}.experts.{e}.up.weight": expert for e, expert in enumerate(experts)}
        b[f"{layer}.experts.up"] = experts
    return a, b


def test_values_that_are_elsewhere_are_told(sources: Any, cli: Callable[..., Any]) -> None:
    sources(*fused())
    ran = cli("diff", "a", "b")
    assert ran.code == 1
    section = ran.out.partition("The same values elsewhere, bit for bit (18)\n")[2].partition("\n\nChanged")[0]
    assert section == (
        "  A model.layers.{0-2}.self_attn.q_proj.weight = B model.layers.{0-2}.self_attn.qk_proj.weight[0:8]  x 3\n"
        "  A model.layers.{0-2}.self_attn.k_proj.weight = B model.layers.{0-2}.self_attn.qk_proj.weight[8:10]  x 3\n"
        "  A model.layers.{0-2}.mlp.down_proj.weight = B model.layers.{0-2}.mlp.down_proj.weight, transposed  x 3\n"
        "  A model.layers.{0-2}.o.weight = B model.layers.{0-2}.o.weight, in another order (dimension 0)  x 3\n"
        "  A model.layers.{0-2}.experts.{0-1}.up.weight = B model.layers.{0-2}.experts.up[0], …  x 6\n\n"
        "30 tensors looked for under another name, reshaped, transposed, with rows or columns in another order, and as "
        "a part of another tensor"
    )
    sources(*fused())
    named = cli("diff", "a", "b", "--names").out
    assert "  A model.layers.2.experts.1.up.weight = B model.layers.2.experts.up[1]\n" in named
    sources(*reversed(fused()))
    assert "  A model.layers.{0-2}.experts.up[0], … = B model.layers" in cli("diff", "a", "b").out


def test_json_of_values_that_are_elsewhere(sources: Any, cli: Callable[..., Any]) -> None:
    sources(*fused())
    ran = cli("diff", "a", "b", "--json")
    found = ran.json()
    assert (ran.code, found["status"], found["elsewhere_tried"], found["elsewhere_untried"]) == (1, "different", 30, {})
    assert found["elsewhere"][1] == {
        "a": "model.layers.0.self_attn.k_proj.weight",
        "b": "model.layers.0.self_attn.qk_proj.weight",
        "how": "part",
        "slice_a": None,
        "slice_b": "[8:10]",
        "is_transposed": False,
    }
    assert Counter(item["how"] for item in found["elsewhere"]) == {"part": 12, "transposed": 3, "rows": 3}
    a, b = fused()
    python = compare(MemorySource(a), MemorySource(b)).elsewhere
    assert [msgspec.to_builtins(item) for item in python.relations] == found["elsewhere"]


def test_what_was_looked_for_in_vain_is_said(
    sources: Any, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = fused()
    sources({"w": a["model.layers.0.o.weight"]}, {"w": a["model.layers.1.o.weight"].T.copy()})
    out = cli("diff", "a", "b").out
    assert "\n2 tensors looked for under another name," in out
    assert "; nothing was found\n" in out
    monkeypatch.setattr("tui_params.core.compare.search.MOST_NBYTES", 10)
    sources({"w": a["model.layers.0.o.weight"]}, {"w": a["model.layers.0.o.weight"].T.copy()})
    out = cli("diff", "a", "b").out
    assert "\n2 tensors not looked for: more than the 10 B that are read for this\n" in out
    sources({"w": a["model.layers.0.o.weight"]}, {"w": a["model.layers.0.o.weight"] + 1})
    assert "looked for" not in cli("diff", "a", "b").out


def test_hostile_names_do_not_reach_the_terminal(sources: Any, cli: Callable[..., Any]) -> None:
    name = "a\x1b[2J\u202e.b"
    sources({name: np.zeros(2), f"{name}c": np.zeros(1)}, {name: np.ones(2), f"d{name}": np.zeros(1)})
    for arguments in ([], ["--names"]):
        sources({name: np.zeros(2), f"{name}c": np.zeros(1)}, {name: np.ones(2), f"d{name}": np.zeros(1)})
        out = cli("diff", "a", "b", *arguments).out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "a\\x1b[2J\\u202e.b" in out


def test_in_a_terminal_lines_fit(sources: Any, terminal: Callable[..., Terminal]) -> None:
    long = {f"model.layers.{i}.self_attention.query_key_value_projection.weight": np.full(4, i) for i in range(30)}
    other = {name: array + 1 for name, array in long.items()}
    for columns in (60, 80, 120):
        apart, together = fused()
        sources(long | ODD | apart, other | OTHER | together)
        stream = terminal(columns, NO_COLOR="1")
        assert run(["diff", "a", "b"]) == 1
        text = stream.getvalue()
        assert [line for line in text.splitlines() if len(plain(line)) > columns] == []
        assert "query_key_value_projection.weight" in text or "…" in text


def plain(line: str) -> str:
    import re

    return re.sub("\x1b\\[[0-9;]*m", "", line)


def test_progress_goes_to_a_terminal_on_stderr_alone(
    sources: Any, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    sources(layers(), layers())
    stream = Tty()
    monkeypatch.setattr("sys.stderr", stream)
    assert run(["diff", "a", "b"]) == 0
    assert "100 %" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_files_end_to_end(tmp_path: Path, cli: Callable[..., Any]) -> None:
    header = {"x": entry("BF16", (2, 2), 0), "y": entry("F4", (4,), 8)}
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    a.write_bytes(file_bytes(header, bytes(10)))
    b.write_bytes(file_bytes(header, bytes(9) + b"\x20"))
    found = msgspec.convert(cli("diff", str(a), str(b), "--json").json(), Document)
    assert (found.a, found.b, found.identical) == (str(a), str(b), 1)
    (change,) = found.changed
    assert (change.name, change.dtype_a, change.first_index, change.max_abs, change.changed_count) == (
        "y",
        "f4e2m1",
        [3],
        1,
        1,
    )
    assert change.relative_l2 is None
    b.write_bytes(b.read_bytes()[:-1])
    assert cli("diff", str(a), str(b)).code == 3


@given(st.lists(st.floats(width=64), min_size=1, max_size=6), st.lists(st.floats(width=64), min_size=1, max_size=6))
@settings(max_examples=60)
def test_json_is_strict_whatever_the_numbers_random(a: list[float], b: list[float]) -> None:
    size = min(len(a), len(b))
    found = compare(MemorySource({"x": np.array(a[:size])}), MemorySource({"x": np.array(b[:size])}), threads=1)
    encoded = json.loads(encode_json(document("a", "b", found, names=True)), parse_constant=refuse)
    for change in encoded["changed"]:
        assert all(not isinstance(value, float) or math.isfinite(value) for value in change.values())


@pytest.mark.parametrize("value", ["x", "-1", "nan", "inf", "1e999", ""])
def test_a_tolerance_that_is_none_is_said_in_plain_words(
    tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diff", "--rtol", value, str(tmp_path), str(tmp_path)]) == 2
    assert "is not a tolerance: write a number from 0 on, such as 1e-5." in capsys.readouterr().err
