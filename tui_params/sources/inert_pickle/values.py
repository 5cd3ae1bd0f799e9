"""Inert values: what the pickle machine builds in place of the objects that a pickle describes.

A pickle can make none of them do anything: they keep what was written, and compare by identity. Numbers, strings,
lists, tuples and dicts are Python's own; everything else is one of the classes below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tui_params.core.text import clean, plural

UNFIT: Any = object()
"""What a constructor returns for arguments that it does not understand."""

TEXT_LIMIT = 200
_ITEMS_SHOWN = 20
_NESTING_SHOWN = 3


class Stub:
    """The name of a global, which is never looked up.

    ``build`` is our own version of the constructor, for the few names that are pure data; otherwise None.
    """

    __slots__ = ("build", "module", "name")

    def __init__(self, module: str, name: str, build: Callable[[tuple[Any, ...]], Any] | None = None) -> None:
        self.module = module
        self.name = name
        self.build = build

    def __str__(self) -> str:
        return clean(f"{self.module}.{self.name}", TEXT_LIMIT)


class Obj:
    """An object of a class that is not known here: the class, the arguments and the state, as they were written.

    ``items`` and ``pairs`` are what was appended to it or set in it, for subclasses of list and dict.
    """

    __slots__ = ("args", "cls", "items", "pairs", "state")

    def __init__(self, cls: Any, args: Any = (), pairs: list[Any] | None = None) -> None:
        self.cls = cls
        self.args = args
        self.state: Any = None
        self.items: list[Any] | None = None
        self.pairs = pairs


class Text:
    """A value that matters only for its printed form: a device, a path, a complex number, a layout."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Encoded:
    """Bytes that protocols 0 to 2 write as a latin-1 string. They are kept as that string: decoding would copy them."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class ByteArray:
    """A bytearray: the bytes that it is made of, or the Encoded. Unlike bytes it is no key."""

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data


def raw_of(value: Any) -> Any:
    """What holds the bytes of ``value``: bytes, or the latin-1 text of an Encoded; any other value as it is."""
    if type(value) is ByteArray:
        value = value.data
    return value.text if type(value) is Encoded else value


class SetValue:
    """A set or frozenset as the list of its items: hashing values that a hostile file nests would take for ever."""

    __slots__ = ("is_frozen", "items")

    def __init__(self, items: list[Any] | tuple[Any, ...], *, is_frozen: bool = False) -> None:
        self.items: Any = items
        self.is_frozen = is_frozen


class OddKey:
    """A dict key that is not a plain scalar, wrapped so that it is hashed by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Storage:
    """A persistent id of a storage, unchecked: class, key, location, numel, and the view tuple of legacy files."""

    __slots__ = ("cls", "key", "location", "numel", "view")

    def __init__(self, cls: Any, key: Any, location: Any, numel: Any, view: Any = None) -> None:
        self.cls = cls
        self.key = key
        self.location = location
        self.numel = numel
        self.view = view


class TensorValue:
    """The arguments of one of torch's strided tensor builders, unchecked.

    ``dtype`` is a Stub such as ``torch.bfloat16`` where the builder names one, else None (the storage class says).
    ``quantizer`` is the parameter tuple of a quantised tensor.
    """

    __slots__ = ("dtype", "flags", "offset", "quantizer", "requires_grad", "shape", "storage", "stride")

    def __init__(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        stride: Any,
        requires_grad: Any = None,
        dtype: Any = None,
        flags: Any = None,
        quantizer: Any = None,
    ) -> None:
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.stride = stride
        self.requires_grad = requires_grad
        self.dtype = dtype
        self.flags = flags
        self.quantizer = quantizer


class Parameter:
    """A parameter: the value that it wraps, its own requires_grad, and attributes that a subclass saved."""

    __slots__ = ("data", "requires_grad", "state")

    def __init__(self, data: Any, requires_grad: Any, state: Any = None) -> None:
        self.data = data
        self.requires_grad = requires_grad
        self.state = state


class Composite:
    """A tensor that is made of other tensors: sparse, nested, or a wrapper subclass.

    ``kind`` describes it in words; ``shape`` and ``dtype`` are its own, unchecked; ``parts`` are its named pieces.
    ``is_local`` says that its one part is listed in place of the whole, as the local shard of a DTensor is; ``layout``
    is then what torch says of the place of that part in the whole, unchecked.
    """

    __slots__ = ("dtype", "is_local", "kind", "layout", "notes", "parts", "shape")

    def __init__(
        self,
        kind: str,
        shape: Any,
        parts: dict[str, Any],
        dtype: Any = None,
        *,
        is_local: bool = False,
        notes: tuple[str, ...] = (),
        layout: Any = None,
    ) -> None:
        self.layout = layout
        self.kind = kind
        self.shape = shape
        self.parts = parts
        self.dtype = dtype
        self.is_local = is_local
        self.notes = notes


class Unread:
    """A tensor or something else that holds numbers, of which only the place is known, and why it cannot be read.

    ``is_faulty`` says that the file is to blame.
    """

    __slots__ = ("is_faulty", "reason")

    def __init__(self, reason: str, *, is_faulty: bool = False) -> None:
        self.reason = reason
        self.is_faulty = is_faulty


class TypedTensor:
    """A tensor of a subclass that keeps the plain layout, and the attributes that were saved with it."""

    __slots__ = ("cls", "data", "state")

    def __init__(self, cls: Any, data: Any, state: Any) -> None:
        self.cls = cls
        self.data = data
        self.state = state


