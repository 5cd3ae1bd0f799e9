"""Rules of the architecture: who imports what and when, how long a file is, what is at the top level."""

from __future__ import annotations

import ast
import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import tui_params
from tests.import_graph import read_graph

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tui_params"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 400
# Files that may be longer, each with its reason.
LONG = {
    "tui_params/sources/inert_pickle/machine.py": "one short method an opcode, and their table",
}

HEAVY = {"numpy", "ml_dtypes", "plotext", "numba", "torch", "huggingface_hub", "safetensors", "transformers"}
# What is imported before the tree is on the screen.
BEFORE_FIRST_PAINT = (
    "tui_params",
    "tui_params.errors",
    *(
        f"tui_params.core.{name}"
        for name in (
            "dtypes", "tensor", "source", "findings", "figures", "window", "text", "kinds",
            "tree.tree", "tree.rows", "query.query",
        )
    ),
    "tui_params.sources.detect",
    "tui_params.sources.safetensors.reader",
    "tui_params.api.opening",
    "tui_params.cli.app",
    "tui_params.cli.ls",
    "tui_params.tui.app",
    "tui_params.tui.explore",
)  # fmt: skip
RUNS_CODE = {"pickle", "_pickle", "cPickle", "shelve", "dill", "cloudpickle", "joblib", "marshal", "code", "runpy"}
TOP_LEVEL = {"pyproject.toml", "README.md", "LICENSE", "justfile", "tui_params", "tests", "screenshots", "findings"}


def python(script: str, *arguments: str) -> str:
    """What the script prints in a fresh interpreter."""
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, anywhere in it, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name | ast.Attribute)
            and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) == "import_module"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value)


@pytest.fixture(scope="module")
def loaded_by_module() -> dict[str, list[str]]:
    """By module, the heavy packages that came into the process with it; one process, in the order above."""
    script = """
import json, sys
from importlib import import_module
heavy, before, found = set(json.loads(sys.argv[1])), set(), {}
for name in json.loads(sys.argv[2]):
    import_module(name)
    found[name] = sorted((heavy & set(sys.modules)) - before)
    before |= heavy & set(sys.modules)
print(json.dumps(found))
"""
    modules = json.dumps(BEFORE_FIRST_PAINT)
    found: dict[str, list[str]] = json.loads(python(script, json.dumps(sorted(HEAVY)), modules))
    return found


@pytest.mark.parametrize("module", BEFORE_FIRST_PAINT)
def test_what_is_needed_for_the_first_paint_loads_nothing_heavy(
    module: str, loaded_by_module: dict[str, list[str]]
) -> None:
    assert loaded_by_module[module] == []


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    header = {
        "layers.0.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "layers.0.bias": {"dtype": "BF16", "shape": [2], "data_offsets": [16, 20]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(20))
    return path


def test_opening_a_checkpoint_and_its_statistics_leave_torch_alone(checkpoint: Path) -> None:
    script = """
import json, sys
import tui_params
from tui_params.core.tree.tree import Tree
with tui_params.open_source(sys.argv[1]) as source:
    Tree(source.listing)
    before = sorted(sys.modules)
    count = source.summarize("layers.0.bias").figures(2).zeros
print(json.dumps({"before": before, "after": sorted(sys.modules), "zeros": count}))
"""
    found = json.loads(python(script, str(checkpoint)))
    assert found["zeros"] == 2
    assert not HEAVY & set(found["before"])
    assert not {"torch", "textual", "rich", "plotext"} & set(found["after"])


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        # ls reads no value, and no name of this file is one of an adapter's. difflib is for names that are misspelt.
        (["ls"], {"torch", "textual", "plotext", "numpy", "numba", "difflib", "tui_params.core.health.adapters"}),
        (["ls", "--json"], {"torch", "textual", "plotext", "numpy", "numba", "difflib", "statistics"}),
        # Values are read with numpy. The loops for large tensors are not worth their loading for these.
        (["stats"], {"torch", "textual", "plotext", "rich", "numba", "difflib"}),
        (["check"], {"torch", "textual", "plotext", "rich", "numba", "difflib"}),
        (["--version"], {"torch", "textual", "plotext", "numpy", "numba", "tui_params.cli.ls"}),
    ],
    ids=lambda value: "".join(value) if isinstance(value, list) else "",
)
def test_a_command_loads_what_it_needs_and_no_more(arguments: list[str], unwanted: set[str], checkpoint: Path) -> None:
    script = """
import sys
from tui_params.cli.app import run
code = run(sys.argv[1:])
print(*sys.modules, sep="\\n", file=sys.stderr)
sys.exit(code)
"""
    source = [] if arguments[0].startswith("--") else [str(checkpoint)]
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments, *source], cwd=ROOT, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    # Its weight is all zeros, which is an error.
    assert result.returncode == (1 if arguments == ["check"] else 0), result.stderr
    assert result.stdout
    assert not unwanted & set(result.stderr.splitlines())


