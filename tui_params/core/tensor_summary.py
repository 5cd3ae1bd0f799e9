"""TensorSummary: the figures of one tensor with its shape and type, which prints as one line."""

from __future__ import annotations

from tui_params.core import text
from tui_params.core.dtypes import DType
from tui_params.core.figures import Figures

_BINS = 8


class TensorSummary(Figures, frozen=True, gc=False, kw_only=True, repr_omit_defaults=True):
    """The statistics of one tensor (all of ``Figures``), with what it is. ``name`` is empty if it has none."""

    name: str = ""
    shape: tuple[int, ...]
    dtype: DType

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        return one_line(self.name, self.shape, self.dtype, self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from html import escape  # only in a notebook: its table of entities takes 1 ms of each start

        cells = (
            ("elements", text.integer(self.numel)),
            ("min", text.number(self.min)),
            ("max", text.number(self.max)),
            ("mean", text.number(self.mean)),
            ("std", text.number(self.std)),
            ("RMS", text.number(self.rms)),
            ("L2", text.number(self.l2_norm)),
            ("zeros", text.integer(self.zeros)),
            ("NaN", text.integer(self.nan)),
            ("+Inf", text.integer(self.pos_inf)),
            ("-Inf", text.integer(self.neg_inf)),
        )
        heads = "".join(f"<th>{escape(name)}</th>" for name, _ in cells)
        row = "".join(f"<td>{escape(value)}</td>" for _, value in cells)
        # Notebooks would take dollar signs of a name for mathematics.
        return (
            f'<div class="tex2jax_ignore mathjax_ignore"><code>{escape(str(self))}</code>'
            f"<table><tr>{heads}</tr><tr>{row}</tr></table></div>"
        )


def one_line(
    name: str, shape: tuple[int, ...], dtype: DType, figures: Figures | None, *, ascii_only: bool = False
) -> str:
    """A tensor in one line: ``w [4, 4] bf16 x∈[-0.1 ▁▅█▅▁ 0.1] μ=1.7e-6 σ=0.02 3 NaN``, after lovely-tensors.

    The little histogram is that of ``Figures.spark``, so without the outermost tails. What is not finite is counted
    at the end, and a sample says that it is one.
    """
    parts = [text.clean(name)] if name else []
    parts += [text.shape(shape), text.clean(dtype.short)]
    if figures is None:
        return " ".join(parts)
    if not figures.count:
        parts.append("no elements")
    elif not figures.finite:
        parts.append("nothing finite")
    elif figures.min == figures.max:
        parts.append(f"x={text.number(figures.min)}")
    else:
        drawn = text.spark(figures.spark, _BINS, ascii_only=ascii_only)
        inside = f"[{text.number(figures.min)} {drawn} {text.number(figures.max)}]"
        parts.append(f"x in {inside}" if ascii_only else f"x∈{inside}")
        mean, std = ("mean", "std") if ascii_only else ("μ", "σ")
        parts.append(f"{mean}={text.number(figures.mean)} {std}={text.number(figures.std)}")
    if figures.parts == 2:
        parts.append("(real and imaginary parts)")
    counts = ((figures.nan, "NaN"), (figures.pos_inf, "+Inf"), (figures.neg_inf, "-Inf"))
    parts += [f"{count:,} {kind}" for count, kind in counts if count]
    if figures.is_sampled:
        parts.append("(sampled)")
    return " ".join(parts)
