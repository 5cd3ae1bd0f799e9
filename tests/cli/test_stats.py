from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_adapters import PEFT, peft_lora, values, write_peft
from tests.factories_terminal import Terminal
from tui_params.api.opening import open_source
from tui_params.cli.app import run
from tui_params.core.figures import QUANTILES
from tui_params.errors import UnknownTensorError


class Numbers(msgspec.Struct):
    count: int
    finite: int
    nan: int
    pos_inf: int
    neg_inf: int
    zeros: int
    subnormals: int
    at_max: int | None
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    abs_max: float | None
    l2_norm: float | None
    rms: float | None
    quantiles: dict[str, float]
    exact: bool
    quantiles_exact: bool
    sampled: bool


class Entry(msgspec.Struct):
    name: str
    shape: list[int]
    dtype: str
    numel: int
    nbytes: int
    summary: Numbers | None
    unchecked: str | None


class Document(msgspec.Struct):
    source: str
    tensors: list[Entry]


ARRAYS = {
    "a.weight": np.array([[1.0, -2.0], [math.nan, math.inf]], np.float32),
    "a.bias": np.zeros(100, ml_dtypes.bfloat16),
    "b.ids": np.array([2**40, -7, 0, 0]),
    "b.mask": np.array([True, False]),
    "b.empty": np.zeros((0, 3), np.float32),
    "b.scalar": np.float32(0.5),
    "b.complex": np.array([3 + 4j, complex(math.nan, -math.inf)], np.complex64),
    "b.fp8": np.array([448.0, -0.5, math.nan], ml_dtypes.float8_e4m3fn),
    "b.nothing": np.full(3, math.nan, np.float16),
    "c.lost": np.zeros(3),
    "c.head": np.zeros(100, ml_dtypes.bfloat16),
    "c.breaks": np.zeros(3),
}
OPTIONS: dict[str, Any] = {
    "unreadable": {"c.lost": "shard 2 is missing"},
    "broken": {"c.breaks": "the file was truncated after it was opened"},
    "tied_to": {"c.head": "a.bias"},
}


@pytest.fixture
def source(serve: Callable[..., Any]) -> Any:
    return serve({name: np.asarray(array) for name, array in ARRAYS.items()}, **OPTIONS)


def test_json_of_every_kind_of_tensor(source: Any, cli: Callable[..., Any]) -> None:
    ran = cli("stats", "model", "--json")
    document = msgspec.convert(ran.json(), Document)
    assert ran.code == 3
    assert ran.err == "tui-params: 2 of 12 tensors could not be read\n"
    assert source.is_closed
    by_name = {entry.name: entry for entry in document.tensors}
    assert list(by_name) == list(ARRAYS)
    assert all((entry.summary is None) != (entry.unchecked is None) for entry in document.tensors)
    assert by_name["c.lost"].unchecked == "shard 2 is missing"
    assert by_name["c.breaks"].unchecked == "the file was truncated after it was opened"
    weight = by_name["a.weight"].summary
    assert weight is not None
    assert (weight.count, weight.finite, weight.nan, weight.pos_inf, weight.neg_inf) == (4, 2, 1, 1, 0)
    assert (weight.min, weight.max, weight.mean, weight.std, weight.abs_max) == (-2.0, 1.0, -0.5, 1.5, 2.0)
    assert list(weight.quantiles) == [str(q) for q in QUANTILES]
    assert (weight.exact, weight.sampled) == (True, False)
    assert by_name["c.head"].summary == by_name["a.bias"].summary
    complex_ = by_name["b.complex"].summary
    assert complex_ is not None
    for name, at_max in {"a.weight": 0, "b.fp8": 1, "b.ids": None, "b.mask": None, "b.empty": 0}.items():
        summary = by_name[name].summary
        assert summary is not None
        assert summary.at_max == at_max
    assert (complex_.count, complex_.finite, complex_.nan, complex_.neg_inf) == (4, 2, 1, 1)
    for name in ("b.empty", "b.nothing"):
        summary = by_name[name].summary
        assert summary is not None
        assert (summary.finite, summary.min, summary.mean, summary.std, summary.quantiles) == (0, None, None, None, {})


