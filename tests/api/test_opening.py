from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.factories_safetensors import small_file
from tui_params.api.opening import open_source
from tui_params.errors import OpenError


def test_paths_modules_mappings_and_sources(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(small_file())
    for path in (tmp_path / "x", str(tmp_path / "x")):
        source = open_source(path)
        assert source.label == "x"
        assert open_source(source) is source
    model = torch.nn.Linear(3, 2)
    np.testing.assert_array_equal(open_source(model).read("weight"), model.weight.detach().numpy())
    np.testing.assert_array_equal(open_source(model.state_dict()).read("bias"), model.bias.detach().numpy())
    with pytest.raises(OpenError, match="no such file"):
        open_source(tmp_path / "y")


@pytest.mark.parametrize("target", [3, None, [1], b"x", torch.zeros(2), torch.nn.Linear])
def test_anything_else_is_refused_with_a_sentence(target: object) -> None:
    with pytest.raises(TypeError, match=r"expected a path, a torch\.nn\.Module or a mapping of tensors, not "):
        open_source(target)
    with pytest.raises(TypeError, match=r"expected a path, a torch\.nn\.Module or a mapping of tensors, not "):
        open_source(target, optimizer=torch.optim.SGD([torch.zeros(1)]))


def test_the_states_of_an_optimizer_are_listed_beside_its_model() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    source = open_source(model, optimizer=optimizer)
    expected = optimizer.state[model.weight]["exp_avg"].numpy()
    np.testing.assert_array_equal(source.read("optimizer.weight.exp_avg"), expected)
    assert source.find("weight").shape == (2, 3)


def test_an_optimizer_beside_anything_but_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(small_file())
    optimizer = torch.optim.SGD([torch.zeros(1)])
    for target, kind in (
        (tmp_path / "x", "a path"),
        (str(tmp_path / "nowhere"), "a path"),
        ({"a": torch.zeros(1)}, "a mapping of tensors"),
        (open_source(tmp_path / "x"), "a source that is open already"),
    ):
        sentence = f"^optimizer= is for a torch.nn.Module only, and the target is {kind}$"
        with pytest.raises(TypeError, match=sentence):
            open_source(target, optimizer=optimizer)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (object(), "object"),
        ({"state": {}, "param_groups": []}, "dict"),
        ("adam", "str"),
        (torch.optim.Adam, "the class Adam"),
        (torch.nn.Linear(1, 1), "Linear"),
    ],
)
def test_an_optimizer_that_is_none_is_refused(given: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"^optimizer= expects a torch.optim.Optimizer, not {name}$"):
        open_source(torch.nn.Linear(3, 2), optimizer=given)
    with pytest.raises(TypeError, match="unexpected keyword argument 'optimiser'"):
        open_source(torch.nn.Linear(3, 2), optimiser=given)  # type: ignore[call-arg]


def test_opening_a_folder_and_listing_it_loads_neither_torch_nor_numpy(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(small_file())
    code = (
        "import sys; from tui_params.api.opening import open_source\n"
        "source = open_source(sys.argv[1]); assert len(source.listing.tensors) == 3; assert source.changed() is None\n"
        "print([name for name in ('torch', 'numpy', 'textual', 'rich', 'pickle') if name in sys.modules])"
    )
    for target in (tmp_path, tmp_path / "x.safetensors"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(target)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        assert done.stdout == "[]\n"
