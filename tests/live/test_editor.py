"""Edits of a live model: of every element type, of views and ties; what is refused, applied, undone."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_models import DTYPE_NAMES, Pair, TiedModel, holder, of_every_byte
from tui_params.core.dtypes import from_torch, numpy_dtype
from tui_params.core.edits import Edit, Operation, Proposal, overlap
from tui_params.core.window import make_window, parse_window
from tui_params.errors import EditError, SliceError, StoppedError
from tui_params.live.editor import LiveEditor
from tui_params.live.source import ModelSource, ProbeSource, StateDictSource

torch = pytest.importorskip("torch")
nn, prune = torch.nn, pytest.importorskip("torch.nn.utils.prune")


def editor_of(model: Any) -> LiveEditor:
    editor = LiveEditor()
    editor.attach(source_of(model))
    return editor


def source_of(model: Any) -> ProbeSource:
    return ModelSource(model) if isinstance(model, nn.Module) else StateDictSource(model)


def edit(editor: LiveEditor, name: str, operation: Operation, operand: str = "", at: str = "") -> Proposal:
    """Propose an edit and apply it."""
    proposal = editor.propose(Edit(name, at, operation, operand))
    editor.apply((proposal,))
    return proposal


def bytes_of(tensor: Any) -> bytes:
    plain = tensor.detach().resolve_conj().contiguous().flatten()
    return bytes(plain.view(torch.uint8).numpy().tobytes()) if plain.numel() else b""


def values_of(tensor: Any, name: str) -> Any:
    """The values in numpy, as float64 or complex128 where they are not integers."""
    if tensor.dtype == torch.complex32:
        return tensor.detach().to(torch.complex64).numpy().astype(np.complex128)
    raw = np.frombuffer(bytes_of(tensor), _native(name)).reshape(tuple(tensor.shape))
    if _dtype(name).kind == "float":
        with np.errstate(invalid="ignore"):
            return raw.astype(np.float64)
    return raw


def _dtype(name: str) -> Any:
    found = from_torch(name)
    assert found is not None
    return found


def _native(name: str) -> Any:
    found = numpy_dtype(_dtype(name))
    assert found is not None
    return found


FLOATS = [name for name in DTYPE_NAMES if name.startswith(("float", "bfloat"))]
INTEGERS = [name for name in DTYPE_NAMES if name.startswith(("int", "uint"))]
COMPLEX = [name for name in DTYPE_NAMES if name.startswith("complex")]


def small(name: str) -> Any:
    """Twelve small powers of two, which every type but bool holds; of bool, both values."""
    numbers = torch.tensor([1, 2, 4, 8, 16, 32, 1, 2, 4, 8, 16, 32]).reshape(3, 4)
    return (numbers % 2).to(torch.bool) if name == "bool" else numbers.to(getattr(torch, name))


@pytest.mark.parametrize("name", DTYPE_NAMES)
@pytest.mark.parametrize("at", ["", "[1, 2]", "[:, ::2]", "[::-1, 1]", "[3:]"])
def test_every_type_is_set_and_undone_byte_for_byte(name: str, at: str) -> None:
    tensor = of_every_byte(name, 3, 4)
    before = bytes_of(tensor)
    expected = tensor.clone()
    number = {"bool": "true"}.get(name, "2")
    window = parse_window(at, (3, 4))
    places = tuple(
        slice(axis.start, axis.start + axis.length) if axis.step == 1 else
        [axis.index(place) for place in range(axis.length)] for axis in window.axes
    )  # fmt: skip
    rows, columns = (np.arange(size)[place] for size, place in zip((3, 4), places, strict=True))
    two = torch.tensor(True) if name == "bool" else torch.tensor(2).to(expected.dtype)
    for row in rows:
        for column in columns:
            expected[int(row), int(column)] = two
    model = holder(x=tensor)
    version = tensor._version
    editor = editor_of(model)
    proposal = edit(editor, "x", "set", number, at)
    assert bytes_of(tensor) == bytes_of(expected)
    assert proposal.numel == window.numel
    assert proposal.changed == sum(
        one != other for one, other in zip(_cells(before, name), _cells(bytes_of(tensor), name), strict=True)
    )
    assert tensor._version > version or not window.numel
    editor.undo()
    assert bytes_of(tensor) == before
    assert editor.changes == ()


def _cells(raw: bytes, name: str) -> list[bytes]:
    size = getattr(torch, name).itemsize
    return [raw[start : start + size] for start in range(0, len(raw), size)]


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS, *COMPLEX])
@pytest.mark.parametrize(("operation", "operand"), [("add", 4), ("scale", 2)])
def test_every_type_is_added_to_and_scaled(name: str, operation: Operation, operand: int) -> None:
    tensor = small(name)
    exact = values_of(tensor, name).astype(np.complex128 if name in COMPLEX else np.float64)
    exact = exact + operand if operation == "add" else exact * operand
    proposal = edit(editor_of(holder(x=tensor)), "x", operation, str(operand))
    if name in INTEGERS or name in COMPLEX:
        assert np.array_equal(values_of(tensor, name), exact)
    else:
        rounded = torch.from_numpy(exact).to(tensor.dtype)
        assert bytes_of(tensor) == bytes_of(rounded)
    parts = values_of(tensor, name)
    parts = np.stack([parts.real, parts.imag]) if name in COMPLEX else parts
    assert (proposal.after.min, proposal.after.max) == (parts.min(), parts.max())


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16", "complex64", "complex128"])
@pytest.mark.parametrize("number", [0.1, -1 / 3, 7])
def test_sums_and_products_are_those_of_torch_bit_for_bit(name: str, number: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(65, 33, generator=generator).to(getattr(torch, name))
    for operation in ("add", "scale"):
        tensor, expected = start.clone(), start.clone()
        if operation == "add":
            expected += number
        else:
            expected *= number
        edit(editor_of(holder(x=tensor)), "x", operation, repr(number))
        assert bytes_of(tensor) == bytes_of(expected)


@pytest.mark.parametrize("name", [name for name in DTYPE_NAMES if name != "float8_e8m0fnu"])
def test_every_type_has_a_zero_whose_bytes_are_zero(name: str) -> None:
    tensor = of_every_byte(name, 5, 7)
    edit(editor_of(holder(x=tensor)), "x", "zero")
    assert not any(bytes_of(tensor))


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_reach_their_ends_and_no_further(name: str) -> None:
    limits = torch.iinfo(getattr(torch, name))
    tensor = torch.zeros(3, dtype=getattr(torch, name))
    editor = editor_of(holder(x=tensor))
    for number in (limits.max, limits.min):
        edit(editor, "x", "set", str(number))
        assert tensor.tolist() == [number] * 3
    for number in (limits.max + 1, limits.min - 1):
        with pytest.raises(EditError, match="does not fit"):
            editor.propose(Edit("x", "", "set", str(number)))
    edit(editor, "x", "set", str(limits.max), "[1]")
    with pytest.raises(EditError, match=r"1 of 3 values would not fit"):
        editor.propose(Edit("x", "", "add", "1"))
    edit(editor, "x", "add", str(limits.min - limits.max), "[1]")
    assert tensor[1].item() == limits.min
    if limits.min:
        with pytest.raises(EditError, match=r"3 of 3 values would not fit"):
            editor.propose(Edit("x", "", "scale", "-1"))
    with pytest.raises(EditError, match="whole number"):
        editor.propose(Edit("x", "", "add", "0.5"))


@given(
    st.sampled_from(INTEGERS),
    st.lists(st.integers(-(2**64), 2**64), min_size=1, max_size=6),
    st.integers(-(2**66), 2**66) | st.integers(-9, 9),
    st.sampled_from(["add", "scale"]),
)
def test_whole_numbers_are_exact_or_refused(name: str, numbers: list[int], operand: int, operation: Operation) -> None:
    limits = torch.iinfo(getattr(torch, name))
    numbers = [min(max(number, limits.min), limits.max) for number in numbers]
    tensor = torch.from_numpy(np.array(numbers, dtype=name))
    exact = [number + operand if operation == "add" else number * operand for number in numbers]
    misfits = sum(not limits.min <= number <= limits.max for number in exact)
    editor = editor_of(holder(x=tensor))
    if misfits:
        words = f"{misfits} of {len(numbers)} values" if len(numbers) > 1 else "the value"
        with pytest.raises(EditError, match=f"^{words} would not fit"):
            editor.propose(Edit("x", "", operation, str(operand)))
        assert tensor.tolist() == numbers
    else:
        edit(editor, "x", operation, str(operand))
        assert tensor.tolist() == exact


@pytest.mark.parametrize("name", FLOATS)
def test_what_overflows_a_float_is_refused_with_the_largest_value(name: str) -> None:
    dtype = getattr(torch, name)
    largest = torch.finfo(dtype).max
    tensor = small(name)
    before = bytes_of(tensor)
    editor = editor_of(holder(x=tensor))
    for sign in ("", "-") if largest < 1e300 else ():
        with pytest.raises(EditError, match=f"does not fit {name}, whose largest value is|no sign"):
            editor.propose(Edit("x", "", "set", f"{sign}{2 * largest!r}"))
    with pytest.raises(EditError, match="beyond float64"):
        editor.propose(Edit("x", "", "set", "1e400"))
    with pytest.raises(EditError, match=r"\d+ of 12 values would overflow|\d+ of 12 values would not fit"):
        editor.propose(Edit("x", "", "scale", repr(largest)))
    assert bytes_of(tensor) == before
    tensor.fill_(largest)
    with pytest.raises(EditError, match="12 of 12 values"):
        editor.propose(Edit("x", "", "add", repr(largest)))


@pytest.mark.parametrize("name", FLOATS)
def test_nan_and_infinities_are_set_on_purpose(name: str) -> None:
    tensor = small(name)
    editor = editor_of(holder(x=tensor))
    proposal = edit(editor, "x", "set", "nan", "[0]")
    assert (proposal.before.nan, proposal.after.nan) == (0, 4)
    assert np.isnan(values_of(tensor, name)[0]).all()
    if torch.tensor(float("inf")).to(tensor.dtype).to(torch.float32).isinf():
        assert edit(editor, "x", "set", "-inf", "[1, :2]").after.inf == 2
        assert values_of(tensor, name)[1, :2].tolist() == [-np.inf, -np.inf]
        # What was infinite before overflows nothing.
        assert edit(editor, "x", "add", "1").after.inf == 2
    else:
        with pytest.raises(EditError, match=r"has no infinity|no sign"):
            editor.propose(Edit("x", "", "set", "-inf"))


def test_powers_of_two_alone_have_no_zero_and_no_sign() -> None:
    editor = editor_of(holder(x=small("float8_e8m0fnu")))
    for operation, operand in (("zero", ""), ("set", "0"), ("set", "-2"), ("add", "-32"), ("scale", "0")):
        with pytest.raises(EditError, match="no zero"):
            editor.propose(Edit("x", "", operation, operand))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_negative_zero_and_subnormals_are_set_as_they_are(name: str) -> None:
    dtype = getattr(torch, name)
    least = torch.ones(1, dtype=getattr(torch, f"int{8 * dtype.itemsize}")).view(dtype)
    tensor = torch.zeros(3, dtype=dtype)
    editor = editor_of(holder(x=tensor))
    edit(editor, "x", "set", "-0.0", "[0]")
    edit(editor, "x", "set", repr(least.double().item()), "[1]")
    assert bytes_of(tensor[0:1])[-1] == 0x80
    assert bytes_of(tensor[1:2]) == bytes_of(least)
    assert edit(editor, "x", "scale", "-1").changed == 3


def test_what_torch_cannot_do_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("not implemented for this device")

    tensor = torch.ones(3)
    editor = editor_of(holder(x=tensor))
    ready = editor.propose(Edit("x", "", "add", "1"))
    monkeypatch.setattr("tui_params.live.inside.editor.changed", fail)
    with pytest.raises(EditError, match="cannot be worked out: RuntimeError: not implemented"):
        editor.propose(Edit("x", "", "add", "1"))
    with pytest.raises(EditError, match="cannot be worked out"):
        editor.apply((ready,))
    monkeypatch.setattr("tui_params.live.inside.editor._obstacle", fail)
    with pytest.raises(EditError, match="x cannot be worked out"):
        editor.propose(Edit("x", "", "add", "1"))
    assert tensor.tolist() == [1, 1, 1]


def test_a_number_that_is_rounded_is_said() -> None:
    tensor = torch.ones(2, dtype=torch.bfloat16)
    proposal = edit(editor_of(holder(x=tensor)), "x", "set", "0.1")
    assert proposal.remarks == ("It is stored as 0.10009765625, the nearest value of bf16.",)
    assert editor_of(holder(x=tensor)).propose(Edit("x", "", "set", "1e-60")).after.max == 0


def test_bool_takes_truths_alone() -> None:
    tensor = torch.tensor([True, False])
    editor = editor_of(holder(x=tensor))
    edit(editor, "x", "set", "TRUE")
    assert tensor.tolist() == [True, True]
    for operation, operand in (("set", "2"), ("set", "0.5")):
        with pytest.raises(EditError, match="neither true nor false"):
            editor.propose(Edit("x", "", operation, operand))  # type: ignore[arg-type]
    with pytest.raises(EditError, match="set it, or fill it"):
        editor.propose(Edit("x", "", "add", "1"))


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_numbers(name: str) -> None:
    tensor = small(name)
    editor = editor_of(holder(x=tensor))
    edit(editor, "x", "set", "1 - 2j", "[0]")
    edit(editor, "x", "scale", "2j", "[1]")
    assert values_of(tensor, name)[0].tolist() == [1 - 2j] * 4
    assert values_of(tensor, name)[1].tolist() == [32j, 64j, 2j, 4j]
    with pytest.raises(EditError, match="is not a number"):
        editor_of(holder(x=torch.ones(2))).propose(Edit("x", "", "add", "1j"))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (1, 1)])
def test_scalars_and_empty_tensors(shape: tuple[int, ...]) -> None:
    tensor = torch.full(shape, 5.0)
    editor = editor_of(holder(x=tensor))
    proposal = edit(editor, "x", "add", "0.5")
    assert torch.equal(tensor, torch.full(shape, 5.5))
    assert proposal.numel == proposal.changed == tensor.numel()
    assert proposal.after.min == (5.5 if tensor.numel() else None)
    editor.undo()
    assert torch.equal(tensor, torch.full(shape, 5.0))


VIEWS: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda base: base.t(),
    "sliced": lambda base: base[1:3, 2:],
    "stepped": lambda base: base[::2, ::3],
    "column": lambda base: base[:, 1],
    "permuted": lambda base: base.reshape(2, 2, 6).permute(2, 0, 1),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("operation", ["set", "add", "fill"])
def test_views_are_edited_through_to_their_base_and_nowhere_else(
    view: str, operation: Operation, tmp_path: Path
) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    expected = base.clone()
    seen, there = VIEWS[view](base), VIEWS[view](expected)
    values = np.arange(seen.numel(), dtype=np.float32).reshape(tuple(seen.shape)) * 7 + 100
    np.save(tmp_path / "values.npy", values)
    if operation == "fill":
        there.copy_(torch.from_numpy(values))
    elif operation == "add":
        there += 0.25
    else:
        there.fill_(-3)
    operand = {"set": "-3", "add": "0.25"}.get(operation, str(tmp_path / "values.npy"))
    editor = editor_of(holder(base=base, seen=seen))
    before = base.clone()
    proposal = edit(editor, "seen", operation, operand)
    # permute of a reshape is a view of the base: so are all others.
    assert torch.equal(base, expected)
    assert proposal.also == ("base",)
    editor.undo()
    assert torch.equal(base, before)


def test_tied_names_are_said_and_both_change() -> None:
    model = TiedModel()
    editor = editor_of(model)
    proposal = edit(editor, "lm_head.weight", "set", "1.5", "[0, 0]")
    assert proposal.also == ("wte.weight",)
    assert model.wte.weight[0, 0].item() == 1.5
    assert editor.changes[0].name == "lm_head.weight"


def test_an_edit_is_no_change_by_others_and_a_write_by_others_still_is() -> None:
    model = TiedModel()
    source = source_of(model)
    assert isinstance(source, ProbeSource)
    editor = LiveEditor()
    editor.attach(source)
    edit(editor, "wte.weight", "add", "1")
    assert source.changed() is None
    editor.undo()
    assert source.changed() is None
    with torch.no_grad():
        model.wte.weight += 1
    assert source.changed() is not None
    edit(editor, "wte.weight", "add", "1")
    assert source.changed() is not None


def test_filling_from_another_tensor() -> None:
    x, y = torch.zeros(3, 4), torch.arange(12.0).reshape(3, 4)
    z, w = torch.arange(4), torch.arange(12, dtype=torch.float64).reshape(4, 3).t()
    editor = editor_of({"x": x, "y": y, "z": z, "w": w, "q": torch.ones(2, 2)})
    edit(editor, "x", "fill", "y", "[::-1, 1:]")  # of the same shape: the same slice of it
    assert torch.equal(x[:, 1:], y[:, 1:])
    assert not x[:, 0].any()
    proposal = edit(editor, "x", "fill", "z", "[1, ::-1]")  # of the slice's shape: in the slice's order
    assert x[1].tolist() == [3, 2, 1, 0]
    assert proposal.remarks == ("Converted from i64 to f32, rounded to the nearest.",)
    edit(editor, "x", "fill", "w")
    assert torch.equal(x, w.float())
    for operand, words in (
        ("q", r"has the shape \[2, 2\], and the slice \[3, 4\]"),
        ("nothing", "no tensor and no file"),
    ):
        with pytest.raises(EditError, match=words):
            editor.propose(Edit("x", "", "fill", operand))
    with pytest.raises(EditError, match="shares memory"):
        editor.propose(Edit("x", "", "fill", "x"))


def test_filling_integers_bools_and_narrow_floats_only_with_what_they_hold() -> None:
    tensors = {
        "f16": torch.zeros(2, dtype=torch.float16), "i8": torch.zeros(2, dtype=torch.int8),
        "b": torch.zeros(2, dtype=torch.bool), "u64": torch.zeros(2, dtype=torch.uint64),
        "f8": torch.zeros(2, dtype=torch.float8_e4m3fn), "c": torch.zeros(2, dtype=torch.complex64),
        "large": torch.tensor([1.0, 1e6]), "ints": torch.tensor([1, 300]), "minus": torch.tensor([1, -1]),
        "infinite": torch.tensor([1.0, float("inf")]), "few": torch.tensor([3, 4]),
    }  # fmt: skip
    editor = editor_of(tensors)
    for name, operand, words in (
        ("f16", "large", "1 of 2 values would overflow float16"),
        ("f8", "infinite", "1 of 2 values would overflow float8_e4m3fn"),
        ("i8", "ints", "1 of 2 values would not fit int8"),
        ("u64", "minus", "1 of 2 values would not fit uint64"),
        ("i8", "large", "is filled from integers only, not from float32"),
        ("b", "few", "bool is filled from bool only"),
        ("f16", "c", "cannot hold complex values"),
    ):
        with pytest.raises(EditError, match=words):
            editor.propose(Edit(name, "", "fill", operand))
    for name in ("f16", "i8", "u64", "f8", "c"):
        edit(editor, name, "fill", "few")
        assert tensors[name].to(torch.complex64).real.tolist() == [3, 4]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<i2", "|u1"])
def test_filling_from_an_array_in_a_file(order: Any, kind: str, tmp_path: Path) -> None:
    array = np.array(np.arange(6).reshape(2, 3), dtype=kind, order=order)
    np.save(tmp_path / "a.npy", array)
    tensor = torch.zeros(2, 3)
    edit(editor_of(holder(x=tensor)), "x", "fill", str(tmp_path / "a.npy"))
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_bits_of_types_that_numpy_has_not(tmp_path: Path) -> None:
    bits = np.arange(4, dtype=ml_dtypes.bfloat16).view(np.uint16)
    np.save(tmp_path / "a.npy", bits)
    tensor = torch.zeros(4, dtype=torch.bfloat16)
    proposal = edit(editor_of(holder(x=tensor)), "x", "fill", str(tmp_path / "a.npy"))
    assert tensor.tolist() == [0, 1, 2, 3]
    assert proposal.remarks == ("Its uint16 are taken as the bits of bf16.",)


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([None, {}]), allow_pickle=True)
    np.save(tmp_path / "shape.npy", np.zeros((3, 3)))
    np.save(tmp_path / "short.npy", np.zeros(2))
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:-3])
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npy").touch()
    editor = editor_of(holder(x=torch.zeros(2)))
    for name, words in (
        ("objects", "elements of the type object"), ("shape", "has the shape"), ("short", "ends early"),
        ("text", "not a .npy file"), ("empty", "not a .npy file"), ("absent", "no file"),
    ):  # fmt: skip
        with pytest.raises(EditError, match=words):
            editor.propose(Edit("x", "", "fill", str(tmp_path / f"{name}.npy")))
    with pytest.raises(EditError, match="no tensor and no file"):
        editor.propose(Edit("x", "", "fill", str(tmp_path)))


# What is refused


def _inference() -> Any:
    with torch.inference_mode():
        return torch.ones(3)


def _quantised() -> Any:
    return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "expanded": (lambda: torch.ones(3, 1).expand(3, 4), "share memory"),
    "overlapping": (lambda: torch.arange(9.0).as_strided((4, 3), (2, 1)), "share memory"),
    "quantised": (_quantised, "quantised"),
    "inference": (_inference, "inference mode"),
    "meta": (lambda: torch.ones(3, device="meta"), "meta device"),
    "conjugated": (lambda: torch.ones(3, dtype=torch.complex64).conj(), "conjugated"),
    "bits": (lambda: torch.zeros(3, dtype=torch.uint8).view(torch.bits8), "bits8 are not written"),
    "lazy": (lambda: nn.LazyLinear(3).weight, "not initialised"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_edited_is_refused_in_one_sentence(kind: str) -> None:
    make, words = REFUSED[kind]
    with pytest.raises(EditError, match=f"^x cannot be edited: .*{words}"):
        editor_of(holder(x=make())).propose(Edit("x", "", "zero"))


def test_pieces_of_wrappers_sparse_tensors_and_arrays_are_refused() -> None:
    pair = Pair(torch.ones(3), torch.ones(1))
    sparse = torch.eye(3).to_sparse()
    editor = editor_of({"pair": pair, "sparse": sparse, "array": np.ones(3), "flat": _flat()})
    for name, words in (
        ("pair.qdata", "a field of a Pair"), ("sparse.values", "a field of a sparse_coo tensor"),
        ("array", "array of numpy"), ("flat", "sharded parameters"),
    ):  # fmt: skip
        with pytest.raises(EditError, match=f"^{name} cannot be edited: .*{words}"):
            editor.propose(Edit(name, "", "zero"))


def _flat() -> Any:
    tensor = torch.ones(3)
    tensor._is_flat_param = True
    return tensor


def test_read_only_memory_and_memory_that_is_a_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "values"
    path.write_bytes(np.ones(4096, np.float32).tobytes())
    with path.open("r+b") as file:
        read_only = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        shared = mmap.mmap(file.fileno(), 0)
        private = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    with pytest.warns(UserWarning, match="not writable"):
        frozen = torch.frombuffer(read_only, dtype=torch.float32)
    tensors = {
        "frozen": frozen, "shared": torch.frombuffer(shared, dtype=torch.float32),
        "private": torch.frombuffer(private, dtype=torch.float32),
    }  # fmt: skip
    editor = editor_of(tensors)
    with pytest.raises(EditError, match="frozen cannot be edited: its memory is read-only"):
        editor.propose(Edit("frozen", "", "zero"))
    with pytest.raises(EditError, match=r"shared cannot be edited: its memory is the file .*values itself"):
        editor.propose(Edit("shared", "", "zero"))
    edit(editor, "private", "zero")
    assert path.read_bytes() == np.ones(4096, np.float32).tobytes()


def test_a_tensor_of_shared_memory_is_edited() -> None:
    tensor = torch.ones(300).share_memory_()
    edit(editor_of(holder(x=tensor)), "x", "zero")
    assert not tensor.any()


def test_numbers_that_are_none_and_slices_that_do_not_fit() -> None:
    editor = editor_of(holder(x=torch.ones(3)))
    for operand in ("", " ", "zero", "1 2", "0.1" * 50):
        with pytest.raises(EditError, match=r"number"):
            editor.propose(Edit("x", "", "set", operand))
    with pytest.raises(SliceError):
        editor.propose(Edit("x", "[5]", "set", "1"))
    with pytest.raises(EditError, match="no tensor"):
        editor.propose(Edit("y", "", "set", "1"))
    with pytest.raises(StoppedError):
        editor.propose(Edit("x", "", "set", "1"), lambda: True)
    with pytest.raises(EditError, match="nothing to undo"):
        editor.undo()


# What has changed meanwhile


@pytest.mark.parametrize("through", ["counted", "uncounted", "elsewhere in it", "replaced"])
def test_a_tensor_that_changed_since_it_was_shown_is_not_written_to(through: str) -> None:
    model = holder(x=nn.Parameter(torch.ones(4)), y=nn.Parameter(torch.ones(4)))
    editor = editor_of(model)
    proposals = tuple(editor.propose(Edit(name, "[:2]", "add", "1")) for name in ("y", "x"))
    if through == "replaced":
        model._parameters["x"] = nn.Parameter(torch.ones(4))
    elif through == "uncounted":
        model._parameters["x"].data[0] = 7
    else:
        with torch.no_grad():
            model._parameters["x"][3 if through == "elsewhere in it" else 0] = 7
    before = bytes_of(model._parameters["x"])
    with pytest.raises(EditError, match=r"^x .*(since|staged)"):
        editor.apply(proposals)
    assert bytes_of(model._parameters["x"]) == before
    assert model._parameters["y"].tolist() == [1, 1, 1, 1]  # all or none
    assert (editor.changes, editor.undoable) == ((), 0)


def test_what_a_tensor_is_filled_from_must_be_as_it_was() -> None:
    x, y = torch.zeros(3), torch.ones(3)
    editor = editor_of({"x": x, "y": y})
    proposal = editor.propose(Edit("x", "", "fill", "y"))
    y.data.fill_(2)
    with pytest.raises(EditError, match="what x is filled from has other values"):
        editor.apply((proposal,))
    assert not x.any()


def test_if_a_write_fails_what_was_written_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.zeros(3), torch.zeros(3)
    editor = editor_of({"x": x, "y": y})
    proposals = tuple(editor.propose(Edit(name, "", "set", "1")) for name in ("x", "y"))
    inside, done = editor._inside, []
    write = inside._write

    def fail_at_the_second(plan: Any) -> None:
        write(plan)
        done.append(plan)
        if len(done) == 2:
            raise RuntimeError("out of memory")

    monkeypatch.setattr(inside, "_write", fail_at_the_second)
    with pytest.raises(EditError, match="nothing was changed: RuntimeError: out of memory"):
        editor.apply(proposals)
    assert len(done) == 2
    assert not x.any()
    assert not y.any()


def test_undoing_goes_back_step_by_step_and_not_over_the_values_of_others() -> None:
    x, y = torch.zeros(3), torch.zeros(3)
    editor = editor_of({"x": x, "y": y})
    edit(editor, "x", "set", "1")
    edit(editor, "y", "set", "2")
    edit(editor, "x", "add", "2")
    assert editor.undo().value == "2"
    assert (x.tolist(), y.tolist()) == ([1] * 3, [2] * 3)
    y.data.fill_(9)
    with pytest.raises(EditError, match="y cannot be undone: it holds other values"):
        editor.undo()
    assert y.tolist() == [9] * 3
    assert editor.undo().name == "x"
    assert x.tolist() == [0] * 3
    assert [change.name for change in editor.changes] == ["y"]  # it was made, and stays said
    assert editor.undoable == 0


def test_an_edit_can_be_undone_after_the_model_was_listed_anew() -> None:
    model = TiedModel()
    editor = editor_of(model)
    before = bytes_of(model.ln_f.weight)
    edit(editor, "ln_f.weight", "scale", "3")
    editor.attach(source_of(model))
    editor.undo()
    assert bytes_of(model.ln_f.weight) == before


def test_a_staged_edit_outlives_a_new_listing_but_not_the_source() -> None:
    model = TiedModel()
    editor = editor_of(model)
    proposal = editor.propose(Edit("ln_f.weight", "", "set", "3"))
    editor.attach(source_of(model))
    editor.apply((proposal,))
    assert model.ln_f.weight.tolist() == [3] * 8
    closed = source_of(model)
    editor.attach(closed)
    closed.close()
    for late in (editor.undo, lambda: editor.propose(proposal.edit), lambda: editor.apply((proposal,))):
        with pytest.raises(EditError, match=r"closed|nothing was changed"):
            late()
    assert model.ln_f.weight.tolist() == [3] * 8


def test_what_is_kept_for_undoing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.live.inside.editor.MOST_NBYTES", 40)
    x = torch.zeros(8)
    editor = editor_of(holder(x=x, large=torch.zeros(11)))
    for number in range(3):
        edit(editor, "x", "set", str(number + 1), "[:4]")
    assert (len(editor.changes), editor.undoable) == (3, 2)
    editor.undo()
    editor.undo()
    with pytest.raises(EditError, match="nothing to undo"):
        editor.undo()
    assert x.tolist() == [1] * 4 + [0] * 4
    with pytest.raises(EditError, match="choose a smaller slice"):
        editor.propose(Edit("large", "", "zero"))
    both = tuple(editor.propose(Edit("x", at, "set", "5")) for at in ("[:4]", "[4:]"))
    edit(editor, "large", "set", "1", "[:9]")
    assert len(both) == 2


def test_a_large_tensor_is_edited_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.live.inside.editor.BLOCK_NBYTES", 28)
    base = torch.arange(210.0).reshape(5, 6, 7)
    tensor = base.permute(2, 0, 1)
    expected = (tensor + 0.5).clone()
    editor = editor_of(holder(x=tensor))
    proposal = edit(editor, "x", "add", "0.5")
    assert torch.equal(tensor, expected)
    assert proposal.after.norm == pytest.approx(expected.double().norm().item())
    editor.undo()
    assert torch.equal(tensor, expected - 0.5)


def test_parametrized_weights_say_what_is_computed_from_them() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    nn.utils.parametrizations.weight_norm(model[0])
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(model[1])
    prune.identity(model[2], "weight")
    editor = editor_of(model)
    for name, computed in (
        ("0.parametrizations.weight.original0", "0.weight"), ("1.weight_g", "1.weight"), ("2.weight_orig", "2.weight"),
    ):  # fmt: skip
        before = model[int(computed[0])](torch.ones(1, 3)).detach()
        said = edit(editor, name, "scale", "2").remarks
        assert said == (f"It is the original from which {computed} is computed.",)
        assert not torch.equal(before, model[int(computed[0])](torch.ones(1, 3)).detach())
    assert editor.propose(Edit("0.bias", "", "zero")).remarks == ()


@pytest.mark.parametrize("fused", [False, True])
def test_training_after_an_edit_and_its_undo_is_bit_identical(fused: bool) -> None:
    def train(is_edited: bool) -> list[bytes]:
        torch.manual_seed(0)
        model = TiedModel()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=fused)
        for step in range(6):
            if is_edited and step == 3:
                editor = editor_of(model)
                edit(editor, "lm_head.weight", "add", "0.1")
                edit(editor, "h.0.attn.weight", "set", "nan", "[::2]")
                edit(editor, "h.1.mlp.0.bias", "scale", "-3")
                for _ in range(3):
                    editor.undo()
            loss = model(torch.arange(20)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        states = [value for state in optimizer.state.values() for value in state.values()]
        return [bytes_of(tensor) for tensor in (*model.parameters(), *states)]

    assert train(is_edited=True) == train(is_edited=False)


def test_a_graph_that_was_made_before_an_edit_notices_it() -> None:
    weight = nn.Parameter(torch.ones(3))
    loss = (weight * weight).sum()
    edit(editor_of(holder(w=weight)), "w", "add", "1")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    assert weight.requires_grad
    assert weight.is_leaf


def test_an_edit_within_inference_mode_is_counted() -> None:
    weight = nn.Parameter(torch.ones(3))
    version = weight._version
    with torch.inference_mode():
        edit(editor_of(holder(w=weight)), "w", "add", "1")
    assert weight._version > version


axes = st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from([-5, -3, -2, -1, 1, 2, 3, 4, 7]))


@given(axes, axes)
def test_overlap_is_exact_within_a_tensor(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    windows = [parse_window(f"[{start}:{stop}:{step}]", (12,)) for start, stop, step in (one, other)]
    places = [{axis.index(place) for place in range(axis.length)} for (axis,) in (window.axes for window in windows)]
    editor = editor_of(holder(x=torch.zeros(12)))
    proposals = [editor.propose(Edit("x", make_window(window.axes).expression, "zero")) for window in windows]
    assert overlap(proposals[0], proposals[1]) == bool(places[0] & places[1])