def test_plain_table(source: Any, cli: Callable[..., Any]) -> None:
    ran = cli("stats", "model")
    assert (ran.code, ran.err) == (3, "tui-params: 2 of 12 tensors could not be read\n")
    assert ran.out == (
        "  name       shape   dtype           min        max       mean        std\n"
        "! a.weight   [2, 2]  f32              -2          1       -0.5        1.5  1 NaN, 1 +Inf\n"
        "  a.bias     [100]   bf16              0          0          0          0  all zero\n"
        "  b.ids      [4]     i64              -7  1.100e+12   2.749e11   4.761e11  50.0 % zeros\n"
        "  b.mask     [2]     bool              0          1        0.5        0.5  50.0 % zeros\n"
        "  b.empty    [0, 3]  f32               –          –          –          –  no elements\n"
        "  b.scalar   []      f32             0.5        0.5        0.5          0\n"
        "! b.complex  [2]     c64               3          4        3.5        0.5  1 NaN, 1 -Inf\n"
        "! b.fp8      [3]     f8e4m3         -0.5        448      223.8      224.2  1 NaN\n"
        "! b.nothing  [3]     f16               –          –          –          –  3 NaN\n"
        "! c.lost     [3]     f64       unchecked: shard 2 is missing\n"
        "= c.head     [100]   bf16              0          0          0          0  all zero, = a.bias\n"
        "! c.breaks   [3]     f64       unchecked: the file was truncated after it was opened\n"
    )


def test_one_tensor_in_full(source: Any, cli: Callable[..., Any]) -> None:
    ran = cli("stats", "model", "a.weight")
    assert (ran.code, ran.err) == (0, "")
    facts = dict(line.strip().split("  ", 1) for line in ran.out.splitlines()[1:])
    assert ran.out.splitlines()[0] == "a.weight"
    assert facts["shape"].strip() == "[2, 2]"
    assert facts["NaN"].strip() == "1 (25.0 %)"
    assert facts["std"].strip() == "1.5"
    assert facts["q 50 %"].strip() == "-0.5"


def test_elements_at_the_largest_value_of_the_type_have_a_line(source: Any, cli: Callable[..., Any]) -> None:
    assert "  at ±448     1 (33.3 %)\n" in cli("stats", "model", "b.fp8").out
    assert "at ±" not in cli("stats", "model", "a.weight").out


def test_one_tensor_that_cannot_be_read(source: Any, cli: Callable[..., Any]) -> None:
    ran = cli("stats", "model", "c.lost")
    assert "  unchecked   shard 2 is missing\n" in ran.out
    assert (ran.code, ran.err) == (3, "tui-params: 1 of 1 tensor could not be read\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", ["a.weight", "a.bias"]),
        ("a.weight", ["a.weight"]),
        ("*.bias", ["a.bias"]),
        ("b.[ms]*", ["b.mask", "b.scalar"]),
    ],
)
def test_names(source: Any, cli: Callable[..., Any], name: str, expected: list[str]) -> None:
    ran = cli("stats", "model", name, "--json")
    assert ran.code == 0
    assert [entry["name"] for entry in ran.json()["tensors"]] == expected


@pytest.mark.parametrize("name", ["a.wieght", "zebra*", "a.w", ""])
def test_unknown_name_is_a_usage_error(source: Any, cli: Callable[..., Any], name: str) -> None:
    ran = cli("stats", "model", name)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"tui-params: model has no tensor {name!r}")
    assert ran.err.count("\n") == 1
    if name == "a.wieght":
        assert "; the nearest names are a.weight" in ran.err


