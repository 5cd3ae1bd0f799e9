from __future__ import annotations

import pickle
import struct
import tarfile
from pathlib import Path

import pytest

from tests.factories_torch import all_layouts, build_model, payloads, save, tensor_pickle
from tui_params.errors import OpenError, ReadError, UnknownFormatError
from tui_params.sources.torch_save.legacy import MAGIC
from tui_params.sources.torch_save.zip import open_torch


def stream(root: bytes, storages: list[tuple[str, int, bytes]], *, protocol: int = 2, little: bool = True) -> bytes:
    """A legacy stream by hand: the pickled object, then key, count and bytes of each storage."""
    head = [MAGIC, 1001, {"protocol_version": 1001, "little_endian": little, "type_sizes": {}}]
    body = b"".join(pickle.dumps(value, protocol) for value in head) + root
    body += pickle.dumps([key for key, _, _ in storages], protocol)
    return body + b"".join(struct.pack("<q", count) + data for _, count, data in storages)


def legacy_tensor(numel: int = 4, view: bytes = b"N", **options: object) -> bytes:
    """``tensor_pickle`` with the sixth part that persistent ids have in legacy streams."""
    return tensor_pickle(numel, **options).replace(b"tQ", view + b"tQ", 1)  # type: ignore[arg-type]


def test_the_stream_of_torch(tmp_path: Path) -> None:
    value = {"model": build_model().state_dict(), "step": 5}
    source = open_torch(save(tmp_path / "old.pth", value, _use_new_zipfile_serialization=False))
    assert source.listing.format == "torch.save legacy stream"
    assert [info.name for info in source.listing.tensors] == [f"model.{name}" for name in value["model"]]
    for name, tensor in value["model"].items():
        assert source.read(f"model.{name}").tolist() == tensor.tolist()
    assert source.find("model.head.weight").tied_to == "model.embed.weight"
    assert source.listing.metadata == {"step": "5"}
    assert source.listing.findings == ()


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_any_protocol(tmp_path: Path, protocol: int) -> None:
    root = b"\x80\x02" + legacy_tensor() + b"."
    path = tmp_path / "old.pt"
    path.write_bytes(stream(root, [("0", 4, struct.pack("<4f", 1, 2, 3, 4))], protocol=protocol))
    assert open_torch(path).read("tensor").tolist() == [1, 2, 3, 4]


def test_views_of_a_storage_as_old_torch_wrote_them(tmp_path: Path) -> None:
    view = b"(" + b"X\x01\x00\x00\x00v" + b"K\x01K\x02t"
    root = b"\x80\x02" + legacy_tensor(4, view, shape=(2,)) + b"."
    path = tmp_path / "views.pt"
    path.write_bytes(stream(root, [("0", 4, struct.pack("<4f", 1, 2, 3, 4))]))
    assert open_torch(path).read("tensor").tolist() == [2, 3]
    beyond = b"(" + b"X\x01\x00\x00\x00v" + b"K\x03K\x02t"
    path.write_bytes(stream(b"\x80\x02" + legacy_tensor(4, beyond, shape=(2,)) + b".", [("0", 4, bytes(16))]))
    source = open_torch(path)
    assert source.find("tensor").unreadable == "it is a tensor that is a view outside its storage"


def test_a_truncated_stream_lists_everything_and_reads_what_is_there(tmp_path: Path) -> None:
    value = all_layouts()
    path = save(tmp_path / "old.pt", value, _use_new_zipfile_serialization=False)
    raw = path.read_bytes()
    complete = tmp_path / "complete.pt"
    complete.write_bytes(raw)
    whole = open_torch(complete)
    offsets = sorted(info.offset for info in whole.listing.tensors if info.offset is not None and info.numel)
    # torch writes the storages in the order of their addresses: only what lies before the last is sure to be whole.
    path.write_bytes(raw[: offsets[-1]])
    source = open_torch(path)
    assert [info.name for info in source.listing.tensors] == list(value)
    readable = [info for info in source.listing.tensors if info.unreadable is None and info.numel]
    lost = [info for info in source.listing.tensors if info.unreadable is not None]
    assert readable
    assert lost
    for info in readable:
        assert source.read(info.name).tolist() == whole.read(info.name).tolist()
    assert {info.unreadable for info in lost} == {"the file ends before its values: it is truncated"}
    with pytest.raises(ReadError, match="the file ends before its values"):
        source.read(lost[0].name)
    assert any("storages: it is truncated or damaged" in found.evidence for found in source.listing.findings)


def test_a_stream_that_ends_in_its_pickle_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "old.pt", all_layouts(), _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(OpenError, match="the pickled object ends too early"):
        open_torch(path)


def test_a_stream_that_ends_before_its_keys_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    root = b"\x80\x02" + legacy_tensor() + b"."
    raw = stream(root, [("0", 4, bytes(16))])
    path.write_bytes(raw[: raw.index(root) + len(root) + 3])
    source = open_torch(path)
    assert source.find("tensor").unreadable == "its storage is not in the file: the file is truncated"
    assert "the list of storages is missing or damaged" in source.listing.findings[0].evidence


