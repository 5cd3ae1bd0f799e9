from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.factories_safetensors import entry, file_bytes
from tests.factories_terminal import Terminal
from tui_params.cli.ls import list_tensors
from tui_params.cli.output import Output
from tui_params.core.findings import Finding


class Totals(msgspec.Struct, forbid_unknown_fields=True):
    tensors: int
    numel: int
    nbytes: int
    dtypes: dict[str, int]
    gradients: int = 0


class Entry(msgspec.Struct):
    name: str
    shape: list[int]
    dtype: str
    numel: int
    nbytes: int
    kind: str
    tied_to: str | None
    location: str
    unreadable: str | None
    storage_shape: list[int] | None
    notes: list[str]


class Document(msgspec.Struct):
    source: str
    format: str
    metadata: dict[str, str]
    totals: Totals
    tensors: list[Entry]


ARRAYS = {
    "embed.weight": np.zeros((12, 4), ml_dtypes.bfloat16),
    "layers.10.weight": np.zeros((4, 4), ml_dtypes.float8_e4m3fn),
    "layers.2.weight": np.zeros((4, 4), np.float32),
    "head.weight": np.zeros((12, 4), ml_dtypes.bfloat16),
    "steps": np.array(7),
    "none": np.zeros((0, 3), np.complex64),
}
OPTIONS: dict[str, Any] = {
    "tied_to": {"head.weight": "embed.weight"},
    "unreadable": {"layers.2.weight": "the file ends 12 bytes too early"},
    "metadata": {"format": "pt", "note": "two\nlines \x1b[31m"},
    "findings": (Finding("error", "truncated", None, "12 bytes are missing at the end"),),
    "is_ordered": False,
}


