"""What the tree can be sorted by, with one letter each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from tui_params.core.figures import Figures
from tui_params.core.name_order import natural_key
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.order import Sort

FiguresOf = Callable[[str], "Figures | None"]


class SortKey(msgspec.Struct, frozen=True):
    """One thing to sort by: its letter, its name, a short one for a column, a title, and its value for a tensor.

    ``is_total``: a module stands where the sum over its tensors does, not where the first of them does. ``is_live``:
    only a model in memory has it. ``is_across``: only two sources that are compared have it.
    """

    letter: str
    name: str
    short: str
    title: str
    of_info: Callable[[TensorInfo], float | str | None] | None = None
    of_figures: Callable[[Figures], float | None] | None = None
    is_total: bool = False
    is_live: bool = False
    is_across: bool = False

    @property
    def is_measured(self) -> bool:
        """Whether tensors have to be read for it."""
        return self.of_info is None and self.name != "name"

    @property
    def is_word(self) -> bool:
        """Whether A comes first, not the largest."""
        return self.name in ("name", "dtype", "device")


class SortChoice(msgspec.Struct, frozen=True):
    """What the user chose: the name of a key, its order, and whether the tree is one flat list."""

    name: str
    is_reversed: bool = False
    is_flat: bool = False

    @property
    def is_default(self) -> bool:
        return self == SortChoice("name")

    @property
    def key(self) -> SortKey:
        return next(key for key in KEYS if key.name == self.name)


def trainable_of(info: TensorInfo) -> bool | None:
    """Whether a parameter is trainable; None for what is none (a buffer, a state of an optimizer) or is not known."""
    return info.requires_grad if info.kind == "parameter" else None


KEYS: tuple[SortKey, ...] = (
    SortKey("n", "name", "name", "2 before 10"),
    SortKey("p", "numel", "numel", "number of elements", of_info=lambda info: info.numel, is_total=True),
    SortKey("b", "nbytes", "bytes", "size of the elements", of_info=lambda info: info.nbytes, is_total=True),
    SortKey("d", "dtype", "dtype", "element type", of_info=lambda info: info.dtype.short),
    SortKey("t", "trainable", "train", "requires_grad", of_info=trainable_of, is_live=True),
    SortKey("v", "device", "device", "where it is", of_info=lambda info: info.device, is_live=True),
    SortKey("m", "mean", "mean", "average", of_figures=lambda figures: figures.mean),
    SortKey("s", "std", "std", "standard deviation", of_figures=lambda figures: figures.std),
    SortKey("e", "min", "min", "least value", of_figures=lambda figures: figures.min),
    SortKey("x", "max", "max", "greatest value", of_figures=lambda figures: figures.max),
    SortKey("a", "absmax", "absmax", "largest magnitude", of_figures=lambda figures: figures.abs_max),
    SortKey("r", "rms", "RMS", "root mean square", of_figures=lambda figures: figures.rms),
    SortKey("l", "l2", "L2", "norm", of_figures=lambda figures: figures.l2_norm),
    SortKey("g", "grad", "grad L2", "norm of the gradient", of_figures=lambda figures: figures.l2_norm, is_live=True),
    SortKey("c", "change", "change", "since the look before", is_live=True),
    SortKey("h", "gradchange", "grad chg", "change of the gradient", is_live=True),
    SortKey("c", "across", "change", "||B - A|| / ||A||", is_across=True),
    SortKey("k", "cosine", "cosine", "between A and B", is_across=True),
    SortKey("f", "share", "differ", "share that differs", is_across=True),
    SortKey("z", "zeros", "zeros", "their share", of_figures=lambda figures: figures.zeros / max(1, figures.count)),
    SortKey("u", "subnormals", "subnrm", "share of subnormals", of_figures=lambda f: f.subnormals / max(1, f.count)),
    SortKey("i", "nonfinite", "NaN, Inf", "how many", of_figures=lambda figures: figures.non_finite),
)
"""Everything the tree can be sorted by; the short names are those of the detail pane."""


def is_offered(name: str, *, of_live: bool, of_across: bool, is_live: bool, is_across: bool) -> bool:
    """Whether a column or an order is offered: what only a live model or a comparison has is not elsewhere.

    Two sources are compared in place of two looks.
    """
    is_of_looks = name in ("change", "gradchange")
    return (is_live or not of_live) and (is_across or not of_across) and not (is_across and is_of_looks)


class Shown(msgspec.Struct, frozen=True):
    """The column that the tree is sorted by.

    ``is_of_figures``: it is a statistic, and a module stands where its first tensor does; otherwise where the sum over
    its tensors does. ``read`` are the tensors that were read when the tree was sorted; None if that does not matter.
    """

    name: str
    is_ascending: bool = False
    is_of_figures: bool = False
    read: frozenset[str] | None = None

    def has_decided(self, info: TensorInfo) -> bool:
        """Whether the value of a tensor was known when the tree was sorted."""
        return self.read is None or info.name in self.read


ValueOf = Callable[[str], "float | None"]


def value_of(choice: SortChoice, figures_of: FiguresOf, change_of: ValueOf) -> ValueOf:
    """What a tensor of a name is sorted by, as far as it is measured: None where it is not known (yet)."""
    key = choice.key
    get = key.of_figures
    if get is None:
        return lambda name: change_of(measured_name(key, name))

    def value(name: str) -> float | None:
        figures = figures_of(measured_name(key, name))
        return get(figures) if figures is not None else None

    return value


def sort_of(
    choice: SortChoice,
    figures_of: FiguresOf,
    kept: frozenset[str] | None = None,
    change_of: ValueOf = lambda name: None,
) -> Sort | None:
    """The order for ``core.tree.Tree``; None is the natural one. Numbers begin with the largest, words with A.

    Tensors that are not among ``kept`` (by name) have no value, so that what a filter leaves decides alone.
    ``change_of`` gives what the change of a tensor since an earlier look is sorted by.
    """
    key = choice.key
    of_info = key.of_info

    def is_left(info: TensorInfo) -> bool:
        return kept is None or info.name in kept

    if of_info is not None:
        is_ascending = choice.is_reversed is not key.is_word
        described = of_info if kept is None else lambda info: of_info(info) if is_left(info) else None
        return Sort(described, is_ascending=is_ascending, is_flat=choice.is_flat, is_total=key.is_total)
    if key.is_measured:
        value = value_of(choice, figures_of, change_of)
        return Sort(
            lambda info: value(info.name) if is_left(info) else None,
            is_ascending=choice.is_reversed,
            is_flat=choice.is_flat,
        )
    if choice.is_reversed:
        return Sort(lambda info: natural_key(info.name), is_flat=choice.is_flat)
    # Without any value the natural order stays.
    return Sort(lambda info: None, is_flat=True) if choice.is_flat else None


def measured_name(key: SortKey, name: str) -> str:
    """The tensor whose statistic decides the place of the one of that name: itself, or its gradient."""
    return f"{name}.grad" if key.name in ("grad", "gradchange") else name


def shown_of(
    choice: SortChoice,
    tensors: Iterable[TensorInfo],
    figures_of: FiguresOf,
    change_of: ValueOf = lambda name: None,
) -> Shown | None:
    """The column that an order is by; None for the natural order."""
    key = choice.key
    if choice.is_default:
        return None
    is_ascending = choice.is_reversed is not key.is_word
    if not key.is_measured:
        return Shown(key.name, is_ascending)
    if key.of_figures is None:
        read = frozenset(info.name for info in tensors if change_of(measured_name(key, info.name)) is not None)
    else:
        read = frozenset(info.name for info in tensors if figures_of(measured_name(key, info.name)) is not None)
    return Shown(key.name, is_ascending, is_of_figures=True, read=read)


def describe(choice: SortChoice, width: int) -> str:
    """The order in words: ``sorted by mean, reversed, flat``; shorter in a narrow terminal."""
    words = f"{'sorted ' if width >= 100 else ''}by {choice.key.short}"
    return words + (", reversed" if choice.is_reversed else "") + (", flat" if choice.is_flat else "")
