"""Completion in the shell: what is offered, how bash gets it, and that nothing goes wrong in the line that is typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import click
import numpy as np
import pytest
from click.shell_completion import CompletionItem
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.factories_memory import MemorySource
from tui_params.cli import completion
from tui_params.cli.app import app
from tui_params.cli.completion import next_parts
from tui_params.cli.shells import VARIABLE, Bash, Fish, Zsh

ODD = (
    "a b.weight",
    "a b.bias",
    "b*.w",
    "bx.w",
    "c:d=e@f.w",
    "d$HOME`x`.w",
    "e\"f'g\\h.w",
    "comma,name.w",
    "l.0.w",
    "l.10.w",
    "m.0.w",
    "m.0.b",
)


def ones(*names: str) -> dict[str, Any]:
    return {name: np.ones(2, np.float32) for name in names}


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What is offered at the end of a line, each with its type in front unless that is ``plain``."""

    def offer(line: str, shell: type[Bash | Zsh | Fish] = Zsh) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", f"tui-params {line}")
        monkeypatch.setenv("COMP_LINE", f"tui-params {line}")
        word = "" if line.endswith(" ") else line.split(" ")[-1]
        monkeypatch.setenv("COMP_PART", word)
        monkeypatch.setenv("COMP_CWORD", word if shell is Fish else str(line.count(" ") + 1))
        completer = shell(app, {}, "tui-params", VARIABLE)
        items = completer.get_completions(*completer.get_completion_args())
        return [item.value if item.type == "plain" else f"{item.type} {item.value}".rstrip() for item in items]

    return offer


@pytest.mark.parametrize("shell", [Bash, Zsh, Fish])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "",
            [
                "ls",
                "stats",
                "values",
                "check",
                "diff",
                "timeline",
                "report",
                "attach",
                "watch",
                "relay",
                "cache",
                "demo",
                "file",
            ],
        ),
        ("d", ["diff", "demo", "file d"]),
        ("./step_1", ["file ./step_1"]),
        ("--ver", ["--version"]),
        ("ls ", ["file"]),
        ("ls ckpt", ["file ckpt"]),
        ("diff a ", ["file"]),
        ("diff a b ", []),
        ("stats --j", ["--json", "--jobs"]),
        ("check --fail-on ", ["error", "warning"]),
        ("check model --fail-on=w", ["--fail-on=warning"]),
        ("check --threshold sib", ["open siblings=", "open sibling-z=", "open sibling-ratio="]),
        ("check --threshold=outl", ["open --threshold=outlier-ratio="]),
        ("check --threshold siblings=3", []),
        ("ls --format ru", ["run"]),
        ("report a b ", ["file"]),
        ("report a --format ht", ["html"]),
        ("--format s", ["safetensors", "steps"]),
        ("model ", []),
        ("no such command ", []),
    ],
)
def test_commands_options_paths_and_thresholds(
    offered: Callable[..., list[str]], shell: type[Bash | Zsh | Fish], line: str, expected: list[str]
) -> None:
    if line == "no such command ":
        with pytest.raises(Exception, match="No command 'no'"):  # ``complete`` makes nothing of it, see below
            offered(line, shell)
    else:
        assert offered(line, shell) == expected


@pytest.mark.parametrize("shell", [Bash, Zsh, Fish])
@pytest.mark.parametrize("command", ["stats", "values"])
def test_names_are_completed_up_to_the_next_dot(
    offered: Callable[..., list[str]], serve: Callable[..., MemorySource], shell: type[Bash | Zsh | Fish], command: str
) -> None:
    layers = [f"model.layers.{number}.{part}" for number in range(12) for part in ("mlp.w", "norm", "mlp.b")]
    source = serve(ones("head.weight", *layers), broken=dict.fromkeys(layers, "no value is read"))
    assert offered(f"{command} model ", shell) == ["head.weight", "open model."]
    assert offered(f"{command} model h", shell) == ["head.weight"]
    assert offered(f"{command} model model.layers.1", shell) == [f"open model.layers.{at}." for at in (1, 10, 11)]
    # From one choice straight to the next, through modules that have no other.
    assert offered(f"{command} model mo", shell) == [f"open model.layers.{number}." for number in range(12)]
    assert offered(f"{command} model model.layers.7.", shell) == ["open model.layers.7.mlp.", "model.layers.7.norm"]
    assert offered(f"{command} model model.layers.7.mlp.w", shell) == ["model.layers.7.mlp.w"]
    assert offered(f"{command} model Model", shell) == []
    assert offered(f"{command} nowhere ", shell) == []
    assert source.elements_read == 0
    assert source.is_closed