def test_public_names_are_resolved_when_they_are_used() -> None:
    script = """
import sys
import tui_params
print(sorted(name for name in sys.modules if name.startswith("tui_params")))
assert set(tui_params.__all__) <= set(dir(tui_params))
for name in tui_params.__all__:
    assert getattr(tui_params, name) is not None, name
"""
    assert python(script).splitlines() == ["['tui_params']"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tui_params.nothing


@pytest.mark.parametrize("folder", ["core", "sources"])
def test_the_core_and_the_readers_do_not_name_torch_or_a_terminal(folder: str) -> None:
    unwanted = {"torch", "textual", "rich", "plotext"}
    found = [
        f"{path.relative_to(ROOT)}:{line} {module}"
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for line, module in imports(path)
        if module.partition(".")[0] in unwanted
    ]
    assert found == []


def test_what_runs_in_the_models_process_needs_nothing_but_torch() -> None:
    modules = sorted((PACKAGE / "live" / "inside").glob("*.py"))
    assert len(modules) > 1
    found = {module.partition(".")[0] for path in modules for _, module in imports(path)}
    assert found - set(sys.stdlib_module_names) <= {"torch", "__future__"}


def test_a_format_stands_on_bytes_and_pickles_and_on_no_other_format() -> None:
    graph = read_graph(PACKAGE)
    shared = ("tui_params.sources.bytes", "tui_params.sources.inert_pickle")
    above = {f"tui_params.sources.{name}" for name in ("detect", "forced", "given", "openers", "plugins", "unopened")}
    found = [
        f"{module} -> {target}"
        for module, targets in graph.items()
        if module.startswith("tui_params.sources.") and module not in above
        for target in targets
        if target.startswith("tui_params.sources.")
        and not target.startswith(shared)
        and room_of(target) != room_of(module) != "tui_params.sources.folder"
    ]
    assert found == []


def room_of(module: str) -> str:
    """``tui_params.sources.folder.config`` is in the room ``tui_params.sources.folder``."""
    return ".".join(module.split(".")[:3])


def test_readers_run_no_code_of_a_file() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {module}"
        for path in [*sorted((PACKAGE / "sources").rglob("*.py")), *sorted((PACKAGE / "core").rglob("*.py"))]
        for line, module in imports(path)
        if module.partition(".")[0] in RUNS_CODE
    ]
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno} {name}"
        for path in sorted((PACKAGE / "sources").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (name := getattr(node.func, "id", "")) in {"eval", "exec", "compile", "__import__"}
    ]
    assert found + calls == []


def test_readers_open_files_for_reading_only() -> None:
    # Modes of open() and flags of os.open() that write.
    writes = re.compile(
        r"""open\([^)]*["'][rb]*[wax+][rwabx+]*["']|\.write_(?:bytes|text)\(|O_(?:WRONLY|RDWR|CREAT)\b"""
    )
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in sorted((PACKAGE / "sources").rglob("*.py"))
        for match in writes.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_readers_ask_one_place_what_lies_at_a_path() -> None:
    # A path may be below a mount, of which the operating system knows nothing.
    asks = re.compile(
        r"\bos\.(?:stat|lstat|scandir|listdir|open|pread|access|walk)\b|\bos\.path\.(?:is\w+|l?exists|realpath)\b"
        r"|\.(?:is_dir|is_file|exists|iterdir|read_text|read_bytes|resolve|r?glob)\(\)|\.open\([\"']r"
    )
    apart = {
        "bytes",  # what is asked
        "remote",  # servers
        "detect.py",  # a link that leads nowhere
        "folder/dcp/stamps.py",  # of files on this disk only
        "folder/deepspeed/recognition.py", "folder/folder.py",  # entries of a folder that was scanned
    }  # fmt: skip
    found = [
        f"{path.relative_to(PACKAGE)}: {match.group()}"
        for path in sorted((PACKAGE / "sources").rglob("*.py"))
        for match in asks.finditer(path.read_text(encoding="utf-8"))
        if not apart & {path.relative_to(PACKAGE / "sources").parts[0], str(path.relative_to(PACKAGE / "sources"))}
    ]
    assert found == []


