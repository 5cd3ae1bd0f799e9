"""Listings that are kept: what comes back is what was listed, for the same state of the disk and no other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_safetensors import entry, file_bytes, small_file, write_index
from tui_params import open_source
from tui_params.cache import listings
from tui_params.cache.folder import CacheFolder
from tui_params.cache.listings import KeptListing, pack, unpack
from tui_params.core.source import Source
from tui_params.core.tree.tree import Tree


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CacheFolder:
    """The files of a test were written a moment ago."""
    monkeypatch.setattr(listings, "SETTLED_NS", -(10**12))
    return CacheFolder(tmp_path / "kept", 1 << 20, 10)


def _write_file(folder: Path) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(small_file(("z.2.w", "a.b", "z.10.w")))
    (folder / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 2}')
    return path


def _write_folder(folder: Path) -> Path:
    _write_file(folder)
    (folder / "model.safetensors").rename(folder / "model-00002-of-00002.safetensors")
    other = folder / "model-00001-of-00002.safetensors"
    other.write_bytes(file_bytes({"m.0.w": entry("F32", (2,), 0), "m.1.w": entry("F16", (1, 2), 8)}, bytes(12)))
    names = dict.fromkeys(("z.2.w", "a.b", "z.10.w"), "model-00002-of-00002.safetensors")
    write_index(folder, names | dict.fromkeys(("m.0.w", "m.1.w"), other.name), total_size=61)
    (folder / "original").mkdir()
    (folder / "original" / "consolidated.pth").write_bytes(b"x")
    return folder


WRITERS = [_write_file, _write_folder]


def _packed(path: Path) -> tuple[Source, Tree, bytes]:
    source = open_source(path)
    tree = Tree(source.listing)
    data = pack(source, tree)
    assert data is not None
    return source, tree, data


@pytest.mark.parametrize("write", WRITERS)
def test_what_was_packed_comes_back(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    source, tree, data = _packed(path)
    found = unpack(data, path)
    assert found is not None
    again, other = found
    assert (type(again), again.label) == (type(source), source.label)
    assert [other.leaves[at] for at in range(len(other.leaves))] == list(tree.leaves)  # one by one
    assert again.listing == source.listing  # all at once
    assert list(other.leaves) == list(tree.leaves)
    assert [other.name(node) for node in range(len(other))] == [tree.name(node) for node in range(len(tree))]
    assert [other.totals(node) for node in range(len(other))] == [tree.totals(node) for node in range(len(tree))]
    for info in source.listing.tensors:
        assert again.find(info.name) == info
        assert again.read(info.name).tolist() == source.read(info.name).tolist()
        assert again.file_range(info) == source.file_range(info)
    assert again.stored_files() == source.stored_files()
    assert again.changed() is None
    # What is read is compared with the file that was listed.
    shard = path if path.is_file() else path / "model-00002-of-00002.safetensors"
    os.utime(shard, ns=(0, 0))
    assert "was written to" in (again.changed() or "")


@pytest.mark.parametrize("fault", ["npy", "cut", "stray", "lost", "sorted"])
def test_what_is_no_columns_alone_is_not_packed(fault: str, tmp_path: Path) -> None:
    folder = _write_folder(tmp_path)
    shard = folder / "model-00001-of-00002.safetensors"
    path = folder
    if fault == "cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif fault == "stray":
        write_index(folder, {"m.0.w": shard.name})
    elif fault == "lost":
        shard.unlink()
    elif fault == "npy":
        path = shard.with_suffix(".npy")
        np.save(path, np.zeros(3))
    source = open_source(path)
    tree = Tree(source.listing)
    if fault == "sorted":
        tree = Tree(open_source(path).listing)  # that of another opening
    assert pack(source, tree) is None


@given(st.binary(max_size=40))
def test_anything_else_is_no_listing(data: bytes) -> None:
    assert unpack(data, Path("x")) is None


def test_a_listing_cut_short_is_none(tmp_path: Path) -> None:
    path = _write_file(tmp_path)
    _, _, data = _packed(path)
    assert all(unpack(data[:end], path) is None for end in range(len(data)))


@pytest.mark.parametrize(
    "field", ["rows", "offsets", "label_of", "parent", "end", "first", "order", "groups", "numel", "nbytes", "dtype"]
)
def test_arrays_that_do_not_fit_together_are_no_listing(field: str, tmp_path: Path) -> None:
    path = _write_folder(tmp_path)
    _, _, data = _packed(path)
    changes: list[Callable[[bytes], bytes]] = [
        lambda value: value[:-1],
        lambda value: value[:-8],
        lambda value: value + bytes(8),
    ]
    for change in changes:
        packed = msgspec.msgpack.decode(data, type=listings._Packed)
        replace = msgspec.structs.replace
        group = packed.groups[0]
        if field == "groups":
            assert group.positions is not None
            packed = replace(packed, groups=[replace(group, positions=change(group.positions))])
        elif field in ("numel", "nbytes"):
            packed = replace(packed, groups=[replace(group, **{field: change(getattr(group, field))})])
        elif field == "dtype":
            packed = replace(packed, forms=[replace(packed.forms[0], dtype="float7"), *packed.forms[1:]])
        else:
            packed = replace(packed, **{field: change(getattr(packed, field) or bytes(4 * 8))})
        assert unpack(msgspec.msgpack.encode(packed), path) is None


@pytest.mark.parametrize("write", WRITERS)
def test_a_listing_is_kept_until_anything_changes(
    write: Callable[[Path], Path], tmp_path: Path, store: CacheFolder
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = write(folder)
    _, _, data = _packed(path)
    assert KeptListing(store, path).read() is None
    KeptListing(store, path).write(data)
    assert KeptListing(store, path).read() == data
    assert store.usage().files == 1

    def touch() -> None:
        os.utime(folder / "config.json", ns=(5, 5))

    def rewrite() -> None:  # as long as before, and dated back
        before = (folder / "config.json").stat()
        (folder / "config.json").write_text((folder / "config.json").read_text().replace("llama", "gemma"))
        os.utime(folder / "config.json", ns=(before.st_atime_ns, before.st_mtime_ns))

    def add() -> None:
        (folder / "adapter_config.json").write_text("{}")

    def remove() -> None:
        (folder / "adapter_config.json").unlink()

    def change_a_subfolder() -> None:
        (folder / "more").mkdir()

    for change in (touch, rewrite, add, remove, change_a_subfolder):
        stale = KeptListing(store, path)
        change()
        assert KeptListing(store, path).read() is None, change.__name__
        stale.write(data)  # it was listed before the change
        assert KeptListing(store, path).read() is None, change.__name__
        KeptListing(store, path).write(data)
        assert KeptListing(store, path).read() == data


def test_a_damaged_file_of_the_cache_and_one_of_another_version_are_none(
    tmp_path: Path, store: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = _write_file(folder)
    _, _, data = _packed(path)
    KeptListing(store, path).write(data)
    (kept,) = store.path.iterdir()
    whole = kept.read_bytes()
    for at in (0, 9, 15, len(whole) - 1):
        kept.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert KeptListing(store, path).read() is None
    for cut in (b"", whole[:20], whole[:-1]):
        kept.write_bytes(cut)
        assert KeptListing(store, path).read() is None
    kept.write_bytes(whole)
    assert KeptListing(store, path).read() == data
    monkeypatch.setattr(listings, "ROOMS", listings.ROOMS[1:])  # as if other code had made it
    assert KeptListing(store, path).read() is None


def test_what_may_change_unseen_or_is_too_much_is_not_kept(
    tmp_path: Path, store: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = _write_file(folder)
    _, _, data = _packed(path)
    for name, value in (("SETTLED_NS", 10**15), ("MAX_BYTES", len(data) - 1), ("MAX_ENTRIES", 1)):
        with monkeypatch.context() as patched:
            patched.setattr(listings, name, value)
            KeptListing(store, path).write(data)
        assert store.usage().files == 0, name
    (folder / "leads nowhere").symlink_to("nothing")
    KeptListing(store, path).write(data)
    assert store.usage().files == 0
    assert json.loads((folder / "config.json").read_text())["model_type"] == "llama"
