"""The worked examples of CONTRIBUTING.md: read from its text, and applied to a copy of the repository as it says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).parent.parent
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"

FORMAT, RULE, SCREEN = "A container format", "A health rule", "A screen"

_SECTION = re.compile(r"^### (.+)\n((?:(?!^##).*\n)*)", re.MULTILINE)
_FILE = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DIFF = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(msgspec.Struct, frozen=True):
    """One worked example: the new files by path, and what is replaced by what in files that are there."""

    title: str
    lines: int
    files: dict[str, str]
    edits: tuple[tuple[str, str, str], ...]

    @property
    def tests(self) -> list[str]:
        """What pytest is to be given to run the tests of the example."""
        added = [
            f"{path}::{name}"
            for path, old, new in self.edits
            for name in re.findall(r"^(?:async )?def (test_\w+)", new, re.MULTILINE)
            if f"def {name}(" not in old
        ]
        return [*(path for path in self.files if path.startswith("tests/")), *added]


def read_examples(text: str) -> dict[str, Example]:
    """The sections of third rank that have such blocks, by title.

    A ``python`` block is a new file; its first line is a comment with the path. In a ``diff`` block each ``@@`` names
    a file: of the lines below it those with a space or ``-`` are there, those with a space or ``+`` take their place.
    """
    examples = {}
    for title, body in _SECTION.findall(text):
        files = dict(_FILE.findall(body))
        edits = tuple(edit for block in _DIFF.findall(body) for edit in _edits(block))
        if files or edits:
            examples[title] = Example(title, 1 + body.rstrip().count("\n") + 1, files, edits)
    return examples


def _edits(block: str) -> Iterator[tuple[str, str, str]]:
    for hunk in block.split("@@ ")[1:]:
        path, *lines = hunk.splitlines()
        assert all(line[:1] in (" ", "-", "+") for line in lines), path
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[0] != other) for other in "+-")
        yield path, old, new


EXAMPLES = read_examples(CONTRIBUTING.read_text(encoding="utf-8"))


def copy_package(folder: Path) -> None:
    """Copy the package to ``folder``, with its compiled files: they stay valid, for the times are copied too."""
    shutil.copytree(ROOT / "tui_params", folder / "tui_params")


def copy_tests(folder: Path) -> None:
    """Copy what else the tests need, but for the pictures that the scenes are compared with."""
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__snapshots__"))
    shutil.copy2(ROOT / "pyproject.toml", folder)


def apply(example: Example, folder: Path) -> None:
    """Do what the example says in a copy. What it says about ``tests/`` is left out where these were not copied."""
    for name, text in example.files.items():
        path = folder / name
        if path.parent.is_dir():
            assert not path.exists(), name
            path.write_text(text, encoding="utf-8")
    for name, old, new in example.edits:
        path = folder / name
        if path.parent.is_dir():
            replace(path, old, new)


def replace(path: Path, old: str, new: str) -> None:
    """Replace whole lines of a file that are in it once."""
    text = path.read_text(encoding="utf-8")
    found = [match.start() for match in re.finditer(f"^{re.escape(old)}", text, re.MULTILINE)]
    assert len(found) == 1, f"{path.name} has {len(found)} times:\n{old}"
    path.write_text(text[: found[0]] + new + text[found[0] + len(old) :], encoding="utf-8")
