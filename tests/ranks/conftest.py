"""The planted checkpoint that several processes read: a folder of shards, one tensor of which is cut."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.factories_faults import SMALL, plan, write_faulty
from tests.factories_safetensors import entry, file_bytes, write_index


@pytest.fixture(scope="session")
def planted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards: the file of faults, and a second with a tensor of 18 MB and two that are equal."""
    folder = tmp_path_factory.mktemp("planted")
    return write_planted(folder)


def write_planted(folder: Path) -> Path:
    """Write the planted checkpoint into a folder."""
    write_faulty(folder / "model-1.safetensors", SMALL)
    draw = np.random.default_rng(1)
    large = draw.standard_normal((4608, 1024)).astype(np.float32)
    large[4000] = 0
    large[:, 9] = 0
    large[3, 4] = np.nan
    equal = draw.standard_normal((64, 64))
    header = {
        "large.weight": entry("F32", large.shape, 0),
        "one.weight": entry("F64", equal.shape, large.nbytes),
        "two.weight": entry("F64", equal.shape, large.nbytes + equal.nbytes),
    }
    data = large.tobytes() + equal.tobytes() * 2
    (folder / "model-2.safetensors").write_bytes(file_bytes(header, data))
    names = {planned.name: "model-1.safetensors" for planned in plan(SMALL)}
    write_index(folder, names | dict.fromkeys(header, "model-2.safetensors"))
    (folder / "config.json").write_text(json.dumps({"model_type": "planted"}))
    return folder
