"""``tui-params check``: what is printed, and the exit code."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.cli.conftest import Ran
from tests.factories_memory import MemorySource
from tests.factories_safetensors import entry, file_bytes
from tests.factories_terminal import Terminal
from tui_params import open_source
from tui_params.cli.app import run
from tui_params.core.findings import Finding
from tui_params.core.health.registry import RULES
from tui_params.core.health.thresholds import MEANINGS
from tui_params.core.tensor import TensorInfo

Cli = Callable[..., Ran]
Serve = Callable[..., MemorySource]


def healthy(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def with_nan(*shape: int) -> NDArray[Any]:
    array = healthy(*shape)
    array[0, 1] = array[2, 3] = np.nan
    return array


CONSTANT = np.full((4, 4), 2, np.float32)


def test_all_is_well(cli: Cli, serve: Serve) -> None:
    serve({"a.weight": healthy(4, 4)})
    ran = cli("check", "model")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "model  memory\n\n1 tensor checked, 0 could not be checked, no findings\n"


def test_findings_stand_by_severity_with_their_places(cli: Cli, serve: Serve) -> None:
    serve({"a.bias": np.zeros(4, np.float32), "b.weight": CONSTANT, "c.weight": with_nan(4, 4)})
    ran = cli("check", "model")
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "model  memory",
        "",
        "1 error",
        "  c.weight  nan: 2 of 16 values are NaN; at [0, 1], [2, 3]",
        "",
        "1 warning",
        "  b.weight  constant: all 16 values are 2",
        "",
        "1 remark",
        "  a.bias  all-zero: all 4 values are zero",
        "",
        "3 tensors checked, 0 could not be checked",
    ]


def test_many_of_one_kind_become_one_line(cli: Cli, serve: Serve) -> None:
    serve({f"layers.{i}.fc.weight": CONSTANT + i for i in range(9)})
    ran = cli("check", "model")
    assert "  layers.#.fc.weight  constant: in 9 tensors; the first: all 16 values are 2\n" in ran.out
    assert "9 warnings" in ran.out


def test_the_zeros_of_a_fresh_model_are_one_line(cli: Cli, serve: Serve) -> None:
    serve({f"layers.{i}.fc.bias": np.zeros(4, np.float32) for i in range(9)})
    ran = cli("check", "model")
    assert ran.out.splitlines()[2:4] == [
        "1 remark",
        "  model  start-values: 9 of 9 tensors hold one value each, as before training: zeros in 9 (the first is "
        "layers.0.fc.bias)",
    ]


def test_what_could_not_be_checked_is_told_with_the_reason(cli: Cli, serve: Serve) -> None:
    arrays = {name: healthy(4, 4, seed=i) for i, name in enumerate("abcd")}
    serve(arrays, broken={"b": "I/O error", "c": "I/O error", "d": "no such shard"})
    ran = cli("check", "model")
    assert (ran.code, ran.err) == (3, "")
    assert ran.out.splitlines()[2:] == [
        "3 tensors could not be checked",
        "  b and 1 more  I/O error",
        "  d  no such shard",
        "",
        "1 tensor checked, 3 could not be checked, no findings in what was read",
    ]


def test_reasons_that_differ_in_numbers_and_names_only_are_one(cli: Cli, serve: Serve) -> None:
    names = [f"layers.{i}.fc.weight" for i in range(5)]
    serve(
        {name: healthy(4, 4) for name in [*names, "x", "y", "z"]},
        broken={name: f"{name} ends {i + 2:,} bytes early" for i, name in enumerate(names)}
        | {name: f"{name} is encrypted" for name in "xy"}
        | {"z": "gone"},
    )
    assert cli("check", "model").out.splitlines()[3:6] == [
        "  layers.#.fc.weight x 5  the first: layers.0.fc.weight ends 2 bytes early",
        "  x and 1 more  the first: x is encrypted",
        "  z  gone",
    ]


def test_what_a_reader_says_in_the_same_words_is_one_line(cli: Cli, serve: Serve) -> None:
    found = tuple(Finding("error", "missing-tensor", f"{name}.weight", "it is not there") for name in "abcde")
    found += tuple(Finding("error", "missing-tensor", f"{i}.bias", "it is not there") for i in range(4))
    found += (Finding("error", "bad-entry", "f", "no shape"), Finding("error", "bad-entry", "g", "no shape"))
    serve({"w": healthy(4, 4)}, findings=found)
    assert cli("check", "model").out.splitlines()[3:7] == [
        "  a.weight and 4 more  missing-tensor: it is not there",
        "  #.bias  missing-tensor: in 4 tensors; the first: it is not there",
        "  f  bad-entry: no shape",
        "  g  bad-entry: no shape",
    ]


def test_files_that_were_not_opened_are_never_called_healthy(cli: Cli, serve: Serve) -> None:
    def with_files(*names: str) -> None:
        source = serve({"w": healthy(4, 4)})
        source.listing = msgspec.structs.replace(source.listing, not_opened=names)

    with_files("optimizer.bin")
    ran = cli("check", "model", "--fail-on", "warning")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[2:] == [
        "not read: optimizer.bin (open it by its path)",
        "",
        "1 tensor checked, 0 could not be checked, 1 file not read, no findings in what was read",
    ]
    many = [f"optimizer_{i}.bin" for i in range(12)]
    with_files(*many)
    shown = ", ".join(many[:10])
    assert f"not read: {shown}, and 2 more (--json has all) (open them by their paths)\n" in cli("check", "model").out
    with_files(*many)
    found = cli("check", "model", "--json").json()
    assert (found["status"], found["not_opened"]) == ("ok", many)
    with_files("a|b.pt")
    lines = cli("check", "model", "--markdown").out.splitlines()
    assert lines[0].endswith("1 file not read, no findings in what was read")
    assert lines[-1] == r"| not read |  | a\|b.pt | open it by its path |"


def test_the_files_beside_a_model_are_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(file_bytes({"w": entry("F32", (2,), 0)}, bytes(8)))
    for name in ("ema.bin", "args.pkl", "labels.pickle", ".hidden.pt"):
        (tmp_path / name).write_bytes(b"?")
    ran = cli("check", str(tmp_path))
    assert ran.code == 0
    assert "not read: args.pkl, ema.bin, labels.pickle (open them by their paths)\n" in ran.out
    for folder, file in (("global_step5", "mp_rank_00.pt"), ("fsdp_0", "__0_0.distcp"), ("runs", "events.1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_bytes(b"?")
    ran = cli("check", str(tmp_path))
    shown = "args.pkl, ema.bin, labels.pickle, fsdp_0/, global_step5/"
    assert f"not read: {shown} (open them by their paths)\n" in ran.out
    assert ran.out.endswith("3 files and 2 folders not read\n")
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model.safetensors"}}')
    assert f"not read: {shown} (open them by their paths)\n" in cli("check", str(tmp_path)).out


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_terminal_wraps_evidence_and_cuts_no_number(
    columns: int, serve: Serve, terminal: Callable[..., Terminal]
) -> None:
    name = "model.layers.0.self_attention.query_key_value.weight" * 3
    evidence = " ".join(f"{number:,}" for number in range(100_000, 100_060))
    array = with_nan(4, 4)
    source = serve(
        {name: array, "x": healthy(4, 4)},
        broken={"x": f"it ends early: {evidence}"},
        findings=(Finding("error", "truncated", name, evidence),),
    )
    source.listing = msgspec.structs.replace(source.listing, not_opened=tuple(f"optimizer_{i}.bin" for i in range(9)))
    stream = terminal(columns, NO_COLOR="1", TERM="dumb")
    assert run(["check", "model"]) == 1
    lines = stream.getvalue().splitlines()
    assert [line for line in lines if len(line) > columns] == []
    words = " ".join(" ".join(lines).split())
    assert words.count(evidence) == 2
    assert "2 of 16 values are NaN; at [0, 1], [2, 3]" in words
    assert all(line.count("[") == line.count("]") for line in lines)
    assert "optimizer_8.bin (open them by their paths)" in words


def test_the_source_itself_is_counted_apart(cli: Cli, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for broken, words, short in (
        ({"b": "I/O error", "c": "gone"}, "2 tensors and the source itself", "2 and the source itself"),
        ({"": "I/O error"}, "1 tensor and the source itself", "1 and the source itself"),
        ({}, "the source itself", "the source itself"),
    ):
        arrays = {name: healthy(4, 4, seed=i) for i, name in enumerate(["a", "b", "c", ""])}
        monkeypatch.setattr(serve(arrays, broken=broken), "changed", lambda: "model was replaced on disk")
        lines = cli("check", "model").out.splitlines()
        assert f"{words} could not be checked" in lines
        assert "  model  model was replaced on disk" in lines
        assert lines[-1] == (
            f"{len('abcd') - len(broken)} tensors checked, {short} could not be checked, no findings in what was read"
        )
        monkeypatch.setattr(serve(arrays, broken=broken), "changed", lambda: "model was replaced on disk")
        ran = cli("check", "model", "--json")
        assert (ran.code, ran.err) == (3, f"tui-params: model: {words} could not be checked\n")
        found = ran.json()
        assert found["unchecked"][0] == {"tensor": None, "file": None, "reason": "model was replaced on disk"}
        assert len(found["unchecked"]) == len(broken) + 1
        assert (found["tensors"], found["checked"]) == (4, 4 - len(broken))


@pytest.mark.parametrize(
    ("arrays", "broken", "fail_on", "code"),
    [
        ({"w": healthy(4, 4)}, {}, "warning", 0),
        ({"b.bias": np.zeros(4, np.float32)}, {}, "warning", 0),
        ({"w.weight": CONSTANT}, {}, "error", 0),
        ({"w.weight": CONSTANT}, {}, "warning", 1),
        ({"w.weight": with_nan(4, 4)}, {}, "error", 1),
        ({"w.weight": with_nan(4, 4), "x": healthy(4, 4)}, {"x": "gone"}, "error", 1),
        ({"w.weight": CONSTANT, "x": healthy(4, 4)}, {"x": "gone"}, "error", 3),
        ({"w.weight": CONSTANT, "x": healthy(4, 4)}, {"x": "gone"}, "warning", 1),
        ({"x": healthy(4, 4)}, {"x": "gone"}, "warning", 3),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",), ("--markdown",)])
def test_exit_codes(
    arrays: dict[str, Any],
    broken: dict[str, str],
    fail_on: str,
    code: int,
    form: tuple[str, ...],
    cli: Cli,
    serve: Serve,
) -> None:
    serve(arrays, broken=broken)
    assert cli("check", "model", "--fail-on", fail_on, *form).code == code


EMPTY = {f"layers.{i}.fc.weight": np.zeros(0, np.float32) for i in range(26)}


@pytest.mark.parametrize(
    ("arrays", "code", "reason", "closing"),
    [
        ({}, 3, "it has no tensors, so nothing was checked", "no tensors: nothing was checked"),
        (
            {"cache": np.zeros((0, 4), np.float32)},
            3,
            "its one tensor has no element, so nothing was checked",
            "1 tensor without elements: nothing was checked",
        ),
        (
            EMPTY,
            1,
            "none of its 26 tensors has an element, so nothing was checked",
            "26 tensors without elements: nothing was checked",
        ),
    ],
)
def test_nothing_to_check_is_never_well(
    arrays: dict[str, Any], code: int, reason: str, closing: str, cli: Cli, serve: Serve
) -> None:
    serve(arrays)
    ran = cli("check", "model")
    assert ran.code == code
    assert ran.out.splitlines()[-1] == closing
    assert "could not be checked" not in ran.out
    serve(arrays)
    found = cli("check", "model", "--json").json()
    assert found["status"] == ("findings" if code == 1 else "unchecked")
    assert found["unchecked"] == [{"tensor": None, "file": None, "reason": reason}]
    assert (found["checked"], found["empty"]) == (len(arrays), len(arrays))
    serve(arrays)
    assert f"| unchecked |  | model | {reason} |" in cli("check", "model", "--markdown").out.splitlines()


def test_gradients_are_counted(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = torch.nn.Linear(3, 2)
    net(torch.ones(3)).sum().backward()
    monkeypatch.setattr("tui_params.api.opening.open_source", lambda *_, **__: open_source(net))
    assert cli("check", "x").out.splitlines()[-1].startswith("4 tensors checked (2 of them gradients), 0 could not")
    assert cli("check", "x", "--json").json()["gradients"] == 2
    assert "  beside them 2 gradients, 8 elements, 32 B  (f32 32 B)" in cli("ls", "x").out
    assert cli("ls", "x", "--json").json()["totals"]["gradients"] == 2


def test_json_is_as_documented(cli: Cli, serve: Serve) -> None:
    container = (Finding("error", "truncated", None, "the file ends early"),)
    arrays = {"w.weight": with_nan(4, 4), "x": healthy(4, 4)}
    serve(arrays, broken={"x": "gone"}, findings=container)
    ran = cli("check", "model", "--json")
    assert ran.json() == {
        "source": "model",
        "status": "findings",
        "checked": 1,
        "findings": [
            {
                "severity": "error",
                "rule": "truncated",
                "tensor": None,
                "module": None,
                "file": None,
                "evidence": "the file ends early",
                "indices": [],
            },
            {
                "severity": "error",
                "rule": "nan",
                "tensor": "w.weight",
                "module": None,
                "file": None,
                "evidence": "2 of 16 values are NaN",
                "indices": [[0, 1], [2, 3]],
            },
        ],
        "unchecked": [{"tensor": "x", "file": None, "reason": "gone"}],
        "tensors": 2,
        "empty": 0,
        "gradients": 0,
        "as_codes": 0,
        "not_opened": [],
        "files": [],
    }


def test_json_says_when_nothing_is_known(cli: Cli, serve: Serve) -> None:
    serve({"x": healthy(4, 4)}, broken={"x": "gone"})
    ran = cli("check", "model", "--json")
    assert ran.json()["status"] == "unchecked"
    assert "could not be checked" in ran.err


def test_markdown_is_a_table_that_no_name_breaks(cli: Cli, serve: Serve) -> None:
    serve({"a|b_*\n@c.weight": with_nan(4, 4), "x": healthy(4, 4)}, broken={"x": "gone | lost"})
    lines = cli("check", "model", "--markdown").out.splitlines()
    assert lines[0] == "**model**: 1 tensor checked, 1 could not be checked"
    assert lines[2:] == [
        "| severity | rule | tensor, module or file | evidence |",
        "| --- | --- | --- | --- |",
        r"| error | nan | a\|b\_\*\\x0a`@`c.weight | 2 of 16 values are NaN; at \[0, 1\], \[2, 3\] |",
        r"| unchecked |  | x | gone \| lost |",
    ]


def test_one_family_of_words(cli: Cli, serve: Serve) -> None:
    serve({"a.bias": np.zeros(4, np.float32)})
    assert "| remark | all-zero | a.bias |" in cli("check", "model", "--markdown").out
    serve({"a.bias": np.zeros(4, np.float32)})
    assert cli("check", "model", "--json").json()["findings"][0]["severity"] == "info"
    serve({"a": healthy(2, 2)}, findings=(Finding("info", "total-size", None, "other bytes"),))
    assert cli("ls", "model").out.startswith("! remark: other bytes\n")
    rules = cli("check", "--rules").out
    assert re.search(r"^  total-size +remark$", rules, re.MULTILINE)
    assert not re.search(r"^  [\w-]+ .*\binfo\b", rules, re.MULTILINE)


def test_thresholds_may_be_changed(cli: Cli, serve: Serve) -> None:
    array = healthy(4, 4)
    array[0, 0] = 500
    serve({"w.weight": array})
    assert cli("check", "model", "--fail-on", "warning").code == 0
    serve({"w.weight": array})
    ran = cli("check", "model", "--fail-on", "warning", "--threshold", "abs-max-warning=400")
    assert ran.code == 1
    assert "abs-max: the largest magnitude is 500, beyond 400" in ran.out
    serve({"w.weight": array})
    assert cli("check", "model", "--threshold", "abs_max_warning=1", "--threshold", "abs_max_error=400").code == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["model", "--threshold", "abs-max-warning"], "'abs-max-warning' is not NAME=VALUE"),
        (["model", "--threshold", "abs-max-warning=many"], "'many' is not a number"),
        (["model", "--threshold", "speed=1"], "there is no threshold 'speed'"),
        (["model", "--threshold", "siblings=-1"], "must be finite and not negative"),
        (["model", "--json", "--markdown"], "exclude each other"),
        (["model", "--fail-on", "info"], "'info' is not one of"),
        ([], "Missing argument 'SOURCE'"),
    ],
)
def test_usage(arguments: list[str], sentence: str, cli: Cli, serve: Serve) -> None:
    serve({"w": healthy(4, 4)})
    ran = cli("check", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err


def test_a_source_that_cannot_be_opened(cli: Cli, serve: Serve) -> None:
    serve({})
    ran = cli("check", "nowhere")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == "tui-params: nowhere: there is no such file or folder\n"


def test_rules_are_listed_with_their_thresholds_and_sources(cli: Cli) -> None:
    ran = cli("check", "--rules", "--threshold", "sibling-z=9")
    assert (ran.code, ran.err) == (0, "")
    for rule in RULES:
        assert f"  {rule.id} " in ran.out
        assert rule.meaning in ran.out
        assert rule.source in ran.out
    for name in MEANINGS:
        assert f"  {name.replace('_', '-')} " in ran.out
    assert "sibling-z 9" in ran.out


def test_rules_as_markdown_and_as_json(cli: Cli) -> None:
    table = cli("check", "--rules", "--markdown").out.splitlines()
    assert len(table) == 2 + len(RULES)
    assert {line.count("|") for line in table} == {6}
    listed = cli("check", "--rules", "--json").json()
    assert [rule["id"] for rule in listed["rules"]] == [rule.id for rule in RULES]
    assert listed["rules"][4]["thresholds"] == {"mostly-zero": 0.8, "mostly-zero-embedding": 0.5}


def test_a_terminal_gets_colours_and_a_pipe_none(serve: Serve, terminal: Callable[..., Terminal]) -> None:
    serve({"layers.0.self_attn.q_proj.weight": with_nan(4, 4)})
    stream = terminal(60)
    assert run(["check", "model"]) == 1
    assert "\x1b[1;31m1 error" in stream.getvalue()
    lines = stream.plain().splitlines()
    assert all(len(line) <= 60 for line in lines)
    place = lines.index("  layers.0.self_attn.q_proj.weight")
    assert lines[place + 1] == "    nan: 2 of 16 values are NaN; at [0, 1], [2, 3]"


def test_progress_is_shown_on_a_terminal_alone(serve: Serve, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    serve({"w.weight": healthy(64, 64)})
    assert cli("check", "model").err == ""
    serve({"w.weight": healthy(64, 64)})
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert run(["check", "model", "--json"]) == 0
    assert "100 %  16.0 KiB of 16.0 KiB" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


class Interrupted(MemorySource):
    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        raise KeyboardInterrupt


def test_ctrl_c_is_quiet(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Interrupted({"w.weight": healthy(4, 4)})
    monkeypatch.setattr("tui_params.api.opening.open_source", lambda path: source)
    ran = cli("check", "model", "--json")
    assert (ran.code, ran.out, ran.err.strip()) == (130, "", "")
    assert source.is_closed


def test_names_that_a_terminal_would_obey_are_written_out(cli: Cli, serve: Serve) -> None:
    for form in ((), ("--markdown",)):
        serve({"\x1b[31mred": with_nan(4, 4)})
        assert "\x1b" not in cli("check", "model", *form).out
    serve({"\x1b[31mred": with_nan(4, 4)})
    assert json.loads(cli("check", "model", "--json").out)["findings"][0]["tensor"] == "\x1b[31mred"


def test_thresholds_of_the_configuration_apply_and_an_option_wins(cli: Cli, serve: Serve, config: Path) -> None:
    def check(*more: str) -> Ran:
        serve({"a.weight": 2e4 * healthy(4, 4)})
        return cli("check", "model", "--fail-on", "warning", *more)

    assert check().code == 1
    config.parent.mkdir()
    config.write_text('{"thresholds": {"abs-max-warning": 1e5}, "theme": "nord", "keys": {"quit": "Q"}}')
    ran = check()
    assert (ran.code, ran.err) == (0, "")
    assert check("--threshold", "abs-max-warning=1e4").code == 1
    assert "abs-max-warning         100000" in cli("check", "--rules").out
    config.write_text('{"thresholds": {"speed": 1}}')
    ran = check("--json")
    assert (ran.code, ran.json()["status"]) == (1, "findings")
    assert ran.err.startswith(f"tui-params: {config}: there is no threshold 'speed'")


def write_shards(folder: Path, *, behind: str = "", cut: str = "") -> list[str]:
    """Three shards without an index; one has bytes behind its end, another lost its last byte."""
    names = [f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]
    for number, name in enumerate(names):
        data = healthy(8, seed=number).tobytes()
        content = file_bytes({f"w{number}.weight": entry("F32", (8,), 0)}, data)
        if name == behind:
            content += b"###"
        (folder / name).write_bytes(content[:-1] if name == cut else content)
    return names


def test_a_finding_about_a_file_names_it_everywhere(cli: Cli, tmp_path: Path) -> None:
    _, two, three = write_shards(tmp_path)
    assert all(finding["file"] is None for finding in cli("check", str(tmp_path), "--json").json()["findings"])
    write_shards(tmp_path, behind=two, cut=three)
    lines = cli("check", str(tmp_path)).out.splitlines()
    assert f"  {two}  trailing-bytes: it has 3 bytes after the last tensor that belong to none" in lines
    assert any(line.startswith(f"  {three}  truncated: it is truncated: 1 byte is missing") for line in lines)
    found = cli("check", str(tmp_path), "--json").json()["findings"]
    assert {(item["rule"], item["tensor"], item["file"]) for item in found} == {
        ("trailing-bytes", None, two),
        ("truncated", None, three),
    }
    table = cli("check", str(tmp_path), "--markdown").out.splitlines()
    assert any(line.startswith(f"| error | trailing-bytes | {two} | it has 3 bytes") for line in table)
    assert f"! error: {two}: it has 3 bytes after the last tensor that belong to none" in cli("ls", str(tmp_path)).out
    assert cli("ls", str(tmp_path), "--json").json()["findings"][0]["file"] == two


def test_a_finding_about_a_file_that_was_opened_by_itself_names_it(cli: Cli, tmp_path: Path) -> None:
    _, two, _ = write_shards(tmp_path, behind="model-00002-of-00003.safetensors")
    path = tmp_path / two
    assert f"  {two}  trailing-bytes: it has 3 bytes after" in cli("check", str(path)).out
    assert cli("check", str(path), "--json").json()["findings"][0]["file"] == two


def test_a_missing_shard_is_named_and_the_index_for_what_only_it_says(cli: Cli, tmp_path: Path) -> None:
    one, two, three = write_shards(tmp_path)
    (tmp_path / two).unlink()
    index = "model.safetensors.index.json"
    weight_map = {"w0.weight": one, "w1.weight": two, "w2.weight": three, "x": "../x.safetensors"}
    (tmp_path / index).write_text(json.dumps({"weight_map": weight_map}))
    found = cli("check", str(tmp_path), "--json").json()["findings"]
    assert {(item["rule"], item["file"]) for item in found} == {("missing-shard", two), ("outside-folder", index)}
    assert f"  {two}  missing-shard: 1 tensor: its shard" in cli("check", str(tmp_path)).out


def test_what_is_about_the_whole_source_names_no_file(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    zeros = {f"layers.{i}.fc.bias": entry("F32", (4,), 16 * i) for i in range(9)}
    (folder / "model.safetensors").write_bytes(file_bytes(zeros, bytes(16 * 9)))
    (item,) = cli("check", str(folder), "--json").json()["findings"]
    assert (item["rule"], item["tensor"], item["file"]) == ("start-values", None, None)
    assert "  run/  start-values: 9 of 9 tensors" in cli("check", str(folder)).out
