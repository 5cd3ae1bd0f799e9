"""Arrays of numpy in pickles: every type, order and protocol, against numpy itself."""

from __future__ import annotations

import io
import pickle
import random
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as made
from numpy.typing import NDArray

from tests.factories_pickle import python2_array, python2_repr_array
from tui_params.core.health.checker import check
from tui_params.core.source import Source
from tui_params.errors import OpenError, ReadError, TuiParamsError
from tui_params.sources.detect import open_path
from tui_params.sources.torch_save import arrays, python_numbers

PLAIN = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c16", "c8")
SMALL = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")


def dump(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def save(path: Path, value: Any, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def blocks_of(source: Source, name: str) -> bytes:
    return b"".join(block.tobytes() for block in source.blocks(source.find(name)))


def assert_is(source: Source, name: str, array: NDArray[Any]) -> None:
    """The tensor has the shape and the bits of ``array``, read as one window and by blocks."""
    info = source.find(name)
    assert (info.kind, info.shape, info.numel, info.unreadable) == ("array", array.shape, array.size, None)
    native = array.astype(array.dtype.newbyteorder("="))
    read = source.read(name)
    assert (read.dtype, read.tobytes()) == (native.dtype, native.tobytes())
    assert info.nbytes == array.nbytes
    if info.stride is None:
        assert blocks_of(source, name) == native.tobytes()
    else:
        item = array.itemsize
        raw = blocks_of(source, name)
        pieces = sorted(raw[at : at + item] for at in range(0, len(raw), item))
        flat = native.tobytes()
        assert pieces == sorted(flat[at : at + item] for at in range(0, len(flat), item))


def bits(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    """An array of any bits; of bools only 0 and 1 are values."""
    raw = np.random.default_rng(seed).integers(0, 2 if dtype.kind == "b" else 256, (*shape, dtype.itemsize), np.uint8)
    return raw.view(dtype).reshape(shape)


# Types, orders, protocols


@given(
    code=st.sampled_from([*PLAIN, *SMALL]),
    order=st.sampled_from("<>"),
    shape=made.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9),
    layout=st.sampled_from(["C", "F", "transposed", "reversed"]),
    protocol=st.integers(0, 5),
    container=st.sampled_from(["pickle", "zip", "legacy"]),
    seed=st.integers(0, 1 << 16),
)
def test_any_array_is_read_as_numpy_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    code: str,
    order: str,
    shape: tuple[int, ...],
    layout: str,
    protocol: int,
    container: str,
    seed: int,
) -> None:
    dtype = np.dtype(getattr(ml_dtypes, code)) if code in SMALL else np.dtype(code).newbyteorder(order)  # type: ignore[arg-type]
    array = bits(dtype, shape, seed)
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "transposed" and array.ndim > 1:
        array = array.transpose(*range(1, array.ndim), 0)
    elif layout == "reversed" and array.ndim:
        array = array[::-1]
    path = tmp_path_factory.mktemp("arrays") / "x.pkl"
    value = {"model": {"w": array, "scalar": array.reshape(-1)[0] if array.size else 0}}
    if container == "pickle":
        dump(path, value, protocol)
    else:
        save(path, value, pickle_protocol=protocol, _use_new_zipfile_serialization=container == "zip")
    with open_path(path) as source:
        assert_is(source, "model.w", array)
        if array.size:
            assert (
                source.read("model.scalar").tobytes() == array.astype(dtype.newbyteorder("=")).reshape(-1)[:1].tobytes()
            )


@pytest.mark.parametrize("protocol", range(6))
def test_windows_and_statistics_of_arrays_beyond_a_block(tmp_path: Path, protocol: int) -> None:
    rng = np.random.default_rng(protocol)
    plain = rng.normal(size=(500, 301)).astype("f4")
    value = {
        "c": plain,
        "f": np.asfortranarray(plain),
        "big": plain.astype(">f4"),
        "k": plain.reshape(5, 100, 301).transpose(1, 0, 2),
    }
    with open_path(dump(tmp_path / "x.pkl", value, protocol)) as source:
        for name, array in value.items():
            assert_is(source, name, array)
            window = (slice(3, 90, 7),) * array.ndim
            expression = "[" + ", ".join(["3:90:7"] * array.ndim) + "]"
            assert source.read(name, expression).tobytes() == array[window].astype("f4").tobytes()
            figures = source.summarize(name).figures(array.size)
            assert (figures.min, figures.max, figures.nan) == (plain.min(), plain.max(), 0)


def test_long_byte_strings_are_read_where_they_are(tmp_path: Path) -> None:
    array = np.arange(1000.0)
    path = dump(tmp_path / "x.pkl", {"w": array}, 4)
    with open_path(path) as source:
        offset = source.find("w").offset
        assert offset is not None
        assert path.read_bytes()[offset : offset + 8000] == array.tobytes()
    path = save(tmp_path / "x.pt", {"w": array}, pickle_protocol=4)
    with open_path(path) as source:
        offset = source.find("w").offset
        assert offset is not None
        assert path.read_bytes()[offset : offset + 8000] == array.tobytes()


# What old versions wrote


@pytest.mark.parametrize("write", [python2_array, python2_repr_array])
@pytest.mark.parametrize("numbers", [[1.5, -2.0], [0.0] * 100, list(range(300))])
def test_arrays_of_python_2(tmp_path: Path, write: Any, numbers: list[float]) -> None:
    array = np.array(numbers, "f4")
    path = tmp_path / "x.pkl"
    path.write_bytes(write(array))
    assert pickle.loads(path.read_bytes(), encoding="latin1").tobytes() == array.tobytes()
    with open_path(path) as source:
        assert_is(source, "array", array)


def test_python_2_strings_that_happen_to_be_utf_8(tmp_path: Path) -> None:
    array = np.frombuffer("aüb€ ".encode(), "u1")
    path = tmp_path / "x.pkl"
    path.write_bytes(python2_array(array))
    with open_path(path) as source:
        assert_is(source, "array", array)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_the_module_names_of_numpy_1(tmp_path: Path, protocol: int) -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    data = pickle.dumps({"w": array, "x": np.int16(7)}, protocol)
    if protocol == 2:
        data = data.replace(b"numpy._core.", b"numpy.core.")
    else:
        data = data.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
        data = data.replace(b"\x8c\x13numpy._core.numeric", b"\x8c\x12numpy.core.numeric")
        # A frame says how long it is; without the frame the pickle is the same.
        data = data[:2] + data[11:]
    path = tmp_path / "x.pkl"
    path.write_bytes(data)
    with open_path(path) as source:
        assert_is(source, "w", array)
        assert_is(source, "x", np.array(7, "i2"))


# What cannot be read is named


def records() -> NDArray[Any]:
    return np.array([(1, 2.0), (3, 4.0)], [("a", "i4"), ("b", "f8")])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.array([1, "a", None], object), "an array of Python objects, some of them numbers"),
        (records(), "an array of records (fields a, b)"),
        (records()[0], "an array of records (fields a, b)"),
        (records().view(np.recarray), "an array of records (fields a, b)"),
        (np.array([1, 2], "longdouble"), f"elements of type float{8 * np.dtype('longdouble').itemsize} cannot"),
        (np.array([1, 2], ml_dtypes.int4), "elements of type int4 cannot"),
        (np.array([1, 2], ml_dtypes.float4_e2m1fn), "elements of type float4_e2m1fn cannot"),
        (np.ma.array([1.0, 2.0], mask=[False, True]), "a masked array: the mask"),
        ([0.5] * python_numbers.MIN_LIST, "a list of 1,000 Python numbers"),
        (np.arange(100.0).reshape(10, 10).tolist(), "a table of lists of 100 Python numbers"),
        (np.arange(120.0).reshape(2, 3, 20).tolist(), "a table of lists of 120 Python numbers"),
        ([np.float64(0.5)] * python_numbers.MIN_LIST, "a list of 1,000 Python numbers"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_what_holds_numbers_and_cannot_be_read(tmp_path: Path, value: Any, reason: str, protocol: int) -> None:
    if np.dtype("longdouble").itemsize == 8 and "float64" in reason:
        pytest.skip("a long double is a double here")
    with open_path(save(tmp_path / "x.pt", {"t": torch.eye(3), "x": value}, pickle_protocol=protocol)) as source:
        info = source.find("x")
        assert info.kind == "array"
        assert info.unreadable is not None
        assert info.unreadable.startswith(reason)
        with pytest.raises(ReadError, match=info.unreadable[:10]):
            source.read("x")
        report = check(source)
    assert report.status == "unchecked"
    assert [(entry.tensor, entry.reason) for entry in report.unchecked] == [("x", info.unreadable)]


def test_a_buffer_outside_the_pickle(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    buffers: list[pickle.PickleBuffer] = []
    path.write_bytes(pickle.dumps({"w": np.arange(3.0)}, 5, buffer_callback=buffers.append))
    assert len(buffers) == 1
    with open_path(path) as source:
        assert source.find("w").unreadable == "its values are in a buffer outside the pickle"
        assert source.find("w").shape == (3,)
        assert check(source).status == "unchecked"


@pytest.mark.parametrize(
    "value",
    [
        {"betas": [0.9, 0.999], "lrs": [0.1] * (python_numbers.MIN_LIST - 1)},
        {"indices": list(range(5000)), "random": random.Random(0).getstate()},
        {"pairs": [[0.9, 0.999]] * 40, "ragged": [[0.5] * 60, [0.5] * 61]},
        {"names": ["a", "b"] * 1000, "mixed": [0.5, "a"] * 1000, "nothing": []},
        {"texts": np.array(["a", "b"]), "dates": np.array("2020-01-01", "M8[D]"), "bytes": np.array([b"a"])},
        {"objects": np.array(["a", None], object), "any": np.array(["a", "b"], np.dtypes.StringDType())},
        {"scalars": [np.float64(0.5), np.float64(float("inf"))], "flag": True},
    ],
)
@pytest.mark.parametrize("protocol", [1, 2, 5])
def test_settings_texts_and_states_are_metadata(tmp_path: Path, value: dict[str, Any], protocol: int) -> None:
    with open_path(save(tmp_path / "x.pt", {"t": torch.randn(3, 3), **value}, pickle_protocol=protocol)) as source:
        assert [info.name for info in source.listing.tensors] == ["t"]
        assert set(value) <= {name.partition(".")[0] for name in source.listing.metadata}
        assert check(source).status == "ok"


def test_arrays_inside_an_array_of_objects_are_read(tmp_path: Path) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [np.arange(3.0), np.arange(4.0)]
    with open_path(dump(tmp_path / "x.pkl", {"w": ragged})) as source:
        assert [info.name for info in source.listing.tensors] == ["w.0", "w.1"]
        assert_is(source, "w.1", np.arange(4.0))


# Findings


def test_a_nan_in_an_array_is_found_where_it_is(tmp_path: Path) -> None:
    array = np.ones((3, 4), ">f4") / 3
    array[1, 2] = np.nan
    for protocol in (0, 2, 5):
        with open_path(dump(tmp_path / "x.pkl", {"model": {"w": array}}, protocol)) as source:
            report = check(source)
        assert report.status == "findings"
        assert [(found.rule, found.tensor, found.indices) for found in report.findings if found.rule == "nan"] == [
            ("nan", "model.w", ((1, 2),))
        ]


def test_states_of_random_generators_give_no_finding(tmp_path: Path) -> None:
    generator = np.random.RandomState(0)
    value = {
        "random_state": random.Random(0).getstate(),
        "numpy_random_seed": generator.get_state(),
        "torch_manual_seed": torch.get_rng_state(),
        "generator": np.random.default_rng(0),
        "legacy": generator,
    }
    for path in (save(tmp_path / "rng_state.pth", value), save(tmp_path / "random_states_0.pkl", value)):
        with open_path(path) as source:
            info = source.find("numpy_random_seed.1")
            assert (info.kind, info.shape, info.dtype.name) == ("array", (624,), "uint32")
            report = check(source)
        assert report.status == "ok"
        assert {found.severity for found in report.findings} <= {"info"}


def test_the_best_score_may_be_infinite_and_a_loss_zero(tmp_path: Path) -> None:
    value = {"w": torch.randn(4, 4), "best": np.float64("inf"), "loss": np.float32(0), "steps": np.array(3)}
    with open_path(save(tmp_path / "x.pt", value)) as source:
        report = check(source)
        assert source.summarize("best").figures(1).pos_inf == 1
    assert (report.status, report.checked) == ("ok", 4)
    assert [(found.severity, found.rule, found.tensor) for found in report.findings] == [("info", "inf", "best")]


def test_one_array_under_two_names_is_tied_and_equal_ones_are_not(tmp_path: Path) -> None:
    array = np.arange(100.0)
    value = {"a": array, "b": array, "c": array.copy(), "x": np.int8(1), "y": np.int8(1)}
    with open_path(dump(tmp_path / "x.pkl", value)) as source:
        assert [info.tied_to for info in source.listing.tensors] == [None, "a", None, None, None]
        assert_is(source, "b", array)


def test_the_archive_of_a_compressed_pickle(tmp_path: Path) -> None:
    import zipfile

    array = np.arange(1000.0)
    inner = io.BytesIO()
    torch.save({"w": array}, inner, pickle_protocol=4)
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(inner) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    with open_path(path) as source:
        assert source.find("w").offset is None
        assert_is(source, "w", array)


def test_a_flipped_bit_of_an_array_fails_the_checksum_of_the_pickle(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pt", {"w": np.arange(1000.0)}, pickle_protocol=4)
    with open_path(path) as source:
        offset = source.find("w").offset
        assert check(source).status == "ok"
    assert offset is not None
    data = bytearray(path.read_bytes())
    data[offset + 100] ^= 1
    path.write_bytes(data)
    with open_path(path) as source:
        assert [(found.rule, found.tensor) for found in check(source).findings] == [("checksum", None)]


# Damage and limits


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"K\x03K\x05\x86", b"K\x03K\x06\x86", "its shape and type need 72 bytes, and it has 60"),
        (b"K\x03K\x05\x86", b"K\x03N\x86", "malformed shape"),
        (b"\x8c\x01C\x94", b"\x8c\x01Z\x94", "malformed order"),
    ],
)
def test_a_description_that_does_not_fit_is_an_error(tmp_path: Path, old: bytes, new: bytes, fault: str) -> None:
    data = pickle.dumps({"w": np.zeros((3, 5), "f4")}, 5)
    assert data.count(old) == 1
    path = tmp_path / "x.pkl"
    path.write_bytes(data[:2] + data.replace(old, new)[11:])
    with open_path(path) as source:
        report = check(source)
    assert report.status == "findings"
    assert fault in report.findings[0].evidence
    assert report.findings[0].severity == "error"


