"""What Keras 3 saves: .keras, .weights.h5 and the older .h5, of several types. Every value is that of Keras."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tui_params.api.checking import check
from tui_params.sources.detect import open_path

pytestmark = pytest.mark.formats


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ["KERAS_BACKEND"] = "torch"
    return pytest.importorskip("keras")


def trained(keras: Any) -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="first"), layers.BatchNormalization(), layers.Dense(2, name="head")]
    )
    model.compile("adam", "mse")
    model.fit(np.random.default_rng(0).normal(size=(8, 4)), np.ones((8, 2)), verbose=0)
    return model


def read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with open_path(path) as source:
        report = check(source)
        assert report.unchecked == ()
        assert {finding.severity for finding in report.findings} <= {"info"}
        return {info.name: source.read(info.name) for info in source.listing.tensors}


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5"])
def test_every_weight_is_that_of_keras(keras: Any, tmp_path: Path, name: str) -> None:
    model = trained(keras)
    if name.endswith(".weights.h5"):
        model.save_weights(tmp_path / name)
    else:
        model.save(tmp_path / name)
    found = read(tmp_path / name)
    left = list(found.values())
    for weight in model.weights:
        expected = keras.ops.convert_to_numpy(weight.value)
        at = next(at for at, value in enumerate(left) if value.shape == expected.shape and (value == expected).all())
        del left[at]


@pytest.mark.parametrize("kind", ["bfloat16", "int4", "int8"])
def test_other_types_are_as_they_are_stored(keras: Any, tmp_path: Path, kind: str) -> None:
    dtype = "bfloat16" if kind == "bfloat16" else "float32"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype=dtype)])
    if dtype == "float32":
        model.quantize(kind)
    model.save_weights(tmp_path / "m.weights.h5")
    with open_path(tmp_path / "m.weights.h5") as source:
        kernel = source.find("layers.dense.vars.0")
        assert kernel.dtype.name == ("bfloat16" if kind == "bfloat16" else "int8")
        assert kernel.shape == ((4, 2) if kind == "int4" else (4, 3))
        assert check(source).unchecked == ()


def test_weights_in_several_files_are_one_model(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((64,)), *(keras.layers.Dense(64) for _ in range(6))])
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=40e-6)
    assert len(list(tmp_path.glob("m_*.weights.h5"))) > 1
    assert read(tmp_path / "m.weights.json").keys() == read(tmp_path).keys()
    assert len(read(tmp_path)) == len(model.weights)