def test_calls_that_come_later_are_not_left_to_timers_that_may_forget_them() -> None:
    asking = [path for path in FILES if re.search(r"\.set_timer\b", path.read_text(encoding="utf-8"))]
    assert not asking, "tui/later.py has Later"


def test_files_are_short_or_have_a_reason() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in FILES}
    assert {path: count for path, count in lines.items() if count > MAX_LINES and path not in LONG} == {}
    assert [path for path in LONG if lines.get(path, 0) <= MAX_LINES] == []  # no longer long: take it off the list


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in FILES
        if path.stat().st_size > 1 and ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]
    assert silent == []


def test_nothing_is_left_to_do() -> None:
    left = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in FILES
        for match in left.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_the_recipes_run_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    recipes = {line.strip() for line in (ROOT / "justfile").read_text(encoding="utf-8").splitlines()}
    (command,) = re.findall(r"^python3 -m venv .*pytest$", readme, re.MULTILINE)
    *install, test = command.split(" && ")
    assert {*install, f"{test} {{{{ arguments }}}}"} <= recipes


def test_the_top_level_is_tidy() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    found = [
        path.name
        for path in ROOT.iterdir()
        if not path.name.startswith(".")
        and path.name not in TOP_LEVEL
        and not any(path.match(pattern.rstrip("/")) for pattern in ignored)
    ]
    assert found == []


def _makes_a_table(node: ast.expr) -> bool:
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return is_call and node.func.id in {"set", "dict", "list", "tuple", "frozenset", "sorted"}  # type: ignore[attr-defined]


def test_no_table_is_made_again_for_each_element() -> None:
    """``[x for x in xs if x not in set(ys)]`` makes the set for each x: minutes where there are 92,000."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in FILES
        for comprehension in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(comprehension, ast.comprehension)
        for condition in comprehension.ifs
        for node in ast.walk(condition)
        if isinstance(node, ast.Compare)
        if any(isinstance(way, (ast.In, ast.NotIn)) for way in node.ops) and any(map(_makes_a_table, node.comparators))
    ]
    assert found == []


def test_no_widget_takes_a_private_name_of_its_base_for_something_else() -> None:
    assigned = {}
    for file in (PACKAGE / "tui").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ClassDef):
                assigned[node.name] = _assigned(node), [ast.unparse(base).partition("[")[0] for base in node.bases]
    textual = _textual_names()
    twice = [
        f"{name}.{attribute} is set by {base} too"
        for name, (own, _) in assigned.items()
        for base in _bases(name, assigned)
        for attribute in own & (assigned[base][0] if base in assigned else textual)
    ]
    assert not twice


def _bases(name: str, known: Mapping[str, tuple[set[str], list[str]]]) -> Iterator[str]:
    for base in known[name][1] if name in known else ():
        yield base
        yield from _bases(base, known)


def _assigned(node: ast.AST) -> set[str]:
    """The private attributes of ``self`` that some code gives a value."""
    stored = (each for each in ast.walk(node) if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store))
    return {each.attr for each in stored if ast.unparse(each.value) == "self" and each.attr.startswith("_")}


def _textual_names() -> set[str]:
    """The private attributes of every widget and screen of Textual."""
    import textual

    folder = Path(textual.__file__).parent
    files = (folder / f"{name}.py" for name in ("dom", "message_pump", "widget", "scroll_view", "screen"))
    return {name for file in files for name in _assigned(ast.parse(file.read_bytes()))}