def test_no_more_than_the_limit_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MAX_HELD_NBYTES", 1000)
    with open_path(dump(tmp_path / "x.pkl", {"a": np.ones(100), "b": np.ones(100)}, 2)) as source:
        assert_is(source, "a", np.ones(100))
        assert source.find("b").unreadable == (
            "its values lie nowhere in the file as they are, and at most 1,000 bytes of such arrays are kept in memory"
        )
        assert check(source).status == "unchecked"


@given(st.data())
def test_a_damaged_pickle_raises_nothing_but_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    protocol = data.draw(st.integers(0, 5))
    value = {
        "a": np.ones((2, 3), ">f4"),
        "b": np.float16(2),
        "c": np.array([1, "x"], object),
        "d": records(),
        "e": [0.5] * 1000,
    }
    raw = bytearray(pickle.dumps(value, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, min(len(raw), 700) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "x.pkl"
    path.write_bytes(raw)
    try:
        with open_path(path) as source:
            check(source)
            for info in source.listing.tensors:
                source.read_window(info, window_of(info.shape))
    except TuiParamsError:
        pass


def window_of(shape: tuple[int, ...]) -> Any:
    from tui_params.core.window import parse_window

    return parse_window("", shape)


def test_a_list_that_contains_itself_ends(tmp_path: Path) -> None:
    loop: list[Any] = [0.5]
    loop[0] = loop
    holder = np.empty(1, object)
    holder[0] = holder
    with open_path(dump(tmp_path / "x.pkl", {"loop": loop, "holder": holder})) as source:
        assert source.listing.tensors == ()


def test_a_bare_text_is_no_pickle(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("(see below)\nc'est tout.\n")
    with pytest.raises(OpenError, match="in no format that is known here"):
        open_path(path)


@pytest.mark.parametrize(
    ("old", "new", "status", "reason"),
    [
        (b"latin1", b"utf_16", "findings", "it has no bytes that hold its values"),
        (b"X\x01\x00\x00\x00<", b"X\x01\x00\x00\x00?", "unchecked", "the byte order of its type f4 is not known"),
    ],
)
def test_bytes_that_could_mean_anything_are_not_read(
    tmp_path: Path, old: bytes, new: bytes, status: str, reason: str
) -> None:
    data = pickle.dumps({"w": np.arange(6, dtype="f4")}, 2)
    assert data.count(old) == 1
    path = tmp_path / "x.pkl"
    path.write_bytes(data.replace(old, new))
    with open_path(path) as source:
        assert source.find("w").unreadable == reason
        assert check(source).status == status
