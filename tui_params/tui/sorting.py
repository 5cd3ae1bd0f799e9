"""By what the tree can be sorted: one letter each."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.core.order import Sort, natural_key
from tui_params.core.tensor import TensorInfo

FiguresOf = Callable[[str], "Figures | None"]


class SortKey(msgspec.Struct, frozen=True):
    """One thing to sort by: its letter, its name, and its value of a tensor."""

    letter: str
    name: str
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


KEYS: tuple[SortKey, ...] = (
    SortKey("n", "name", "name, numbers as numbers"),
    SortKey("p", "numel", "number of elements", of_info=lambda info: info.numel),
    SortKey("b", "nbytes", "bytes", of_info=lambda info: info.nbytes),
    SortKey("d", "dtype", "element type", of_info=lambda info: info.dtype.short),
    SortKey("m", "mean", "mean", of_figures=lambda figures: figures.mean),
    SortKey("s", "std", "standard deviation", of_figures=lambda figures: figures.std),
    SortKey("a", "absmax", "largest magnitude", of_figures=lambda figures: figures.abs_max),
    SortKey("r", "rms", "root mean square", of_figures=lambda figures: figures.rms),
    SortKey("l", "l2", "L2 norm", of_figures=lambda figures: figures.l2_norm),
    SortKey("z", "zeros", "share of zeros", of_figures=lambda figures: figures.zeros / max(1, figures.count)),
    SortKey("u", "subnormals", "share of subnormal numbers", of_figures=lambda f: f.subnormals / max(1, f.count)),
    SortKey("i", "nonfinite", "NaN and infinities", of_figures=lambda figures: figures.non_finite),
)


def sort_of(choice: SortChoice, figures_of: FiguresOf) -> Sort | None:
    """The order for ``core.tree.Tree``; None is the natural one. Numbers go from the largest, words from A."""
    key = next(key for key in KEYS if key.name == choice.name)
    if key.of_info is not None:
        return Sort(key.of_info, is_ascending=choice.is_reversed is not (key.name == "dtype"), is_flat=choice.is_flat)
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


def shown_value(choice: SortChoice, figures_of: FiguresOf) -> Callable[[TensorInfo], str] | None:
    """How the value that the tree is sorted by reads in a row; None for what the row shows anyway."""
    measure = next(key for key in KEYS if key.name == choice.name).of_figures
    if measure is None:
        return None

    def shown(info: TensorInfo) -> str:
        figures = figures_of(info.name)
        if figures is None:
            return ""
        value = measure(figures)
        if choice.name in ("zeros", "subnormals"):
            return text.percent(figures.zeros if choice.name == "zeros" else figures.subnormals, figures.count)
        return text.number(value, 3)

    return shown


def describe(choice: SortChoice) -> str:
    """The order in words: ``sorted by mean, reversed, flat``."""
    title = next(key for key in KEYS if key.name == choice.name).title
    words = f"sorted by {title}" if choice.name != "name" or choice.is_reversed else "by name"
    return words + (", reversed" if choice.is_reversed else "") + (", one flat list" if choice.is_flat else "")
