"""What a container hides, has lost or has too much of is told: it never counts as read."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import pytest

from tests.factories_torch import (
    integer,
    numbers,
    raw_zip,
    save,
    state_dict_pickle,
    stored_zip,
    string,
    tensor_pickle,
    torch_zip,
)
from tui_params.api.comparing import compare
from tui_params.core.health.checker import Report, check
from tui_params.core.source import Source
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path
from tui_params.sources.torch_save.zip import open_torch


def evidence(source: Source, rule: str) -> str:
    (found,) = [found for found in source.listing.findings if found.rule == rule]
    return found.evidence


def checked(path: Path) -> Report:
    with open_path(path) as source:
        return check(source)


def state(a: Path, b: Path) -> str:
    with open_path(a) as source_a, open_path(b) as source_b:
        return compare(source_a, source_b).state


# The directory of a zip


@pytest.mark.parametrize("sizes", [[4, 4, 4], [4, 4, 9, 4], [4, 300], [300, 4]])
def test_archives_one_after_the_other_are_not_taken_for_one(tmp_path: Path, sizes: list[int]) -> None:
    # As in the .distcp files of torch.distributed.checkpoint. First and last may have the same layout.
    import torch

    parts = [save(tmp_path / "archive.pt", torch.full((n,), float(n))).read_bytes() for n in sizes]
    path = tmp_path / "several.pt"
    path.write_bytes(b"".join(parts))
    with pytest.raises(OpenError, match=r"several\.pt is several zip archives one after the other") as raised:
        open_torch(path)
    assert f"the last starts at byte {sum(map(len, parts[:-1])):,}" in str(raised.value)
    path.write_bytes(parts[0])
    assert open_torch(path).read("tensor").tolist() == [sizes[0]] * sizes[0]


def misnamed(path: Path, name: bytes) -> None:
    """Change the last character of a member's name in its local header."""
    raw = bytearray(path.read_bytes())
    raw[raw.index(name) + len(name) - 1] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize("name", [b"data/0", b"data/1"])
def test_a_storage_whose_header_bears_another_name_is_unread(tmp_path: Path, name: bytes) -> None:
    import torch

    path = save(tmp_path / "a.pt", {"a": torch.ones(4), "b": torch.arange(3.0)})
    assert checked(path).findings == ()
    misnamed(path, name)
    report = checked(path)
    assert [finding.rule for finding in report.findings] == ["zip-names"]
    assert [entry.tensor for entry in report.unchecked] == ["a" if name == b"data/0" else "b"]
    assert f"1 member of the zip bears another name than the directory gives, first {name.decode()}" in (
        report.findings[0].evidence
    )
    assert state(path, path) == "uncompared"


def test_a_pickle_whose_header_bears_another_name_is_told(tmp_path: Path) -> None:
    import torch

    path = save(tmp_path / "a.pt", {"a": torch.ones(4)})
    misnamed(path, b"data.pkl")
    assert "first data.pkl" in evidence(open_torch(path), "zip-names")
    assert open_torch(path).read("a").tolist() == [1, 1, 1, 1]


def test_names_that_are_no_ascii_are_compared_as_bytes(tmp_path: Path) -> None:
    # torch writes UTF-8 without the flag for it.
    import torch

    path = save(tmp_path / "größe 重み.pt", {"a": torch.ones(4)})
    assert checked(path).status == "ok"


@pytest.mark.parametrize("behind", [b"#", bytes(50), b"\x02\0\0\0\0\0\0\0{}", b"x" * 60_000])
def test_bytes_behind_a_zip_are_an_error(tmp_path: Path, behind: bytes) -> None:
    import torch

    path = save(tmp_path / "a.pt", {"a": torch.ones(4)})
    assert open_torch(path).listing.findings == ()
    path.write_bytes(path.read_bytes() + behind)
    assert evidence(open_torch(path), "trailing-bytes").startswith(f"{len(behind):,} byte")
    assert checked(path).status == "findings"


def test_the_comment_of_a_zip_is_a_part_of_it(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "a.pt", state_dict_pickle({"a": tensor_pickle()}), {"0": bytes(16)})
    raw = bytearray(path.read_bytes())
    struct.pack_into("<H", raw, len(raw) - 2, 5)
    path.write_bytes(bytes(raw) + b"notes")
    assert open_torch(path).listing.findings == ()


