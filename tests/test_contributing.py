"""CONTRIBUTING.md is true: its examples work when they are pasted, and what it names is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contributing import (
    CONTRIBUTING,
    EXAMPLES,
    FORMAT,
    ROOT,
    RULE,
    SCREEN,
    apply,
    copy_package,
    copy_tests,
    read_examples,
    replace,
)

TEXT = CONTRIBUTING.read_text(encoding="utf-8")
MAX_LINES = 60


def test_there_are_three_short_examples() -> None:
    assert list(EXAMPLES) == [FORMAT, RULE, SCREEN]
    assert {title: example.lines for title, example in EXAMPLES.items() if example.lines > MAX_LINES} == {}


def python(folder: Path, *arguments: str) -> str:
    """What Python prints in a copy of the repository."""
    ran = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "TUI_PARAMS_CACHE": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository to which all examples were applied."""
    folder = tmp_path_factory.mktemp("repository")
    copy_package(folder)
    copy_tests(folder)
    for example in EXAMPLES.values():
        apply(example, folder)
    return folder


def test_the_tests_of_the_examples_pass(repository: Path) -> None:
    tests = [test for example in EXAMPLES.values() for test in example.tests]
    assert len(tests) == len(EXAMPLES)
    assert f"{len(tests)} passed" in python(repository, "pytest", "-n0", *tests)


def test_the_scene_of_the_new_screen_is_drawn(repository: Path) -> None:
    python(repository, "tests.scenes", ".", "metadata")
    assert "model_type" in (repository / "metadata.svg").read_text(encoding="utf-8")


WORK = """\
### An example
Text.

```python
# a/new.py
x = 1
```

```diff
@@ a/old.py
 first
-second
+2
@@ tests/test_old.py
+def test_more():
 def test_old():
```
### No example
Text.
"""


def test_an_example_is_read_and_applied(tmp_path: Path) -> None:
    examples = read_examples(WORK)
    assert list(examples) == ["An example"]
    example = examples["An example"]
    assert (example.lines, example.tests) == (17, ["tests/test_old.py::test_more"])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old.py").write_text("first\nfirst\nsecond\nthird\n")
    apply(example, tmp_path)
    assert (tmp_path / "a" / "new.py").read_text() == "x = 1\n"
    assert (tmp_path / "a" / "old.py").read_text() == "first\nfirst\n2\nthird\n"
    with pytest.raises(AssertionError, match=r"a/new\.py"):
        apply(example, tmp_path)


@pytest.mark.parametrize(("text", "times"), [("first\nsecond\n" * 2, 2), ("first\n second\n", 0)])
def test_lines_that_are_not_there_once_are_a_fault(tmp_path: Path, text: str, times: int) -> None:
    path = tmp_path / "old.py"
    path.write_text(text)
    with pytest.raises(AssertionError, match=rf"old\.py has {times} times:"):
        replace(path, "first\nsecond\n", "")


def test_the_layout_has_every_room() -> None:
    (block,) = re.findall(r"^```\n(tui_params/\n.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    drawn, above = set(), [""]
    for line in block.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        depth = len(indent) // 2
        above[depth + 1 :] = [above[depth] + name]
        drawn.add(above[-1])
        assert (ROOT / above[-1]).exists(), above[-1]
    rooms = {f"{path.parent.relative_to(ROOT)}/" for path in (ROOT / "tui_params").rglob("__init__.py")}
    assert rooms - drawn == set()


def test_the_files_and_recipes_that_it_names_are_there() -> None:
    words = "\n".join(re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL).splitlines())
    paths = re.findall(r"`([\w./]+(?:/|\.(?:py|toml|html|json)))`", words)
    assert len(paths) > 5
    homes = (ROOT, ROOT / "tui_params", ROOT / "tests")
    missing = {path for path in paths if not any((home / path).exists() for home in homes)}
    assert missing <= {"snapshot_report.html"}  # written where a snapshot differs
    recipes = re.findall(r"^(\w+)(?: [^:]*)?:$", (ROOT / "justfile").read_text(encoding="utf-8"), re.MULTILINE)
    named = set(re.findall(r"`just (\w+)", TEXT))
    assert named <= set(recipes)
    assert {"check", "test", "fuzz", "snapshots", "bench", "ci"} <= named