def test_plain_listing(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    source = serve(ARRAYS, **OPTIONS)
    ran = cli("ls", "model")
    assert (ran.code, ran.err) == (0, "")
    assert source.is_closed
    assert ran.out == (
        "! error: 12 bytes are missing at the end\n"
        "model  memory\n"
        "6 tensors, 81 elements, 184 B  (bf16 96 B, f32 64 B, f8e4m3 16 B, i64 8 B, c64 0 B)\n"
        "  format: pt\n"
        "  note: two\\x0alines \\x1b[31m\n"
        "\n"
        "  name              shape    dtype          size\n"
        "  embed.weight      [12, 4]  bf16           96 B\n"
        "= head.weight       [12, 4]  bf16           96 B  = embed.weight\n"
        "! layers.2.weight   [4, 4]   f32            64 B  ! the file ends 12 bytes too early\n"
        "  layers.10.weight  [4, 4]   f8e4m3         16 B\n"
        "  none              [0, 3]   c64             0 B\n"
        "  steps             []       i64             8 B\n"
    )


def test_json(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    serve(ARRAYS, **OPTIONS)
    ran = cli("ls", "model", "--json")
    document = msgspec.convert(ran.json(), Document)
    assert (ran.code, ran.err) == (0, "")
    assert (document.source, document.format, document.metadata) == ("model", "memory", OPTIONS["metadata"])
    assert document.totals == Totals(6, 81, 184, {"bf16": 96, "f32": 64, "f8e4m3": 16, "i64": 8, "c64": 0})
    assert [tensor.name for tensor in document.tensors] == [
        "embed.weight",
        "head.weight",
        "layers.2.weight",
        "layers.10.weight",
        "none",
        "steps",
    ]
    assert document.tensors[1] == Entry(
        "head.weight", [12, 4], "bf16", 48, 96, "tensor", "embed.weight", "", None, None, []
    )
    assert document.tensors[2].unreadable == "the file ends 12 bytes too early"
    assert ran.json()["findings"] == [
        {
            "severity": "error",
            "rule": "truncated",
            "tensor": None,
            "module": None,
            "file": None,
            "evidence": "12 bytes are missing at the end",
            "indices": [],
        }
    ]


def test_packed_elements_say_how_they_are_stored(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    source = serve({"w": np.zeros((4, 16), ml_dtypes.float4_e2m1fn), "s": np.zeros((4, 2), np.float32)})
    noted = [msgspec.structs.replace(info, notes=("scale 0.5",)) for info in source.listing.tensors]
    source.listing = msgspec.structs.replace(source.listing, tensors=tuple(noted))
    entries = cli("ls", "model", "--json").json()["tensors"]
    found = {entry["name"]: (entry["shape"], entry["storage_shape"], entry["notes"]) for entry in entries}
    assert found == {"w": ([4, 16], [4, 8], ["scale 0.5"]), "s": ([4, 2], None, ["scale 0.5"])}


def test_nothing_to_list(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    serve({})
    assert cli("ls", "model").out == "model  memory\n0 tensors, 0 elements, 0 B\n\n"
    assert cli("ls", "model", "--json").json()["tensors"] == []


def test_hostile_names_reach_no_terminal(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    names = ["\x1b]0;title\x07", "lone \ud800", "c1 \x9b31m", "bidi \u202e", "[red]markup[/red]", "ü", "x" * 5000]
    serve({name: np.zeros(1) for name in names})
    plain = cli("ls", "model").out
    assert not any(character in plain for character in "\x1b\x07\x9b\u202e\ud800")
    assert "[red]markup[/red]" in plain
    assert max(map(len, plain.splitlines())) < 700
    ran = cli("ls", "model", "--json")
    assert ran.out.isascii()
    assert {tensor["name"] for tensor in ran.json()["tensors"]} == set(names)


def test_long_metadata_is_bounded(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    serve({"x": np.zeros(1)}, metadata={f"key{number}": "v" * 1000 for number in range(30)})
    lines = cli("ls", "model").out.splitlines()
    assert "  and 22 more entries (--json has all)" in lines
    assert max(map(len, lines)) <= 160
    assert len(cli("ls", "model", "--json").json()["metadata"]) == 30


def test_many_findings_are_counted(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    findings = tuple(Finding("warning", "odd", f"x{number}", "is odd") for number in range(25))
    serve({"x": np.zeros(1)}, findings=findings)
    lines = cli("ls", "model").out.splitlines()
    assert lines[19:22] == ["! warning: x19: is odd", "! and 5 more findings (--json has all)", "model  memory"]
    assert len(cli("ls", "model", "--json").json()["findings"]) == 25


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_terminal_lines_fit(serve: Callable[..., Any], terminal: Callable[..., Terminal], columns: int) -> None:
    long = "model.layers.0.self_attn.some_quite_long_projection_name.weight"
    serve({**ARRAYS, long: np.zeros((2, 2))}, **{**OPTIONS, "unreadable": {long: "a reason " * 20}})
    stream = terminal(columns, NO_COLOR="1")
    list_tensors("model", as_json=False)
    rows = stream.getvalue().split("\n\n")[1].splitlines()
    if columns >= 60:
        assert max(map(len, stream.plain().splitlines())) <= columns
    assert any("! a reason" in row for row in rows)
    assert any("name.weight" in row for row in rows)


def test_terminal_gets_colours_only_where_it_has_them(
    serve: Callable[..., Any], terminal: Callable[..., Terminal]
) -> None:
    for environment, has_escapes, has_red in (
        ({}, True, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
    ):
        serve(ARRAYS, **OPTIONS)
        stream = terminal(80, **environment)
        list_tensors("model", as_json=False)
        assert ("\x1b[" in stream.getvalue()) is has_escapes
        assert ("\x1b[1;31m" in stream.getvalue()) is has_red


def test_output_to_a_pipe_knows_no_style() -> None:
    stream = StringIO()
    output = Output(stream)
    output.line(output.style("text", "bold red") + "   ")
    assert (stream.getvalue(), output.width) == ("text\n", None)


def write_files(folder: Path, files: Mapping[str, Mapping[str, tuple[int, ...]]]) -> str:
    """Files of float32 tensors, by the name of each and the shapes of its tensors."""
    for file, shapes in files.items():
        header, end = {}, 0
        for name, shape in shapes.items():
            header[name] = entry("F32", shape, end)
            end += 4 * math.prod(shape)
        (folder / file).write_bytes(file_bytes(header, bytes(end)))
    return str(folder)


MODELS = {"model.safetensors": {"q": (2, 3), "k": (2, 3)}, "consolidated.safetensors": {"wq": (4, 3)}}


def test_several_models_are_not_added_up(tmp_path: Path, cli: Callable[..., Any]) -> None:
    path = write_files(tmp_path, MODELS)
    lines = cli("ls", path).out.splitlines()
    assert lines[2:5] == [
        "3 tensors in 2 models",
        "  consolidated: 1 tensor, 12 elements, 48 B  (f32 48 B)",
        "  model: 2 tensors, 12 elements, 48 B  (f32 48 B)",
    ]
    assert "3 tensors of 3 kinds in 2 models" in cli("ls", path, "--kinds").out.splitlines()
    found = cli("ls", path, "--json").json()
    assert found["totals"]["numel"] == 24, "as before: the sum"
    assert found["models"] == [
        {
            "name": "consolidated",
            "files": ["consolidated.safetensors"],
            "totals": {"tensors": 1, "numel": 12, "nbytes": 48, "dtypes": {"f32": 48}},
        },
        {
            "name": "model",
            "files": ["model.safetensors"],
            "totals": {"tensors": 2, "numel": 12, "nbytes": 48, "dtypes": {"f32": 48}},
        },
    ]


def test_the_shards_of_one_of_two_models_are_added_up(tmp_path: Path, cli: Callable[..., Any]) -> None:
    shards = {f"model-0000{number}-of-00002.safetensors": {f"w{number}": (5,)} for number in (1, 2)}
    found = cli("ls", write_files(tmp_path, {**shards, "model.fp16.safetensors": {"w1": (5,)}}), "--json").json()
    assert [(item["name"], item["files"], item["totals"]["numel"]) for item in found["models"]] == [
        ("model", list(shards), 10),
        ("model.fp16", ["model.fp16.safetensors"], 5),
    ]


def test_slices_beside_a_model_are_one(tmp_path: Path, cli: Callable[..., Any]) -> None:
    slices = {f"consolidated.0{number}.safetensors": {"wq": (2, 3)} for number in (0, 1)}
    alone = tmp_path / "alone"
    alone.mkdir()
    found = cli("ls", write_files(alone, slices), "--json").json()
    assert (found["models"], found["totals"]["numel"]) == ([], 12)
    found = cli("ls", write_files(tmp_path, {**slices, "model.safetensors": {"wq": (4, 3)}}), "--json").json()
    assert [(item["name"], item["totals"]["numel"]) for item in found["models"]] == [
        ("model", 12),
        ("consolidated.00 and consolidated.01", 12),
    ]


def test_the_files_of_one_model_have_one_sum(tmp_path: Path, cli: Callable[..., Any]) -> None:
    path = write_files(tmp_path, {"encoder.safetensors": {"a": (2,)}, "decoder.safetensors": {"b": (3,)}})
    assert cli("ls", path).out.splitlines()[1] == "2 tensors, 5 elements, 20 B  (f32 20 B)"
    assert cli("ls", path, "--json").json()["models"] == []


def test_what_is_packed_in_bytes_is_said(cli: Callable[..., Any], tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"b": np.ones(2, np.float32)}
    for number in range(2):
        state = {"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [64, 32]}
        arrays[f"{number}.w"] = np.zeros((1024, 1), np.uint8)
        arrays[f"{number}.w.quant_state.bitsandbytes__nf4"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    arrays["odd"] = np.zeros((8, 1), np.uint8)
    arrays["odd.quant_state.bitsandbytes__fp4"] = np.zeros(3, np.uint8)
    save_file(arrays, tmp_path / "x.safetensors")
    lines = cli("ls", str(tmp_path / "x.safetensors")).out.splitlines()
    held = [line.split()[0] for line in lines if line.endswith("  holds bitsandbytes nf4 of f16 [64, 32]")]
    assert held == ["0.w", "1.w"]
    assert sum("holds" in line for line in lines) == 2
    lines = cli("ls", str(tmp_path / "x.safetensors"), "--kinds").out.splitlines()
    (line,) = [line for line in lines if "holds" in line]
    assert line.endswith("# 0-1; the first holds bitsandbytes nf4 of f16 [64, 32]")
    listed = cli("ls", str(tmp_path / "x.safetensors"), "--json").json()["tensors"]
    found = {item["name"]: item["packed"] for item in listed}
    assert found["0.w"] == {"method": "bitsandbytes nf4", "shape": [64, 32], "dtype": "f16"}
    assert (found["b"], found["odd"]) == (None, None)