def test_the_name_of_a_module_may_keep_its_dot(cli: Callable[..., Any], serve: Callable[..., MemorySource]) -> None:
    serve(ones("layers.1.w", "layers.10.w"))
    assert [row["name"] for row in cli("stats", "model", "layers.1.", "--json").json()["tensors"]] == ["layers.1.w"]


def test_control_characters_are_offered_as_they_are_printed(
    cli: Callable[..., Any], offered: Callable[..., list[str]], serve: Callable[..., MemorySource]
) -> None:
    serve(ones("x\n\t\x1b.w", "x\n\t\x1b.b", "y"))
    assert offered("stats model x") == ["x\\x0a\\x09\\x1b.b", "x\\x0a\\x09\\x1b.w"]
    serve(ones("x\n\t\x1b.w", "y"))
    assert cli("stats", "model", "x\\x0a\\x09\\x1b.w").code == 0
    serve(ones("x\n\t\x1b.w", "y"))
    assert cli("stats", "model", "x\\x0a\\x09\\x1b.").code == 0


def test_next_parts() -> None:
    assert next_parts([], "") == next_parts(["a"], "b") == next_parts([""], "") == []
    assert next_parts(["x", "x.y", "x.z"], "x") == ["x", "x."]
    assert next_parts(["x.", "x..", "x..y"], "x.") == ["x.", "x.."]
    assert next_parts(["l.10.w", "l.2.w", "l.2.b"], "l") == ["l.2.", "l.10.w"]


@given(st.lists(st.text("ab.", max_size=8), max_size=30, unique=True), st.text("ab.", max_size=3))
def test_what_all_offers_have_in_common_all_names_have(names: list[str], start: str) -> None:
    before, completion.MOST = completion.MOST, 3
    try:
        found = next_parts(names, start)
    finally:
        completion.MOST = before
    fitting = [name for name in names if name and name.startswith(start)]
    assert len(found) <= 3
    assert bool(found) is bool(fitting)
    assert all(any(name.startswith(part) for name in fitting) for part in found)
    # Names, not paths.
    shared = next(end for end in range(len(min(found, default="")), -1, -1) if len({name[:end] for name in found}) < 2)
    assert all(name[:shared] == found[0][:shared] for name in fitting)


def test_many_names_are_cut_short(offered: Callable[..., list[str]], serve: Callable[..., MemorySource]) -> None:
    serve(ones(*(f"{first}{number}" for first in "xyz" for number in range(500)), "other"))
    found = offered("stats model ")
    assert len(found) == completion.MOST
    assert {"other", "z99"} <= set(found)
    assert len(offered("stats model y49")) == 11