@pytest.mark.parametrize("without", [1, 2])
def test_a_member_without_a_checksum_among_others_is_a_remark(tmp_path: Path, without: int) -> None:
    code = state_dict_pickle({"a": tensor_pickle(), "b": tensor_pickle(key="1")})
    members = [("a/data.pkl", code), ("a/data/0", bytes(16)), ("a/data/1", bytes(16)), ("a/version", b"3\n")]
    raw = stored_zip(tmp_path / "a.pt", members).read_bytes()
    assert open_torch(tmp_path / "a.pt").listing.findings == ()
    crcs = [struct.unpack_from("<L", raw, at + 16)[0] for at in range(len(raw)) if raw[at : at + 4] == b"PK\1\2"]
    assert all(crcs)
    crcs[:without] = [0] * without
    path = raw_zip(
        tmp_path / "b.pt", [(name, 0, crc, data, len(data)) for (name, data), crc in zip(members, crcs, strict=True)]
    )
    (finding,) = open_torch(path).listing.findings
    assert (finding.severity, finding.rule) == ("info", "no-checksum")
    assert finding.evidence.startswith(f"{without} of 4 members of the zip ha")
    path = raw_zip(tmp_path / "c.pt", [(name, 0, 0, data, len(data)) for name, data in members])
    assert open_torch(path).listing.findings == ()


# Streams and bare pickles


def legacy(path: Path) -> Path:
    import torch

    return save(path, {"a": torch.full((4,), float("nan"))}, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("at", [2, 5, 11])
def test_a_stream_with_a_damaged_magic_number_is_read_with_an_error(tmp_path: Path, at: int) -> None:
    path = legacy(tmp_path / "a.pt")
    assert open_torch(path).listing.findings == ()
    raw = bytearray(path.read_bytes())
    raw[2 + at] ^= 1
    path.write_bytes(bytes(raw))
    source = open_torch(path)
    assert source.listing.format == "torch.save legacy stream"
    assert evidence(source, "bad-stream").endswith("it is damaged, and torch refuses the file")
    assert {finding.rule for finding in checked(path).findings} == {"bad-stream", "nan"}
    import torch

    with pytest.raises((RuntimeError, ValueError, pickle.UnpicklingError)):
        torch.load(path)


def test_a_stream_of_another_version_is_an_error(tmp_path: Path) -> None:
    path = legacy(tmp_path / "a.pt")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"M\xe9\x03.", b"M\xea\x03.", 1))
    assert evidence(open_torch(path), "bad-stream").startswith("the version of the stream is 1002, not 1001")


@pytest.mark.parametrize(("behind", "severity"), [(b"#", "error"), (bytes(30), "error"), (b"\x80\x02}.", "warning")])
@pytest.mark.parametrize("form", ["pickle", "stream"])
def test_bytes_behind_are_told(tmp_path: Path, form: str, behind: bytes, severity: str) -> None:
    path = tmp_path / "a.pt"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"steps": 3}))
    else:
        legacy(path)
    assert open_torch(path).listing.findings == ()
    path.write_bytes(path.read_bytes() + behind)
    (finding,) = open_torch(path).listing.findings
    assert (finding.severity, finding.rule) == (severity, "trailing-bytes")
    assert checked(path).status == "findings"


_PRINT = b"\x80\x02cbuiltins\nprint\nK\x01\x85R."


@pytest.mark.parametrize(
    ("behind", "told"),
    [
        (_PRINT, ["1 pickle of 23 bytes follows the first: only its calls were looked for, nothing is shown"]),
        (
            _PRINT + b"\x80\x02N.#",
            [
                "2 pickles of 27 bytes follow the first: only their calls were looked for, nothing is shown",
                "1 byte after the end of the pickles was not read",
            ],
        ),
        (
            _PRINT[:-1],
            ["22 bytes after the end of the pickle are a pickle that breaks off: only its calls were looked for"],
        ),
    ],
)
def test_a_pickle_whose_calls_are_named_is_not_said_to_be_unread(
    tmp_path: Path, behind: bytes, told: list[str]
) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"steps": 3}) + behind)
    findings = open_torch(path).listing.findings
    assert [finding.evidence for finding in findings if finding.rule == "trailing-bytes"] == told
    (code,) = [finding for finding in findings if finding.rule == "pickle-code"]
    assert "builtins.print(1)" in code.evidence


def test_an_integer_in_a_bare_pickle_is_no_damaged_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(5) + pickle.dumps(6) + pickle.dumps({"a": 1}))
    assert open_torch(path).listing.format == "pickle"


# What should be a tensor and is none


