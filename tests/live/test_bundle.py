"""What runs in the model's process: carried there as one text, and written for the oldest Python that may be there."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import pytest

import tui_params.live.inside
from tui_params.live.bundle import MODULES, PRIVATE_PACKAGE, make_bundle, read_texts
from tui_params.live.inside.loader import load

INSIDE = Path(tui_params.live.inside.__file__).parent
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(INSIDE.glob("*.py"))}
OLDEST = (3, 9)
NEWER_ARGUMENTS = {"dataclass": {"slots", "kw_only"}, "zip": {"strict"}}
"""What Python 3.10 added to functions that exist in 3.9."""


def faults_of(texts: Mapping[str, str]) -> Iterator[str]:
    """What keeps texts from running, in this order, in a process with torch and the oldest Python."""
    seen: set[str] = set()
    for name, text in texts.items():
        try:
            tree = ast.parse(text, feature_version=OLDEST)
        except SyntaxError:
            yield f"{name}: has newer syntax"
            continue
        if "from __future__ import annotations" not in text and name != "__init__":
            yield f"{name}: evaluates its annotations"
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                if node.level > 1 or node.module not in seen:
                    yield f"{name}: imports {'.' * node.level}{node.module or ''}, which is not loaded before it"
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                for top in {str(module).partition(".")[0] for module in modules} - {"torch", "__future__"}:
                    if top not in sys.stdlib_module_names:
                        yield f"{name}: imports {top}"
            elif isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                newer = NEWER_ARGUMENTS.get(called, set()) & {keyword.arg for keyword in node.keywords}
                if newer:
                    yield f"{name}: {called} has no {newer.pop()} in Python 3.9"
        seen.add(name)


def test_every_module_can_be_carried_and_is() -> None:
    assert set(TEXTS) == {"__init__", "loader", "doorstep", *MODULES}
    assert list(faults_of({name: TEXTS[name] for name in ("__init__", "loader", "doorstep")})) == []
    assert read_texts() == {name: TEXTS[name] for name in MODULES}
    assert list(faults_of(read_texts())) == []


FUTURE = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        (FUTURE + "match 1:\n    case _: pass", "new: has newer syntax"),
        ("x: int | None = None", "new: evaluates its annotations"),
        (FUTURE + "import numpy", "new: imports numpy"),
        (FUTURE + "from tui_params.core import text", "new: imports tui_params"),
        (FUTURE + "from .later import x", "new: imports .later, which is not loaded before it"),
        (FUTURE + "from .. import source", "new: imports .., which is not loaded before it"),
        (FUTURE + "zip('a', 'b', strict=True)", "new: zip has no strict in Python 3.9"),
        (FUTURE + "@dataclasses.dataclass(frozen=True, slots=True)\nclass A: ...",
         "new: dataclass has no slots in Python 3.9"),
    ],
)  # fmt: skip
def test_what_could_not_be_carried_is_found(planted: str, fault: str) -> None:
    assert list(faults_of({"new": planted})) == [fault]


def test_the_bundle_runs_in_a_process_that_has_no_tui_params() -> None:
    script = """
import sys
sys.modules["tui_params"] = None  # Importing it raises ImportError, even where it is installed.
import torch
exec(sys.stdin.read(), {"__name__": "__main__"})
from _tui_params_inside.leaves import is_module
from _tui_params_inside.model import ModelProbe
model = torch.nn.Linear(2, 1)
model(torch.ones(2)).backward()
assert is_module(model)
probe = ModelProbe(model)
found = probe.enumerate()
print([description.name for description in found.tensors], len(found.gradients))
print(bytes(probe.read(found.tensors[0].handle, 0, 2)) == model.weight.detach().numpy().tobytes())
print(sorted(name for name in sys.modules if "tui_params" in name))
"""
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script], input=make_bundle(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    names, same, modules = ran.stdout.splitlines()
    assert (names, same) == ("['weight', 'bias'] 2", "True")
    loaded = sorted([PRIVATE_PACKAGE, *(f"{PRIVATE_PACKAGE}.{name}" for name in MODULES)])
    assert modules == str(sorted(["tui_params", *loaded]))


@pytest.fixture
def package() -> Iterator[str]:
    name = "_made_by_a_test"
    yield name
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def test_texts_become_a_package(package: str) -> None:
    root = load(package, {"one": "x = 1", "two": "from . import one\nfrom .one import x\ny = one.x + x"})
    assert import_module(f"{package}.two").y == root.two.y == 2
    assert root.two.__package__ == package
    again = load(package, {"one": "x = 5"})
    assert import_module(f"{package}.one") is again.one
    assert f"{package}.two" not in sys.modules


def test_a_package_that_cannot_be_loaded_leaves_nothing_behind(package: str) -> None:
    with pytest.raises(ZeroDivisionError):
        load(package, {"one": "x = 1", "two": "1 / 0", "three": ""})
    assert not [name for name in sys.modules if name.startswith(package)]
    with pytest.raises(SyntaxError):
        load(package, {"one": "x ="})
    assert not [name for name in sys.modules if name.startswith(package)]
