"""Markdown for a pull request: every table is whole, and no name has a meaning."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import tui_params
from tests.factories_memory import MemorySource
from tests.reports.sources import hostile_file, pair, run_folder
from tui_params.reports.markdown import code, prose


def tables(text: str) -> list[list[int]]:
    """The number of cells of each row, table by table."""
    found: list[list[int]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append(len(re.findall(r"(?<!\\)\|", line)) - 1)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def test_two_sources(tmp_path: Path) -> None:
    text = tui_params.report(*pair(tmp_path), format="md")
    assert (
        "**different**: 3 of 17 common tensors changed, 1 in type (0 of them also in value), 14 bit-identical." in text
    )
    assert "Only in B (1): `new`" in text
    assert "| error | `model.layers.1.up.weight` | nan: 1 of 64 values is NaN; at \\[2, 3\\] |" in text
    assert len(tables(text)) == 4
    assert all(len(set(table)) == 1 for table in tables(text))


def test_elements_of_packed_weights_are_no_parameters() -> None:
    codes, scales = np.ones((4, 8), np.uint8), np.linspace(1, 2, 4, dtype=np.float32)
    source = MemorySource({"fc.weight": codes, "fc.weight_scale": scales})
    assert "2 tensors, 36 stored elements, 48 B" in tui_params.report(source, format="md")
    assert "<dt>Stored elements</dt>" in tui_params.report(source)
    assert "<dt>Parameters</dt>" in tui_params.report(MemorySource({"fc.weight": scales}))


def test_a_run(tmp_path: Path) -> None:
    text = tui_params.report(run_folder(tmp_path / "run"), format="md")
    assert "**NaN or infinities first at step 900**, in 1 of 18 tensors: model.layers.1.up.weight" in text
    assert "Jumps: step 500: model.layers.1.up.weight" in text
    assert "Frozen since: step 300: head" in text
    assert "| **not read** | why |" in text


def test_names_and_sentences_have_no_meaning(tmp_path: Path) -> None:
    text = tui_params.report(hostile_file(tmp_path / "x.pt"), format="md")
    assert all(len(set(table)) == 1 for table in tables(text))
    # Outside code nothing is markup; what is left are the elements that fold the kinds away.
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    assert re.findall(r"(?<!\\)<[^>]*>", outside) == ["<details>", "<summary>", "</summary>", "</details>"]
    assert not re.search(r"@\w", outside)
    assert code("a|b") == "`a\\x7cb`"
    assert code("`two``") == "``` `two`` ```"
    assert code("") == "`(empty name)`"
    assert prose("see @octocat, a@ b | c") == "see `@`octocat, a@ b \\| c"


def test_other_formats_and_thresholds_are_refused() -> None:
    with pytest.raises(ValueError, match="html or md, not 'pdf'"):
        tui_params.report({}, format="pdf")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nonsense"):
        tui_params.report({}, thresholds={"nonsense": 1.0})