def test_tied_tensors_are_read_once(source: Any, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    original = type(source).blocks

    def counted(self: Any, info: Any, *bounds: Any) -> Any:
        read.append(info.name)
        return original(self, info, *bounds)

    monkeypatch.setattr(type(source), "blocks", counted)
    cli("stats", "model", "--json")
    assert len(read) == len(set(read))
    assert "c.head" not in read


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_terminal_lines_fit(source: Any, terminal: Callable[..., Terminal], columns: int) -> None:
    stream = terminal(columns)
    assert run(["stats", "model"]) == 3
    assert max(map(len, stream.plain().splitlines())) <= max(columns, 62)
    assert "1 NaN, 1 +Inf\x1b[0m" in stream.getvalue()
    assert ("[2, 2]" in stream.plain()) is (columns == 120)


def test_progress_of_json_goes_to_a_terminal_on_stderr(
    source: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    run(["stats", "model", "a.*", "--json"])
    assert stream.getvalue() == "\r1 of 2\r\x1b[K"
    assert len(json.loads(capsys.readouterr().out)["tensors"]) == 2


@pytest.mark.filterwarnings("ignore:Sparse")
def test_the_own_name_of_a_tensor_that_is_listed_by_its_fields(tmp_path: Path, cli: Callable[..., Any]) -> None:
    import torch

    dense = torch.tensor([[0.0, 2, 0], [3, 0, 4]])
    jagged = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged)
    file = tmp_path / "graph.pt"
    torch.save({"adj": dense.to_sparse(), "g.csr": dense.to_sparse_csr(), "j": jagged, "adjoint": dense}, file)
    for name, fields in (
        ("adj", ["adj.indices", "adj.values"]),
        ("g.csr", ["g.csr.crow_indices", "g.csr.col_indices", "g.csr.values"]),
        ("j", ["j.values", "j.offsets"]),
    ):
        ran = cli("stats", str(file), name, "--json")
        assert (ran.code, ran.err) == (0, "")
        assert [entry["name"] for entry in ran.json()["tensors"]] == fields
        ran = cli("values", str(file), name)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.endswith(f"has no tensor '{name}'; below that name are {', '.join(fields)}\n")
        with open_source(file) as source, pytest.raises(UnknownTensorError, match=f"are {fields[0]}, {fields[1]}"):
            source.find(name)
    assert cli("stats", str(file), "adjoin").err.endswith("the nearest names are adjoint\n")


def test_adapters_have_the_norms_of_their_changes(tmp_path: Path, cli: Callable[..., Any]) -> None:
    arrays = peft_lora({0: 4, 1: 4})
    module = PEFT.format(0)
    weight = values(48, 64)
    folder = write_peft(tmp_path, arrays | {f"{module}.base_layer.weight": weight}, base_model_name_or_path="org/tiny")
    delta = 2.0 * arrays[f"{module}.lora_B.weight"].astype(np.float64) @ arrays[f"{module}.lora_A.weight"]
    first, second = cli("stats", str(folder), "--json").json()["adapters"]
    assert (first["module"], first["kind"], first["rank"], first["alpha"], first["scale"]) == (module, "LoRA", 4, 8, 2)
    assert first["norm"] == pytest.approx(float(np.linalg.norm(delta)), rel=1e-12)
    assert first["relative"] == pytest.approx(float(np.linalg.norm(delta) / np.linalg.norm(weight)), rel=1e-6)
    assert (first["base"], first["base_model"], first["unknown"]) == (f"{module}.base_layer.weight", "org/tiny", None)
    assert (second["base"], second["relative"], second["bound"]) == (None, None, False)


def test_the_table_of_adapters_follows_that_of_the_tensors(tmp_path: Path, cli: Callable[..., Any]) -> None:
    folder = write_peft(tmp_path, peft_lora({0: 4, 1: 4}))
    (folder / "adapter_config.json").unlink()
    lines = cli("stats", str(folder), PEFT.format(1)).out.splitlines()
    (line,) = [line for line in lines if line.startswith(f"  {PEFT.format(1)} ") and "LoRA" in line]
    assert "its scale is not known" in line
    assert not any(line.startswith(f"  {PEFT.format(0)} ") for line in lines)
    assert lines[-1] == "  change: the Frobenius norm of what is added to the weight"


def test_one_tensor_and_no_adapter_have_no_such_table(tmp_path: Path, cli: Callable[..., Any]) -> None:
    folder = write_peft(tmp_path, peft_lora({0: 4}))
    assert "Frobenius" not in cli("stats", str(folder), f"{PEFT.format(0)}.lora_A.weight").out


def test_a_source_without_tensors_says_so(tmp_path: Path, cli: Callable[..., Any]) -> None:
    np.save(tmp_path / "x.npy", np.array(["a", "bb"]))
    np.savez(tmp_path / "x.npz", *(np.array(["a"]) for _ in range(10)))
    ran = cli("stats", str(tmp_path / "x.npy"))
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "x.npy has no tensors: there is nothing to compute",
        "  array: texts or dates of type U2, [2]",
    ]
    lines = cli("stats", str(tmp_path / "x.npz")).out.splitlines()
    assert lines[0] == "x.npz has no tensors: there is nothing to compute"
    assert lines[-1] == "  and 2 more entries (ls --json has all)"
    ran = cli("stats", str(tmp_path / "x.npy"), "array")
    assert ran.code == 2
    assert "texts or dates of type U2, [2]" in ran.err
    with (
        open_source(tmp_path / "x.npy") as source,
        pytest.raises(UnknownTensorError, match="a value of that name: texts"),
    ):
        source.find("array")


@pytest.mark.parametrize("command", ["stats", "ls"])
def test_long_names_keep_the_columns(cli: Callable[..., Any], command: str, tmp_path: Path) -> None:
    name = "base_model.model.model.layers.10.self_attn.q_proj.lora_A.default.weight.and.a.few.more.parts.of.it"
    save_file({name: torch.ones(2, 3), "b": torch.ones(2, 3)}, tmp_path / "x.safetensors")
    lines = cli(command, str(tmp_path / "x.safetensors")).out.splitlines()
    (title,) = [line for line in lines if line.startswith("  name")]
    rows = [line for line in lines if "[2, 3]" in line]
    assert len(rows) == 2
    assert {line.index("[2, 3]") for line in rows} == {title.index("shape")}