@pytest.mark.parametrize(
    ("code", "reason", "is_error"),
    [
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "cannot build a tensor from the 0 arguments", True),
        (b"ctorch._utils\n_rebuild_parameter\nK\x01\x85R", "cannot build a tensor from the 1 argument that", True),
        (b"ctorch._utils\n_rebuild_parameter\nK\x01\x88}\x87R", "it wraps 1, which is no tensor", True),
        (b"ctorch._utils\n_rebuild_tensor_v9\n)R", "built by torch._utils._rebuild_tensor_v9, which is not", False),
        (b"(X\x07\x00\x00\x00storageK\x01tQ", "a persistent id that names no storage", True),
        (b"K\x07Q", "a persistent id that names no storage", True),
        (tensor_pickle(shape=(2,), stride=(-1,)), "a tensor that has a malformed stride", True),
        (
            b"ctorch.storage\n_load_from_bytes\nB\x04\x00\x00\x00abcd\x85R",
            "the bytes that it is made of hold no storage",
            True,
        ),
    ],
)
def test_what_should_be_a_tensor_is_listed_and_unread(tmp_path: Path, code: bytes, reason: str, is_error: bool) -> None:
    tensors = {"good": tensor_pickle(), "bad": code}
    path = torch_zip(tmp_path / "a.pt", state_dict_pickle(tensors), {"0": b"\0\0\x80\x3f" * 4})
    source = open_torch(path)
    assert [info.name for info in source.listing.tensors] == ["good", "bad"]
    assert reason in (source.find("bad").unreadable or "")
    told = [finding.rule for finding in source.listing.findings]
    rules = [rule for rule in told if rule not in ("pickle-code", "bad-pickle")]
    assert rules == ["malformed-tensor"] * is_error
    report = checked(path)
    # A builder that is not known here is a call that is named, a warning.
    assert report.status == "findings"
    assert [entry.tensor for entry in report.unchecked] == ["bad"]
    assert state(path, path) == "uncompared"


def test_tensors_in_the_arguments_of_an_unknown_builder_are_read(tmp_path: Path) -> None:
    # A jagged nested tensor: torch.nested._internal.nested_tensor._rebuild_njt.
    code = b"cmine\nx\n0ctorch.nested\n_rebuild_njt\n(" + tensor_pickle() + b"K\x01tR"
    source = open_torch(torch_zip(tmp_path / "a.pt", state_dict_pickle({"j": code}), {"0": bytes(16)}))
    assert [(info.name, info.unreadable) for info in source.listing.tensors] == [("j.0", None)]


def test_a_storage_in_a_bare_pickle_is_read(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"s": torch.ones(100).untyped_storage(), "t": torch.ones(3)}, 4))
    source = open_torch(path)
    assert [(info.name, info.numel, info.unreadable) for info in source.listing.tensors] == [
        ("s", 400, None),
        ("t", 3, None),
    ]


def sharded_pickle(shards: list[tuple[list[int], bytes]], shape: tuple[int, ...] = (8, 4)) -> bytes:
    """A ShardedTensor as protocol 2 writes it; of the state only the local shards matter here."""

    def obj(module: str, name: str, fields: dict[str, bytes]) -> bytes:
        body = b"".join(string(key) + value for key, value in fields.items())
        return f"c{module}\n{name}\n".encode() + b")\x81N}(" + body + b"u\x86b"

    package = "torch.distributed._shard"
    local = b""
    for offsets, tensor in shards:
        box = obj(
            f"{package}.metadata",
            "ShardMetadata",
            {"shard_offsets": b"](" + b"".join(map(integer, offsets)) + b"e", "shard_sizes": b"]"},
        )
        local += obj(f"{package}.sharded_tensor.shard", "Shard", {"tensor": tensor, "metadata": box})
    cls = f"c{package}.sharded_tensor.api\nShardedTensor\n".encode()
    whole = b"(" + cls + b"ctorch\nfloat32\n" + numbers(shape) + numbers((4, 1)) + b"K\x00NN\x89t"
    state = b"(](" + local + b"eNNNt"
    return b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\n" + (
        cls + whole + state + b"tR"
    )


