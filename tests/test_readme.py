"""The Python of the README runs, line by line, and each line gives what its comment says."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

README = Path(__file__).parent.parent / "README.md"


class Norm(torch.nn.Module):  # type: ignore[misc]  # mypy does not read torch
    """A model with the name that the README reads."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.ModuleDict({"norm": torch.nn.LayerNorm(384), "head": torch.nn.Linear(384, 2)})


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippet, serving, callback = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    compile(callback, "README.md", "exec")
    assert "tui_params.integrations.lightning import ServeCallback" in callback
    assert serving == 'tui_params.serve(model, optimizer, name="run 7")\n'  # run by the tests of serving
    model = Norm()
    model.model["head"].weight.data[0, 0] = float("nan")
    torch.save(model.state_dict(), tmp_path / "last.ckpt")
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    for step in (500, 1000):
        (tmp_path / "run" / f"checkpoint-{step}").mkdir(parents=True)
        save_file(model.state_dict(), tmp_path / "run" / f"checkpoint-{step}" / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    explored: list[object] = []
    monkeypatch.setattr("tui_params.tui.explore.explore", lambda target, **options: explored.append(target))
    known = {"model": model, "optimizer": torch.optim.SGD(model.parameters())}
    shown: dict[str, Any] = {}
    for statement in ast.parse(snippet).body:
        line = ast.unparse(statement)
        if isinstance(statement, ast.Expr):
            shown[line] = eval(line, known)
        else:
            exec(line, known)
    assert explored == [model, model]
    names = ["model.norm.weight", "model.norm.bias", "model.head.weight", "model.head.bias"]
    assert repr(shown["source"]).startswith("<Source last.ckpt: ")
    assert "<table" in shown["source"]._repr_html_()
    (listed,) = (value for line, value in shown.items() if line.startswith("[(info.name"))
    assert listed[0] == ("model.norm.weight", (384,), False)  # a state dict is detached
    assert (True, 4, names) in shown.values()
    plain, figures = (value for line, value in shown.items() if ".to_dicts(" in line)
    assert [row["name"] for row in plain] == names[:3]
    assert [row["nan"] for row in figures] == [0, 0, 1, 0]
    assert json.loads(json.dumps(figures)) == figures
    assert any(type(value) is float and value == 0 for line, value in shown.items() if line.endswith(".std"))
    assert any(getattr(value, "shape", None) == (8,) for value in shown.values())
    (found,) = (value for line, value in shown.items() if line.startswith("tui_params.check"))
    assert "nan" in {finding.rule for finding in found}
    (changed,) = (value for line, value in shown.items() if line.startswith("tui_params.compare"))
    assert changed.state == "same"
    (page,) = (value for line, value in shown.items() if line.startswith("tui_params.report"))
    assert page.startswith("<!DOCTYPE html>")
    (broken,) = (value for line, value in shown.items() if line.startswith("tui_params.timeline"))
    assert (broken[0], [track.name for track in broken[1]]) == (0, ["model.head.weight"])
