"""The registry: a new rule is its own file and at most one row, and none comes in without its documentation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.contributing import EXAMPLES, RULE, apply, copy_package
from tui_params.core.health.container import CONTAINER_RULES
from tui_params.core.health.live import LIVE_RULES
from tui_params.core.health.registry import RULES, collect
from tui_params.core.health.rule import Rule
from tui_params.core.health.values import check_nan, seek_nan

# What a developer writes into a file that is there: a rule about one tensor, and a cross-check.
ADDED = """    Rule(
        "seen",
        "Seen",
        ("info",),
        "It is said of every tensor.",
        "a test",
        ("mostly_zero",),
        check=lambda subject: (subject.finding("info", "seen", "it was looked at"),),
        seek=lambda finding, info, thresholds: Sought("below", 1.5),
    ),
    Rule(
        "lonely",
        "Lonely",
        ("info",),
        "There is no other tensor.",
        "a test",
        cross_check=lambda checkpoint: [
            sketch.finding("info", "lonely", "it is the only tensor")
            for sketch in checkpoint.sketches
            if len(checkpoint.infos) == 1
        ],
    ),
)
"""


MEANING = "A weight matrix has values of both signs. One without may be a mask, or magnitudes."


class Copy:
    """A copy of the package to which a developer adds rules."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        copy_package(folder)
        self.health = folder / "tui_params" / "core" / "health"

    def add_family(self, old: str = "", new: str = "") -> None:
        """The family of CONTRIBUTING.md, a file and a row; in the file ``old`` is replaced by ``new``."""
        apply(EXAMPLES[RULE], self.folder)
        if old:
            path = self.health / "signs.py"
            text = path.read_text(encoding="utf-8")
            assert text.count(old) == 1
            path.write_text(text.replace(old, new), encoding="utf-8")

    def add_to_values(self) -> None:
        """A rule in a family that is there: its own file alone."""
        path = self.health / "values.py"
        text = path.read_text(encoding="utf-8")
        assert text.endswith("    ),\n)\n")
        path.write_text(text.removesuffix(")\n") + ADDED, encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``tui-params`` as it is in the copy."""
        return subprocess.run(
            [sys.executable, "-m", "tui_params", *arguments],
            cwd=self.folder,
            env=os.environ | {"TUI_PARAMS_CACHE": "off"},
            capture_output=True,
            text=True,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)


def test_a_new_rule_is_listed_explained_and_applied(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.add_family()
    copy.add_to_values()
    listed = copy.run("check", "--rules").stdout
    for words in ("  one-sided ", MEANING, "  lonely ", "  seen ", "mostly-zero 0.8"):
        assert words in listed
    tensors, _, containers = listed.partition("\nContainers\n")
    assert "one-sided" in tensors
    assert "one-sided" not in containers
    by_id = {rule["id"]: rule for rule in copy.json("check", "--rules")["rules"]}
    assert by_id["one-sided"] == {
        "id": "one-sided",
        "title": "One-sided",
        "severities": ["info"],
        "meaning": MEANING,
        "source": "torch.nn.init: every random start of a matrix has both signs",
        "thresholds": {},
    }
    assert by_id["seen"]["thresholds"] == {"mostly-zero": 0.8}
    assert set(by_id) == {rule.id for rule in RULES} | {"one-sided", "lonely", "seen"}
    save_file({"layers.0.fc.weight": np.arange(1, 65, dtype=np.float32).reshape(8, 8)}, tmp_path / "x.safetensors")
    found = copy.json("check", "x.safetensors")["findings"]
    assert found[0]["indices"] == [[0, 0]]
    assert [(finding["rule"], finding["tensor"], finding["evidence"]) for finding in found] == [
        ("seen", "layers.0.fc.weight", "it was looked at"),
        ("one-sided", "layers.0.fc.weight", "the smallest of 64 values is 1"),
        ("lonely", "layers.0.fc.weight", "it is the only tensor"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"one-sided",\n', '"nan",\n', "there are two rules 'nan': 'NaN' and 'One-sided'"),
        (f'"{MEANING}"', '""', "the rule 'one-sided' has no meaning"),
    ],
)
def test_a_planted_fault_fails_at_once(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    copy = Copy(tmp_path)
    copy.add_family(old, new)
    ran = copy.run("check", "--rules")
    assert (ran.returncode == 0, ran.stdout) == (False, "")
    assert sentence in ran.stderr


GOOD = Rule("good", "Good", ("error", "info"), "It is good.", "a paper", ("dead_share",), check_nan, seek=seek_nan)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"id": ""}, "must have an id of small letters"),
        ({"id": "Good Rule"}, "must have an id of small letters"),
        ({"id": "good--rule"}, "must have an id of small letters"),
        ({"title": " "}, "has no title"),
        ({"meaning": ""}, "has no meaning"),
        ({"meaning": "It is good"}, "must explain its meaning in a whole sentence"),
        ({"source": ""}, "has no source"),
        ({"severities": ()}, "must list each severity"),
        ({"severities": ("info", "error")}, "the worst first"),
        ({"severities": ("info", "info")}, "must list each severity"),
        (
            {"thresholds": ("dead_share", "speed")},
            "compares with 'speed', which is no threshold",
        ),
        ({"check": None, "seek": None}, "has 0 of check, cross_check and gather; it needs one"),
        ({"cross_check": lambda checkpoint: ()}, "has 2 of check, cross_check and gather; it needs one"),
        ({"check": None, "cross_check": lambda checkpoint: ()}, "has seek without check"),
    ],
)
def test_a_rule_that_is_not_whole_is_refused(changes: dict[str, Any], sentence: str) -> None:
    assert collect([[GOOD]]) == (GOOD,)
    with pytest.raises(ValueError, match=r"^the rule '.*' ") as caught:
        collect([[GOOD], [msgspec.structs.replace(GOOD, **changes)]])
    assert sentence in str(caught.value)


def test_an_id_stands_for_one_rule() -> None:
    other = msgspec.structs.replace(GOOD, title="Better")
    with pytest.raises(ValueError, match="there are two rules 'good': 'Good' and 'Better'"):
        collect([[GOOD], [other]])
    of_reader = msgspec.structs.replace(CONTAINER_RULES[0], id="good")
    with pytest.raises(ValueError, match="there are two rules 'good'"):
        collect([[GOOD]], of_readers=[of_reader])


def test_rules_of_readers_apply_themselves() -> None:
    of_readers = (*CONTAINER_RULES, *LIVE_RULES)
    assert {rule.scope for rule in of_readers} == {"container"}
    assert {rule.scope for rule in RULES[: -len(of_readers)]} == {"tensor", "checkpoint"}
    with pytest.raises(ValueError, match="has 1 of check, cross_check and gather; it needs none"):
        collect([], of_readers=[GOOD])
