"""The demo checkpoint: a true safetensors container, complete, with the faults that it says it has."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors import safe_open

from tui_params import demo
from tui_params.api.opening import open_source
from tui_params.errors import OpenError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.make_demo(tmp_path_factory.mktemp("demo"))


def index_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((folder / "model.safetensors.index.json").read_bytes())
    return found


def value_of(name: str) -> np.ndarray:
    return demo.values_of(next(tensor for tensor in demo.plan() if tensor.name == name))


def test_the_safetensors_library_reads_every_shard(folder: Path) -> None:
    index = index_of(folder)
    shapes = {}
    for shard in sorted(set(index["weight_map"].values())):
        with safe_open(folder / shard, framework="np") as file:
            names = file.keys()
            for name in names:
                assert index["weight_map"][name] == shard
                shapes[name] = (file.get_slice(name).get_dtype(), tuple(file.get_slice(name).get_shape()))
    assert shapes == {tensor.name: (tensor.code, tensor.shape) for tensor in demo.plan()}
    assert set(index["weight_map"]) == set(shapes)
    assert 280 <= len(shapes) <= 320
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in demo.plan())
    assert sum(path.stat().st_size for path in folder.iterdir()) < 120_000_000


def test_the_library_reads_the_values_that_were_meant(folder: Path) -> None:
    shards = index_of(folder)["weight_map"]
    for name in ("model.norm.weight", demo.NAN_NORM, "model.position_ids", "model.causal_mask"):
        with safe_open(folder / shards[name], framework="np") as file:
            np.testing.assert_array_equal(file.get_tensor(name), value_of(name))


def test_tie_and_readme_stand_in_the_metadata(folder: Path) -> None:
    with safe_open(folder / "model-00001-of-00003.safetensors", framework="np") as file:
        metadata, names = file.metadata(), file.keys()
    assert demo.EMBEDDING in names
    assert metadata == {"format": "pt", "lm_head.weight": demo.EMBEDDING, "readme": demo.README}
    assert msgspec.json.decode((folder / "config.json").read_bytes())["tie_word_embeddings"] is True


def test_faults_are_as_the_readme_says() -> None:
    says = dict(re.findall(r"^(model\.\S+): (.*)$", demo.README, re.MULTILINE))
    assert len(says) == 6
    k_proj = value_of(demo.NAN_MATRIX).astype(np.float32)
    assert says[demo.NAN_MATRIX] == f"{np.isnan(k_proj).sum()} NaN"
    norm = value_of(demo.NAN_NORM)
    assert norm.dtype == np.float32
    assert says[demo.NAN_NORM] == f"{np.isnan(norm).sum()} NaN"
    o_proj = value_of(demo.INF_MATRIX).astype(np.float32)
    assert says[demo.INF_MATRIX] == f"{np.isposinf(o_proj).sum()} +Inf"
    assert not value_of(demo.ZERO_MATRIX).astype(np.float32).any()
    rows = np.asarray(value_of(demo.EMBEDDING).astype(np.float32).any(axis=1))
    assert f"last {(~rows).sum()} rows" in says[demo.EMBEDDING]
    assert not rows[-demo.DEAD_ROWS :].any()
    channels = value_of(demo.OUTLIER_MATRIX).astype(np.float32).std(axis=0)
    assert channels.argmax() == demo.OUTLIER_CHANNEL
    assert channels.max() > 30 * np.median(channels)


def test_all_else_is_healthy_and_realistic() -> None:
    planted = {demo.NAN_MATRIX, demo.NAN_NORM, demo.INF_MATRIX, demo.ZERO_MATRIX, demo.EMBEDDING, demo.OUTLIER_MATRIX}
    for tensor in demo.plan():
        if tensor.name in planted:
            continue
        values = demo.values_of(tensor).astype(np.float32)
        assert values.shape == tensor.shape
        assert np.isfinite(values).all(), tensor.name
        if tensor.recipe in ("normal", "heavy"):
            assert 0.9 * tensor.std < values.std() < 1.1 * tensor.std
        elif tensor.recipe == "norm":
            assert 0.9 < values.mean() < 1.1


def test_scales_undo_the_quantisation() -> None:
    weight, scale = (value_of(f"model.layers.9.mlp.down_proj.{part}") for part in ("weight", "weight_scale_inv"))
    values = weight.astype(np.float32)
    blocks = np.abs(values).reshape(scale.shape[0], demo.BLOCK, scale.shape[1], demo.BLOCK).max(axis=(1, 3))
    assert (blocks == 448).all()
    restored = values * np.repeat(np.repeat(scale, demo.BLOCK, 0), demo.BLOCK, 1)
    std = next(t.std for t in demo.plan() if t.name == "model.layers.9.mlp.down_proj.weight")
    assert 0.95 * std < restored.std() < 1.05 * std


def test_what_is_there_is_not_written_again(folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert demo.make_demo(folder) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_progress_is_told_of_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [tensor for tensor in demo.plan() if tensor.nbytes < 1 << 17]
    monkeypatch.setattr(demo, "plan", lambda: iter(few))
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    demo.make_demo(tmp_path, tell)
    whole = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert told == sorted(told)
    assert len(told) > len(few)
    assert (told[0], told[-1]) == ((0, whole), (whole, whole))
    told.clear()
    demo.make_demo(tmp_path, tell)
    assert told == []
    shard = tmp_path / "model-00002-of-00003.safetensors"
    size = shard.stat().st_size
    os.truncate(shard, size // 2)
    demo.make_demo(tmp_path, tell)
    assert (told[0], told[-1]) == ((0, size), (size, size))


def test_a_write_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.make_demo(tmp_path, stop)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_damaged_demo_is_mended(tmp_path: Path) -> None:
    demo.make_demo(tmp_path)
    shard = tmp_path / "model-00002-of-00003.safetensors"
    whole = shard.stat().st_size
    os.truncate(shard, whole // 2)
    (tmp_path / "config.json").unlink()
    demo.make_demo(tmp_path)
    assert shard.stat().st_size == whole
    assert (tmp_path / "config.json").exists()


def test_two_at_once_leave_one_whole_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [tensor for tensor in demo.plan() if tensor.nbytes < 1 << 17]
    monkeypatch.setattr(demo, "plan", lambda: iter(few))
    writers = [threading.Thread(target=demo.make_demo, args=(tmp_path,)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        *(f"model-{number:05d}-of-00003.safetensors" for number in (1, 2, 3)),
        "model.safetensors.index.json",
    ]
    assert all(demo._is_written(tmp_path / name, content) for name, content in demo._files())


def test_the_default_folder_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = demo._default_folder().parent
    assert own.parent == tmp_path
    assert own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o755)
    with pytest.raises(OpenError, match="belongs to you alone"):
        demo._default_folder()
    own.rmdir()
    own.symlink_to(tmp_path)
    with pytest.raises(OpenError, match="belongs to you alone"):
        demo.make_demo()


def test_a_folder_that_cannot_be_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OpenError, match=r"the demo cannot be written to .*file/demo: Not a directory"):
        demo.make_demo(tmp_path / "file" / "demo")


def test_it_opens_whole_and_with_the_tie(folder: Path) -> None:
    with open_source(folder) as source:
        assert source.listing.findings == ()
        assert all(info.unreadable is None for info in source.listing.tensors)
        assert source.find("lm_head.weight").tied_to == demo.EMBEDDING
        assert len(source.listing.tensors) == len(list(demo.plan())) + 1
        assert source.summarize(demo.NAN_MATRIX).figures(96 * 384).nan == 3
