"""HDF5 files as h5py writes them, and Keras archives around them."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest

from tui_params.errors import OpenError, ReadError
from tui_params.sources.detect import open_path
from tui_params.sources.hdf5 import reader
from tui_params.sources.hdf5.chunks import fletcher32

PACKED = {"compression": "gzip", "shuffle": True, "fletcher32": True}


def write(path: Path, user_block: int = 0) -> Path:
    """A dataset of every layout that h5py writes, and links of every kind."""
    numbers = np.random.default_rng(0)
    with h5py.File(path, "w", userblock_size=user_block) as file:
        file.attrs["keras_version"] = "3.15.1"
        file["a/plain"] = numbers.normal(size=(7, 5)).astype("f4")
        file["a/turned"] = np.arange(6, dtype=">f8")
        for name, dtype in (("bool", "?"), ("half", "f2"), ("complex", "c8"), ("int", "i8"), ("byte", "u1")):
            file[f"a/{name}"] = np.arange(5).astype(dtype)
        file["a/scalar"] = 3.5
        file["a/empty"] = np.zeros((0, 3))
        file["a/null"] = h5py.Empty("f4")
        file["a/text"] = "words"
        file["a/texts"] = ["one", "two"]
        file["a/records"] = np.zeros(2, [("x", "f4"), ("y", "i4")])
        bf16 = file.create_dataset("a/bf16", data=np.arange(4).astype(ml_dtypes.bfloat16))
        bf16.attrs["dtype"] = "bfloat16"
        file["a/void"] = np.arange(4).astype(ml_dtypes.bfloat16)
        file["b/chunks"] = numbers.normal(size=(3,))
        for name, options in (("stored", {}), ("packed", PACKED), ("shuffled", {"shuffle": True})):
            values = numbers.integers(0, 99, (11, 13, 3)).astype("i4")
            file.create_dataset(f"b/{name}", data=values, chunks=(4, 6, 2), **options)
        file.create_dataset("b/turned", data=np.arange(50, dtype=">i2"), chunks=(20,), **PACKED)
        file.create_dataset("b/lzf", data=np.arange(50), chunks=(20,), compression="lzf")
        part = file.create_dataset("b/part", (10, 10), "f4", chunks=(4, 4), fillvalue=7)
        part[0:4, 0:4] = 1
        file.create_dataset("b/never", (5,), "f4")
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_layout(h5py.h5d.COMPACT)
        compact = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), plan)
        compact.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(4, dtype="f4"))
        file.create_dataset("outside", (4,), "f4", external=[("elsewhere.bin", 0, 16)])
        virtual = h5py.VirtualLayout((7, 5), "f4")
        virtual[:] = h5py.VirtualSource(path.name, "a/plain", (7, 5))
        file.create_virtual_dataset("virtual", virtual)
        file["again"] = file["a/plain"]
        file["soft"] = h5py.SoftLink("/a/plain")
        file["far"] = h5py.ExternalLink("other.h5", "/x")
        file["a/loop"] = file["a"]
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("hdf5") / "all.h5")


def compare_with_h5py(path: Path, begin: int = 0) -> set[str]:
    """Compare every value that is read here with that of h5py; the names that were compared."""
    compared = set()
    with open_path(path) as source, path.open("rb") as raw:
        raw.seek(begin)
        with h5py.File(reader_of(raw.read()), "r") as file:
            for info in source.listing.tensors:
                if info.unreadable is not None:
                    continue
                expected = np.asarray(file[info.name.replace(".", "/")][()])
                if info.dtype.name == "bfloat16":
                    expected = expected.view(ml_dtypes.bfloat16)
                found = source.read(info.name)
                assert found.shape == expected.shape, info.name
                assert found.tobytes() == expected.astype(expected.dtype.newbyteorder("<")).tobytes(), info.name
                compared.add(info.name)
    return compared


def reader_of(raw: bytes) -> object:
    import io

    return io.BytesIO(raw)


def test_every_value_is_that_of_h5py(written: Path) -> None:
    compared = compare_with_h5py(written)
    assert {"a.plain", "a.turned", "a.bool", "a.complex", "a.scalar", "a.empty", "a.bf16", "compact"} <= compared
    assert {"b.stored", "b.packed", "b.shuffled", "b.turned", "b.part", "b.never", "again"} <= compared


def test_a_user_block_moves_everything_and_what_was_never_written_has_no_place(tmp_path: Path) -> None:
    path = write(tmp_path / "block.h5", user_block=1024)
    # h5py gives 1023 for the place of a dataset that has none.
    assert {"a.plain", "b.packed", "b.never", "a.empty"} <= compare_with_h5py(path)


def test_what_is_not_read_says_why_and_no_other_file_is_opened(written: Path) -> None:
    with open_path(written) as source:
        reasons = {info.name: info.unreadable for info in source.listing.tensors if info.unreadable is not None}
        unnamed = "two bytes each, of a type that the file does not name (bfloat16?)"
        assert reasons.pop("a.void") == f"elements of type V2 cannot be decoded here: {unnamed}"
        assert reasons.pop("a.records") == "an array of records (fields x, y): its values are not read"
        assert reasons.pop("b.lzf") == "its chunks are packed by the filter lzf, which is not read here"
        assert reasons.pop("outside") == "its values lie in another file, which is not opened"
        assert reasons.pop("virtual") == "it is a virtual dataset: its values lie in other datasets"
        assert reasons == {}
        texts = source.listing.metadata
        assert texts["keras_version"] == "3.15.1"
        assert texts["far"] == "a link to /x in the file other.h5, which is not opened"
        assert (texts["soft"], texts["a.text"]) == ("a link to /a/plain", "words")
        assert texts["a.loop"] == "the same group as a"
        assert source.find("again").tied_to == "a.plain"
        assert source.find("b.never").notes == ("never written: all elements have the fill value",)
        assert source.listing.findings == ()
        assert not (written.parent / "elsewhere.bin").exists()


def test_a_window_of_a_chunked_dataset(written: Path) -> None:
    with open_path(written) as source, h5py.File(written) as file:
        assert source.read("b.packed", "2:9, 5:13:2, 1").tolist() == file["b/packed"][2:9, 5:13:2, 1].tolist()


def test_a_keras_archive_is_its_weights(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones((4, 3), "f4")
        file["layers/dense/vars"].attrs["name"] = "my_dense"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.write(tmp_path / "w.h5", "model.weights.h5")
    with open_path(path) as source:
        (info,) = source.listing.tensors
        assert (source.listing.format, info.name) == ("Keras", "layers.dense.vars.0")
        assert info.notes == ("of the Keras layer my_dense",)
        assert source.read(info.name).sum() == 12
        assert source.listing.metadata["metadata.json"] == '{"keras_version": "3.15.1"}'
    renamed = path.rename(tmp_path / "m.zip")
    assert compare_with_h5py_is_keras(renamed)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "w.h5", "model.weights.h5")
    with pytest.raises(OpenError, match=r"model.weights.h5 in m.keras is compressed or encrypted"):
        open_path(path)


def compare_with_h5py_is_keras(path: Path) -> bool:
    with open_path(path) as source:
        return source.listing.format == "Keras"


def test_damage_inside_a_chunk_is_told_and_the_rest_is_shown(written: Path, tmp_path: Path) -> None:
    raw = bytearray(written.read_bytes())
    with h5py.File(written) as file:
        for name in ("b/packed", "b/turned"):
            chunk = file[name].id.get_chunk_info(0)
            raw[chunk.byte_offset + chunk.size - 6] ^= 1
    path = tmp_path / "damaged.h5"
    path.write_bytes(raw)
    with open_path(path) as source:
        for name in ("b.packed", "b.turned"):
            with pytest.raises(ReadError, match="the file is damaged"):
                source.read(name)
        assert source.read("b.shuffled").shape == (11, 13, 3)


def test_texts_of_other_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("s", (1,), "S6", data=[b"secret"])
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("own", (1,), "S6", data=[b"shown!"])
        file.create_dataset("raw", (1,), "S6", external=[(str(tmp_path / "secret"), 0, 6)])
        layout = h5py.VirtualLayout((1,), "S6")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "s", (1,))
        file.create_virtual_dataset("virtual", layout)
    with open_path(path) as source:
        assert source.listing.metadata == {
            "own": "shown!",
            "raw": "a text: its values lie in another file, which is not opened",
            "virtual": "a text: it is a virtual dataset: its values lie in other datasets",
        }


def test_the_shape_of_a_dataset_that_grows_is_not_looked_up_in_another_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("s", (7,), "f4", maxshape=(None,), chunks=(7,))
    path = tmp_path / "a.h5"
    end = h5py.h5s.UNLIMITED
    with h5py.File(path, "w", libver="latest") as file:
        layout = h5py.VirtualLayout((1,), "f4", maxshape=(None,))
        layout[0:end] = h5py.VirtualSource(str(tmp_path / "other.h5"), "s", (7,), maxshape=(None,))[0:end]
        file.create_virtual_dataset("grows", layout)
        layout = h5py.VirtualLayout((9,), "f4")
        layout[1:8] = h5py.VirtualSource(str(tmp_path / "other.h5"), "s", (7,))
        file.create_virtual_dataset("fixed", layout)
    with open_path(path) as source:
        assert source.names() == ["fixed"]
        assert source.find("fixed").shape == (9,)
        assert source.listing.metadata == {"grows": "a virtual dataset that grows with others, which are not opened"}


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8, 13, 4096, 65537 * 2 + 1])
def test_the_checksum_is_that_of_a_slow_sum(length: int) -> None:
    data = random.Random(length).randbytes(length)
    low = high = 0
    for at in range(0, length, 2):
        low = (low + (data[at] << 8) + (data[at + 1] if at + 1 < length else 0)) % 65535
        high = (high + low) % 65535
    assert fletcher32(data) % 65535 == (high << 16 | low) % 65535
    assert [fletcher32(data) & 0xFFFF, fletcher32(data) >> 16] == [low or 65535 * any(data), high or 65535 * any(data)]


def test_a_cut_file_gives_one_sentence_or_what_is_left(written: Path, tmp_path: Path) -> None:
    raw = written.read_bytes()
    path = tmp_path / "cut.h5"
    for length in (9, 40, len(raw) // 3, len(raw) - 8):
        path.write_bytes(raw[:length])
        with pytest.raises(OpenError, match=r"^cut.h5 .*(HDF5|h5py)"):
            open_path(path)


def no_package(name: str) -> None:
    return None


def of_other_process(code: str) -> Callable[[pytest.MonkeyPatch, Path], None]:
    def prepare(patch: pytest.MonkeyPatch, folder: Path) -> None:
        script = folder / "script.py"
        script.write_text(code)
        patch.setattr(reader, "_LISTING", script)

    return prepare


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda patch, _: patch.setattr(reader, "find_spec", no_package), r"pip install 'tui-params\[hdf5\]'"),
        (of_other_process("import os; os.kill(os.getpid(), 6)"), "HDF5's own library ends with signal 6 on it"),
        (of_other_process("raise MemoryError('no room')"), "cannot be listed by h5py: MemoryError: no room"),
    ],
    ids=["no h5py", "signal", "error"],
)
def test_why_nothing_is_listed(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[..., None], sentence: str
) -> None:
    prepare(monkeypatch, tmp_path)
    with pytest.raises(OpenError, match=sentence):
        open_path(written)


def test_a_process_that_does_not_end_is_ended(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_other_process("import time; time.sleep(20)")(monkeypatch, tmp_path)
    monkeypatch.setattr(reader, "TIMEOUT", 0.05)
    with pytest.raises(OpenError, match="was not listed by h5py within 0 seconds"):
        open_path(written)


def test_more_than_fits_into_memory_is_not_put_together(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_NBYTES", 1000)
    with open_path(written) as source:
        assert source.find("b.stored").unreadable == (
            "it is in chunks, of 1.68 KiB: at most 1000 B are put together in memory"
        )


def sharded(folder: Path) -> Path:
    """Weights that Keras cut into two files, as saving_lib.ShardedH5IOStore of 3.15 does, and the index of them."""
    for number, group in enumerate(("dense", "dense_1")):
        with h5py.File(folder / f"m_0000{number}.weights.h5", "w") as file:
            file[f"layers/{group}/vars/0"] = np.arange(6.0).reshape(2, 3) + number
    places = {"/layers/dense/vars": "m_00000.weights.h5", "/layers/dense_1/vars": ["m_00001.weights.h5"]}
    index = folder / "m.weights.json"
    index.write_text(json.dumps({"metadata": {"total_size": 96}, "weight_map": places}))
    return index


def test_shards_of_keras_are_one_model(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones(3)
    with open_path(index) as source:
        assert source.names() == ["layers.dense.vars.0", "layers.dense_1.vars.0"]
        assert source.listing.findings == ()
        assert source.read("layers.dense_1.vars.0")[0, 0] == 1
    (tmp_path / "m_00001.weights.h5").unlink()
    for path in (index, tmp_path):
        with open_path(path) as source:
            (finding,) = source.listing.findings
            words = "m.weights.json places 1 group of weights in m_00001.weights.h5, which is missing"
            assert (finding.rule, finding.evidence) == ("missing-shard", words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"weight_map": {"a": 3}}', "names no files"),
        ("[[[", "names no files"),
        ('{"weight_map": {"a": "gone.h5"}}', "none of the files that m.weights.json names is in its folder"),
    ],
)
def test_indexes_of_keras_that_make_no_sense(tmp_path: Path, text: str, words: str) -> None:
    index = sharded(tmp_path)
    index.write_text(text)
    with pytest.raises(OpenError, match=words):
        open_path(index)


def test_an_index_of_keras_leads_out_of_no_folder(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    index.write_text('{"weight_map": {"a": "../m_00000.weights.h5", "b": "m_00000.weights.h5"}}')
    with open_path(index) as source:
        (finding,) = source.listing.findings
        assert finding.evidence.endswith("in ../m_00000.weights.h5, which is no file of this folder")


def test_an_index_without_files(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    for path in tmp_path.glob("*.h5"):
        path.unlink()
    with pytest.raises(OpenError, match=r"none of the files that m\.weights\.json names is in its folder"):
        open_path(index)
