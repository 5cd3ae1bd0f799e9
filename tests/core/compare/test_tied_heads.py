"""A head that one side stores as a copy of its embeddings, and that the other makes of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tui_params import compare
from tui_params.core.compare.structure import Implied

EMBEDDING = "model.decoder.embed_tokens.weight"
TIED = {"model_type": "opt", "tie_word_embeddings": True}


def weights(dtype: Any = np.float32) -> dict[str, Any]:
    table = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float16).astype(dtype)
    return {EMBEDDING: table, "model.norm.weight": np.ones(4, dtype)}


def write(folder: Path, arrays: dict[str, Any], config: dict[str, Any]) -> Path:
    folder.mkdir()
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_copy_of_the_embeddings_is_no_difference_where_config_json_ties_both(tmp_path: Path) -> None:
    half = weights(np.float16)
    copy = write(tmp_path / "half", half | {"lm_head.weight": half[EMBEDDING].copy()}, {})
    tied = write(tmp_path / "whole", weights(), TIED)
    found = compare(copy, tied, ignore_dtype=True)
    reason = f"equal to {EMBEDDING}, which takes its place in B: config.json says tie_word_embeddings true"
    assert (found.state, found.only_in_a, found.implied) == ("same", (), (Implied("lm_head.weight", "a", reason),))
    found = compare(tied, copy, ignore_dtype=True)
    assert (found.state, found.only_in_b) == ("same", ())
    assert found.implied == (Implied("lm_head.weight", "b", reason.replace("in B", "in A")),)


@pytest.mark.parametrize("config", [{}, TIED | {"tie_word_embeddings": False}])
def test_without_the_word_of_config_json_a_copy_is_a_difference(tmp_path: Path, config: dict[str, Any]) -> None:
    arrays = weights()
    copy = write(tmp_path / "a", arrays | {"lm_head.weight": arrays[EMBEDDING].copy()}, {})
    assert compare(copy, write(tmp_path / "b", arrays, config)).only_in_a == ("lm_head.weight",)


def test_a_head_of_its_own_is_a_difference(tmp_path: Path) -> None:
    arrays = weights()
    other = arrays[EMBEDDING].copy()
    other[7, 2] += 1
    tied = write(tmp_path / "b", arrays, TIED)
    for number, head in enumerate((other, other.astype(np.float16), other[:8])):
        own = write(tmp_path / f"a{number}", arrays | {"lm_head.weight": head}, {})
        assert compare(own, tied).only_in_a == ("lm_head.weight",)
