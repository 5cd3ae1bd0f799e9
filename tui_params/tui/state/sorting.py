"""What the tree can be sorted by, with one letter each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.order import Sort, natural_key

FiguresOf = Callable[[str], "Figures | None"]


class SortKey(msgspec.Struct, frozen=True):
    """One thing to sort by: its letter, its name, a short one for a column, a title, and its value for a tensor."""

    letter: str
    name: str
    short: str
    title: str
    of_info: Callable[[TensorInfo], float | str] | None = None
    of_figures: Callable[[Figures], float | None] | None = None


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


KEYS: tuple[SortKey, ...] = (
    SortKey("n", "name", "name", "2 before 10"),
    SortKey("p", "numel", "numel", "number of elements", of_info=lambda info: info.numel),
    SortKey("b", "nbytes", "bytes", "size of the elements", of_info=lambda info: info.nbytes),
    SortKey("d", "dtype", "dtype", "element type", of_info=lambda info: info.dtype.short),
    SortKey("m", "mean", "mean", "average", of_figures=lambda figures: figures.mean),
    SortKey("s", "std", "std", "standard deviation", of_figures=lambda figures: figures.std),
    SortKey("a", "absmax", "absmax", "largest magnitude", of_figures=lambda figures: figures.abs_max),
    SortKey("r", "rms", "RMS", "root mean square", of_figures=lambda figures: figures.rms),
    SortKey("l", "l2", "L2", "norm", of_figures=lambda figures: figures.l2_norm),
    SortKey("z", "zeros", "zeros", "their share", of_figures=lambda figures: figures.zeros / max(1, figures.count)),
    SortKey("u", "subnormals", "subnrm", "share of subnormals", of_figures=lambda f: f.subnormals / max(1, f.count)),
    SortKey("i", "nonfinite", "NaN, Inf", "how many", of_figures=lambda figures: figures.non_finite),
)
"""Everything the tree can be sorted by; the short names are those of the detail pane."""


class Shown(msgspec.Struct, frozen=True):
    """The column that shows what the tree is sorted by: its heading, and the text for a tensor in so many cells.

    A module shows the bytes of everything below it if ``is_total``, else the value of its first tensor, which decides
    its place. ``read`` are the tensors that were read when the tree was sorted; None if that does not matter.
    """

    heading: str
    of: Callable[[TensorInfo, int], str]
    is_total: bool = False
    read: frozenset[str] | None = None

    def has_decided(self, info: TensorInfo) -> bool:
        """Whether the value of a tensor was known when the tree was sorted."""
        return self.read is None or info.name in self.read


def sort_of(choice: SortChoice, figures_of: FiguresOf) -> Sort | None:
    """The order for ``core.tree.Tree``; None is the natural one. Numbers begin with the largest, words with A."""
    key = choice.key
    if key.of_info is not None:
        is_word = key.name == "dtype"
        is_ascending = choice.is_reversed is not is_word
        return Sort(key.of_info, is_ascending=is_ascending, is_flat=choice.is_flat, is_total=not is_word)
    if key.of_figures is not None:
        measure = key.of_figures

        def value(info: TensorInfo) -> float | None:
            figures = figures_of(info.name)
            return measure(figures) if figures is not None else None

        return Sort(value, is_ascending=choice.is_reversed, is_flat=choice.is_flat)
    if choice.is_reversed:
        return Sort(lambda info: natural_key(info.name), is_flat=choice.is_flat)
    # Without any value the natural order stays.
    return Sort(lambda info: None, is_flat=True) if choice.is_flat else None


def shown_of(choice: SortChoice, tensors: Iterable[TensorInfo], figures_of: FiguresOf) -> Shown | None:
    """The column for an order; None where the rows already show what they are sorted by."""
    key = choice.key
    measure = key.of_figures
    if key.name == "nbytes":
        return Shown(key.short, lambda info, room: text.size(info.nbytes), is_total=True)
    if measure is None and choice.is_flat:
        if key.name == "numel":
            return Shown(key.short, lambda info, room: text.numel(info.numel))
        if key.name == "dtype":
            return Shown(key.short, lambda info, room: text.clean(info.dtype.short, room))
    if measure is None:
        return None

    def shown(info: TensorInfo, room: int) -> str:
        figures = figures_of(info.name)
        if figures is None or measure is None:
            return ""
        if key.name in ("zeros", "subnormals"):
            share = text.percent(figures.zeros if key.name == "zeros" else figures.subnormals, figures.count)
            return share if len(share) <= room else ">99.9 %"
        return text.number_within(measure(figures), room)

    read = frozenset(info.name for info in tensors if figures_of(info.name) is not None)
    return Shown(key.short, shown, read=read)


def describe(choice: SortChoice, width: int) -> str:
    """The order in words: ``sorted by mean, reversed, flat``; shorter in a narrow terminal."""
    words = f"{'sorted ' if width >= 100 else ''}by {choice.key.short}"
    return words + (", reversed" if choice.is_reversed else "") + (", flat" if choice.is_flat else "")