def test_the_shards_of_a_sharded_tensor_are_read(tmp_path: Path) -> None:
    # FSDP1 saves these in its SHARDED_STATE_DICT. Two ranks have the same names and other values.
    paths = []
    for rank in range(2):
        shard = sharded_pickle([([4 * rank, 0], tensor_pickle(16, shape=(4, 4), stride=(4, 1)))])
        values = struct.pack("<16f", *range(rank, rank + 16))
        paths.append(torch_zip(tmp_path / f"{rank}.pt", state_dict_pickle({"w": shard}), {"0": values}))
    source = open_torch(paths[1])
    info = source.find("w")
    assert (info.shape, info.unreadable) == ((4, 4), None)
    assert "from [4, 0] on" in info.notes
    assert source.read("w")[0].tolist() == [1, 2, 3, 4]
    assert state(*paths) == "different"
    two = sharded_pickle([([0, 0], tensor_pickle(shape=(1, 4), stride=(4, 1))), ([7, 0], b"K\x07Q")])
    path = torch_zip(tmp_path / "two.pt", state_dict_pickle({"w": two}), {"0": bytes(16)})
    assert [(info.name, info.unreadable is None) for info in open_torch(path).listing.tensors] == [
        ("w.shard_0", True),
        ("w.shard_1", False),
    ]
    path = torch_zip(tmp_path / "none.pt", state_dict_pickle({"w": sharded_pickle([])}))
    assert open_torch(path).listing.metadata["w"].endswith("of which nothing is in this file")
    assert checked(path).checked == 0


def test_a_wrapper_whose_tensors_are_not_found_is_unread(tmp_path: Path) -> None:
    cls = b"cmine\nWrapper\n"
    whole = b"(" + cls + b"ctorch\nfloat32\n" + numbers((2, 2)) + numbers((2, 1)) + b"K\x00NN\x89t"
    build = b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\n" + cls + whole
    hidden = state_dict_pickle({"w": build + b"NtR"})
    assert open_torch(torch_zip(tmp_path / "a.pt", hidden)).find("w").unreadable
    found = state_dict_pickle({"w": build + b"(" + tensor_pickle() + b"K\x01K\x02ttR"})
    source = open_torch(torch_zip(tmp_path / "b.pt", found, {"0": bytes(16)}))
    assert [(info.name, info.unreadable) for info in source.listing.tensors] == [("w.state.0", None)]


# Archives of torch.export

_ENTRY = (
    '{"path_name": "%s", "is_param": true, "use_pickle": false, "tensor_meta": {"dtype": 7, "sizes": [{"as_int": 2}],'
    ' "strides": [{"as_int": 1}], "storage_offset": {"as_int": 0}, "requires_grad": true, "device": {"type": "cpu"}}}'
)


def exported(path: Path, weights: list[str], listed: list[str], *more: tuple[str, bytes]) -> Path:
    entries = ", ".join(f'"w{number}": {_ENTRY % name}' for number, name in enumerate(listed))
    members = [
        ("m/archive_format", b"pt2"),
        ("m/version", b"3\n"),
        ("m/data/weights/model_weights_config.json", f'{{"config": {{{entries}}}}}'.encode()),
        *((f"m/data/weights/{name}", b"\0\0\x80\x3f" * 2) for name in weights),
        ("m/data/constants/model_constants_config.json", b'{"config": {}}'),
        *more,
    ]
    return stored_zip(path, members)


def test_weights_that_no_list_names_are_listed_and_unread(tmp_path: Path) -> None:
    both = ["weight_0", "weight_1"]
    assert checked(exported(tmp_path / "a.pt2", both, both)).status == "ok"
    path = exported(tmp_path / "b.pt2", both, both[:1], ("m/data/constants/constant_0", bytes(8)))
    report = checked(path)
    assert [entry.tensor for entry in report.unchecked] == ["data/weights/weight_1", "data/constants/constant_0"]
    assert (report.status, report.checked) == ("findings", 1)
    assert state(path, path) == "uncompared"


def test_an_archive_without_one_of_its_lists(tmp_path: Path) -> None:
    import zipfile

    path = exported(tmp_path / "a.pt2", ["weight_0"], ["weight_0"])
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist() if "weights_config" not in name]
    path = stored_zip(tmp_path / "b.pt2", members)
    report = checked(path)
    assert (report.status, [entry.tensor for entry in report.unchecked]) == ("findings", ["data/weights/weight_0"])
    path = stored_zip(tmp_path / "c.pt2", [member for member in members if "config" not in member[0]])
    with pytest.raises(OpenError, match="without a list of weights"):
        open_torch(path)


def test_weights_of_a_compiled_model_in_the_archive_are_no_error(tmp_path: Path) -> None:
    compiled = ("m/data/aotinductor/model/weights_config.json", b'{"w": ["weight_1", [1], [1], 0]}')
    path = exported(tmp_path / "a.pt2", ["weight_0", "weight_1"], ["weight_0"], compiled)
    report = checked(path)
    assert (report.status, report.findings) == ("unchecked", ())