class ArrayType:
    """A numpy dtype, unchecked: ``code`` is a string such as ``f4``, or the Stub of a class of ml_dtypes.

    ``state`` is what numpy saves beside it: (version, byte order, subarray, names, fields, ...).
    """

    __slots__ = ("code", "state")

    def __init__(self, code: Any) -> None:
        self.code = code
        self.state: Any = None

    @property
    def is_big_endian(self) -> bool:
        return type(self.state) is tuple and len(self.state) > 1 and self.state[1] == ">"


class ArrayValue:
    """A numpy array or scalar inside the pickle, unchecked: ``data`` is its bytes, or a list of objects.

    ``order`` is the order of the elements, ``C``, ``F`` or ``K``; with ``K`` they are in C order of ``shape``, and
    ``axes`` is how the dimensions are transposed after that. ``cls`` is the class where it is not numpy's own.
    ``mask`` is that of a masked array. ``is_scalar`` says that it is a scalar, which can be a key as no array can.
    """

    __slots__ = ("axes", "cls", "data", "dtype", "is_scalar", "mask", "order", "shape")

    def __init__(
        self, dtype: Any = None, shape: Any = (), data: Any = None, order: Any = "C", axes: Any = None, cls: Any = None
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.data = data
        self.order = order
        self.axes = axes
        self.cls = cls
        self.mask: Any = None
        self.is_scalar = False

    def set_state(self, state: Any) -> None:
        """Take what numpy passes to ``__setstate__``; anything else leaves the array without data.

        (version, shape, dtype, is Fortran order, data), without the version before numpy 1.0; a masked array has its
        mask and its fill value after them (numpy/ma/core.py, ``__getstate__``).
        """
        if type(state) is not tuple or len(state) not in (4, 5, 7):
            return
        if len(state) != 4:
            state = state[1:]
        self.shape, self.dtype, is_fortran, self.data = state[:4]
        self.order = "F" if is_fortran else "C"
        if len(state) == 6:
            self.mask = state[4]


SCALARS = frozenset({type(None), bool, int, float, str})
"""The types whose values print as themselves."""


def render(value: Any, depth: int = 0) -> str:
    """``value`` as one line of bounded length; the work is bounded too, whatever is nested in it."""
    if type(value) is str:
        if depth:
            return clean(repr(value[:TEXT_LIMIT]), 60)
        return clean(value, TEXT_LIMIT)
    return clean(_render_other(value, depth), TEXT_LIMIT)


def _render_other(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is int:
        return str(value) if value.bit_length() <= 512 else f"an integer of {value.bit_length():,} bits"
    if kind in SCALARS:
        return str(value)
    if kind in (bytes, Encoded, ByteArray):
        return plural(len(raw_of(value)), "byte")
    if kind is Text:
        return str(value.text)
    if kind is Stub:
        return str(value)
    if kind is OddKey:
        return render(value.value, depth)
    if kind is ArrayValue:
        return render_array(value)
    if kind is ArrayType:
        code = value.code.name if type(value.code) is Stub else render(value.code, depth)
        return f">{code}" if value.is_big_endian else code
    if kind in (TensorValue, Parameter, Composite, TypedTensor):
        return "a tensor"
    if kind is Storage:
        return "a storage"
    return _render_container(value, depth)


def _render_container(value: Any, depth: int) -> str:
    kind = type(value)
    if depth > _NESTING_SHOWN:
        return "…"
    if kind is Obj:
        name = render(value.cls, depth + 1)
        args = value.args if type(value.args) is tuple else (value.args,)
        if not args or depth >= _NESTING_SHOWN:
            return f"{name}(…)" if args or value.state is not None else f"{name}()"
        return f"{name}({_render_items(args, depth)})"
    if depth >= _NESTING_SHOWN:
        return "…"
    if kind is dict:
        return f"a dict of {plural(len(value), 'item')}" if value else "{}"
    items = value.items if kind is SetValue else value
    body = _render_items(items, depth)
    if kind is list:
        return f"[{body}]"
    if kind is SetValue:
        return f"{{{body}}}" if items else "set()"
    return f"({body},)" if len(items) == 1 else f"({body})"


def _render_items(items: Any, depth: int) -> str:
    if not isinstance(items, (list, tuple)):
        return render(items, depth + 1)
    if len(items) <= _ITEMS_SHOWN >> depth:
        return ", ".join(render(item, depth + 1) for item in items)
    return ", ".join(render(item, depth + 1) for item in items[:3]) + f", … {len(items):,} items"


def render_array(value: ArrayValue) -> str:
    """A numpy array in a few words; a scalar as its value, if its type is a plain number."""
    name = render(value.dtype) if type(value.dtype) is ArrayType else "unknown type"
    shape = value.shape
    if shape == () and type(value.data) in (bytes, Encoded):
        number = _scalar_number(name, value.data, ">" if name[:1] == ">" else "<")
        if number is not None:
            return number
    if type(shape) is not tuple:
        return f"a numpy value of {name}"
    return f"numpy {name} of shape {render(list(shape), 1)}"


_NUMPY_CODES = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "b1": "?"}
_NUMPY_CODES |= {"u8": "Q", "u4": "I", "u2": "H", "u1": "B"}


def _scalar_number(name: str, data: Any, order: str) -> str | None:
    from struct import calcsize, unpack

    code = _NUMPY_CODES.get(name.lstrip("<>"))
    if code is None:
        return None
    raw = data if type(data) is bytes else data.text[:16].encode("latin-1", "replace")
    return str(unpack(order + code, raw)[0]) if len(raw) == calcsize(code) else None