def test_an_unknown_storage_hides_what_comes_after_it(tmp_path: Path) -> None:
    tensors = [legacy_tensor(key="0"), legacy_tensor(key="1", storage="Int4Storage"), legacy_tensor(key="2")]
    root = b"\x80\x02](" + b"".join(tensors) + b"e."
    path = tmp_path / "old.pt"
    path.write_bytes(stream(root, [(key, 4, bytes(16)) for key in "012"]))
    source = open_torch(path)
    assert source.find("0").unreadable is None
    assert "a storage before it has an unknown type" in str(source.find("2").unreadable)
    assert [finding.rule for finding in source.listing.findings] == ["unknown-storage"]


@pytest.mark.parametrize("count", [-1, 1 << 62, 5])
def test_counts_that_lie_are_found(tmp_path: Path, count: int) -> None:
    path = tmp_path / "old.pt"
    path.write_bytes(stream(b"\x80\x02" + legacy_tensor() + b".", [("0", count, bytes(16))]))
    assert open_torch(path).find("tensor").unreadable == "the file ends before its values: it is truncated"


def test_big_endian_streams_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    path.write_bytes(stream(b"\x80\x02" + legacy_tensor() + b".", [("0", 4, bytes(16))], little=False))
    assert "big-endian" in str(open_torch(path).find("tensor").unreadable)


def test_a_pickle_longer_than_the_first_read(tmp_path: Path) -> None:
    value = {"text": "x" * 3_000_000, "numbers": list(range(300_000)), "w": build_model().state_dict()["head.weight"]}
    source = open_torch(save(tmp_path / "long.pt", value, _use_new_zipfile_serialization=False))
    assert source.read("w").tolist() == value["w"].tolist()


def test_payloads_in_a_stream_do_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "it_ran"
    path = tmp_path / "evil.pt"
    for code in payloads(marker).values():
        path.write_bytes(stream(code, []))
        assert "pickle-code" in {found.rule for found in open_torch(path).listing.findings}
        assert not marker.exists()


# Bare pickles, and what is none


def test_a_bare_pickle(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps({"epoch": 3, "rates": [0.1, 0.2]}, 4))
    source = open_torch(path)
    assert source.listing.format == "pickle"
    assert source.listing.metadata == {"epoch": "3", "rates": "[0.1, 0.2]"}
    path.write_bytes(pickle.dumps({"epoch": 3}, 4)[:-3])
    with pytest.raises(OpenError, match=r"the pickle data\.pkl ends too early"):
        open_torch(path)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_tensors_in_a_bare_pickle_are_read_where_they_are(tmp_path: Path, protocol: int) -> None:
    value = build_model().state_dict()
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    source = open_torch(path)
    assert [info.name for info in source.listing.tensors] == list(value)
    for name, tensor in value.items():
        assert source.read(name).tolist() == tensor.tolist(), name
    # Pickling without torch.save writes a shared storage twice: the tie is lost in the file itself.
    assert source.find("head.weight").tied_to is None
    assert source.listing.findings == ()


def test_tensors_in_a_pickle_of_protocol_2_are_listed(tmp_path: Path) -> None:
    value = build_model().state_dict()
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(value, 2))
    source = open_torch(path)
    for name, tensor in value.items():
        info = source.find(name)
        assert (info.shape, f"torch.{info.dtype.name}") == (tuple(tensor.shape), str(tensor.dtype))
        assert "written as text inside the pickle" in str(info.unreadable)


def test_payloads_inside_a_pickled_storage_are_found(tmp_path: Path) -> None:
    marker = tmp_path / "it_ran"
    inner = stream(payloads(marker)["reduce"], []) + bytes(256)
    raw = b"B" + struct.pack("<I", len(inner)) + inner
    call = b"ctorch.storage\n_load_from_bytes\n" + raw + b"\x85R"
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"\x80\x03ctorch._utils\n_rebuild_tensor_v2\n(" + call + b"K\x00))\x89NtR.")
    source = open_torch(path)
    assert "os.system" in source.listing.findings[0].evidence
    assert not marker.exists()


@pytest.mark.parametrize("data", [b"hello world, this is no pickle", b"\x00" * 100, b"\x93NUMPY"])
def test_what_is_no_pickle_is_unknown(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(data)
    with pytest.raises(UnknownFormatError, match=r"file\.bin is of no format that is known here"):
        open_torch(path)


def test_an_empty_file_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.pt"
    path.write_bytes(b"")
    with pytest.raises(OpenError, match=r"empty\.pt is empty \(0 bytes\)"):
        open_torch(path)
    with pytest.raises(OpenError, match="no such file"):
        open_torch(tmp_path / "none.pt")
    with pytest.raises(OpenError, match="is a folder"):
        open_torch(tmp_path)


def test_a_tar_of_the_first_torch_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(OpenError, match=r"sys_info ends too early"):
        open_torch(path)
