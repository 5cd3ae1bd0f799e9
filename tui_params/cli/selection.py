"""Finding the tensors that a NAME on the command line means."""

from __future__ import annotations

from heapq import nlargest

from tui_params.core.query.names import glob_of_name, is_glob
from tui_params.core.source import Source, some_below, value_beside
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.core.tree.tree import Tree
from tui_params.errors import UnknownTensorError

_CANDIDATES = 200


def select(source: Source, name: str) -> list[TensorInfo]:
    """The tensor of that name; else the tensors that match a glob, or those below a module, in the tree's order.

    A name with control characters may also be written with escapes, as it is printed.
    Raises UnknownTensorError, which has the nearest names.
    """
    exact = _exact(source, name)
    if exact is not None:
        return [exact]
    tensors = list(Tree(source.listing).tensors_below(None))
    below = name if name.endswith(".") else f"{name}."  # a shell completes the name of a module with a dot
    if is_glob(name):
        test = glob_of_name(name)
        found = [info for info in tensors if test.holds(info.name, info.name.lower())]
    else:
        found = [info for info in tensors if info.name.startswith(below)]
    found = found or [info for info in tensors if clean(info.name).startswith(below)]
    if not found:
        raise unknown(source, name)
    return found


def find(source: Source, name: str) -> TensorInfo:
    """The tensor of exactly that name, or the only one whose name is printed like that.

    Raises UnknownTensorError, which has the nearest names.
    """
    info = _exact(source, name)
    if info is None:
        raise unknown(source, name)
    return info


def _exact(source: Source, name: str) -> TensorInfo | None:
    try:
        return source.find(name)
    except UnknownTensorError:
        listing = source.listing
        printed = [info for info in (*listing.tensors, *listing.gradients.values()) if clean(info.name) == name]
        return printed[0] if len(printed) == 1 else None


def unknown(source: Source, name: str) -> UnknownTensorError:
    """The error for a name that no tensor has."""
    sentence = f"{clean(source.label)} has no tensor {clean(name, 200)!r}"
    # A sparse or a wrapped tensor is listed by its fields, and a module by its tensors.
    below = [clean(other, 200) for other in source.below(name)]
    beside = some_below(below) or value_beside(source.listing, name)
    if beside:
        return UnknownTensorError(sentence + beside)
    close = [clean(match, 200) for match in close_names(name, [info.name for info in source.listing.tensors])]
    return UnknownTensorError(f"{sentence}; the nearest names are {', '.join(close)}" if close else sentence)


def close_names(name: str, names: list[str]) -> list[str]:
    """At most three names that ``name`` may be a misspelling of, the nearest first.

    difflib needs quadratic time, so it is only given the names that begin and end most like this one.
    """
    if len(name) > 1000:
        return []
    backwards = name[::-1]

    def likeness(other: str) -> int:
        return _shared(name, other) + _shared(backwards, other[::-1])

    from difflib import get_close_matches

    return get_close_matches(name, nlargest(_CANDIDATES, names, key=likeness), 3, 0.6)


def _shared(a: str, b: str) -> int:
    """The length of the prefix that both have in common."""
    return next((place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