@pytest.mark.parametrize(
    ("line", "part", "expected"),
    [
        ("a", "a", [r"plain a\ b.bias", r"plain a\ b.weight"]),
        (r"a\ b.w", r"a\ b.w", [r"plain a\ b.weight"]),
        ("'a", "a", ["plain a b.bias", "plain a b.weight"]),
        ('"a b.w', "a b.w", ["plain a b.weight"]),
        ("b", "b", [r"plain b\*.w", "plain bx.w"]),
        ("'b*", "b*", ["plain b*.w"]),
        ("c:", "", ["plain d=e@f.w"]),
        ("c:d=", "", ["plain e@f.w"]),  # bash ends words at these, and puts the rest behind them
        ("c:d", "d", ["plain d=e@f.w"]),
        ("d", "d", [r"plain d\$HOME\`x\`.w"]),
        ('"d', "d", [r"plain d\$HOME\`x\`.w"]),
        ("'d", "d", ["plain d$HOME`x`.w"]),
        ("e", "e", [r"plain e\"f\'g\\h.w"]),
        ("'e", "e", [r"""plain e"f'\''g\h.w"""]),
        ('"e', "e", [r"""plain e\"f'g\\h.w"""]),
        ("comma", "comma", ["plain comma,name.w"]),
        ("m", "m", ["plain m.0.b", "plain m.0.w"]),
        ("l", "l", ["plain l.0.w", "plain l.10.w"]),
        ("l.", "l.", ["plain l.0.w", "plain l.10.w"]),
    ],
)
def test_bash_gets_the_words_as_they_must_be_typed(
    cli: Callable[..., Any],
    serve: Callable[..., MemorySource],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    part: str,
    expected: list[str],
) -> None:
    serve(ones(*ODD))
    monkeypatch.setenv(VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_LINE", f"LC_ALL=C tui-params stats model {line}")
    monkeypatch.setenv("COMP_PART", part)
    ran = cli()
    assert (ran.code, ran.err) == (0, "")
    assert [line.rstrip("\t").replace("\t", " ") for line in ran.out.splitlines()] == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_in_bash(tmp_path: Path) -> None:
    save_file(ones(*ODD), tmp_path / "my model.safetensors")
    (tmp_path / "stats of mine").mkdir()
    (tmp_path / "tui-params").write_text(f'#!/bin/sh\nexec {sys.executable} -m tui_params "$@"\n')
    (tmp_path / "tui-params").chmod(0o755)
    script = r"""
compopt() { echo "compopt $*"; }
eval "$(_TUI_PARAMS_COMPLETE=bash_source tui-params)"
complete -p tui-params
at() { COMP_LINE=$1 COMP_POINT=${#1}; COMP_LINE+=" behind the cursor"
    _tui_params_completion tui-params "$2" tui-params; printf '<%s>\n' "${COMPREPLY[@]}"; }
at 'tui-params stats my\ model.safetensors b' b
at 'tui-params stats my\ model.safetensors a' a
at 'tui-params stats my\ model.safetensors ' ''
at 'tui-params sta' sta
at 'tui-params ls my' my
at 'tui-params stats nowhere x' x
"""
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    ran = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "complete -o nosort -F _tui_params_completion tui-params",
        "<b\\*.w>", "<bx.w>",
        "<a\\ b.bias>", "<a\\ b.weight>",
        "compopt -o nospace", "compopt -o nospace", "compopt -o nospace",
        "<a\\ b.>", "<b\\*.w>", "<bx.w>", "<c:d=e@f.w>", "<comma,name.w>", "<d\\$HOME\\`x\\`.w>",
        "<e\\\"f\\'g\\\\h.w>", "<l.>", "<m.>",
        "compopt -o filenames", "<stats>", "<stats of mine>",
        "compopt -o default", "<>",
        "<>",
    ]  # fmt: skip


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_of_the_shells(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv(VARIABLE, f"{shell}_source")
    ran = cli()
    assert ran.code == 0
    assert f"{VARIABLE}={shell}_complete" in ran.out
    assert "_tui_params_completion" in ran.out
    assert "%(" not in ran.out
    assert shutil.which(shell) is None or not subprocess.run(
        [shell, "-n"], input=ran.out, capture_output=True, text=True, check=False
    ).stderr.strip()  # fmt: skip
    monkeypatch.delenv(VARIABLE)
    assert f"{VARIABLE}={shell}_source tui-params" in cli("--help").out
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"{VARIABLE}={shell}_source tui-params" in readme


@pytest.mark.parametrize("wish", ["tcsh_source", "bash", "bash_", "_", "1", "bash_source_x"])
def test_another_wish_is_refused_with_a_sentence(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    monkeypatch.setenv(VARIABLE, wish)
    ran = cli()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"tui-params: {VARIABLE} is {wish!r}, but must be bash_source, zsh_source or fish_source\n"


@pytest.mark.parametrize("error", [RuntimeError("unforeseen"), OSError("gone"), MemoryError(), RecursionError()])
@pytest.mark.parametrize("line", ["stats model x", "no such command ", "stats 'model x"])
def test_whatever_goes_wrong_nothing_is_printed(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def fail(path: str) -> None:
        raise error

    monkeypatch.setattr("tui_params.api.opening.open_source", fail)
    monkeypatch.setenv(VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_LINE", f"tui-params {line}")
    ran = cli()
    assert ran.err == ""
    assert ran.out.strip() in ("", "file\tmodel x")
    monkeypatch.delenv("COMP_LINE")
    ran = cli()
    assert (ran.code, ran.out, ran.err) == (3, "", "")


def test_a_source_that_is_slow_to_list_is_not_waited_for(
    offered: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, is_opening = Event(), Event()

    def waits(path: str) -> MemorySource:
        is_opening.set()
        gate.wait()
        return MemorySource(ones("a"))

    monkeypatch.setattr("tui_params.api.opening.open_source", waits)
    monkeypatch.setattr(completion, "PATIENCE", 0.001)
    assert offered("stats model ") == []
    assert is_opening.wait(60)
    gate.set()


def test_every_argument_but_a_slice_is_completed() -> None:
    context = click.Context(app)
    arguments = [
        (name, parameter)
        for name in app.list_commands(context)
        for parameter in (app.get_command(context, name) or app).params
        if isinstance(parameter, click.Argument) and parameter.name != "slice_"
    ]
    assert {"ls", "stats", "values", "check", "diff"} <= {name for name, _ in arguments}
    for name, parameter in arguments:
        context = click.Context(app, info_name=name)
        context.params = {"source": None}
        is_free = parameter.name in ("name", "which", "words")
        assert parameter.shell_complete(context, "x") or is_free, (name, parameter.name)


def test_help_texts_stay_in_their_line() -> None:
    item = CompletionItem("a\tb", help="one\ntwo\tthree")
    for shell in (Bash, Zsh, Fish):
        line = shell(app, {}, "tui-params", VARIABLE).format_completion(item)
        assert line.count("\t") == 2
        assert "\n" not in line
