"""What the lens Histogram and its casts show, for the help: the formulas."""

from __future__ import annotations

NOTES: tuple[tuple[str, str], ...] = (
    (
        "bins",
        "A bin has the elements from its lower edge on and below its upper one; the last bin has the upper edge too. "
        "Counts are exact for types of 16 bits and less and for tensors of up to 65,536 elements. Of wider types the "
        "upper 16 bits are counted (0.8 % of a value): where such a bucket lies across an edge, its elements are "
        "shared out evenly, and the count says about. enter reads the values themselves.",
    ),
    ("log axis", "By magnitude, without zeros, which count as below; bins have equal ratios."),
    ("symlog axis", "asinh(x / 2c), with c the median magnitude: linear around zero, logarithmic far from it."),
    ("density", "Share of the finite elements in the bin, divided by its width (on the log axis, by its decades)."),
    ("50%", "Quantiles by numpy's linear rule, below the values where they lie; on the log axis, of magnitudes."),
    ("a normal", "n (Phi(b) - Phi(a)) in a bin from a to b, with the mean and std of the finite elements."),
    (
        "SNR",
        "10 log10(sum x² / sum (x - cast x)²) in dB over the finite elements; exact: no value changes; "
        "-Inf dB: a finite value becomes infinite.",
    ),
    (
        "fp16, bf16, fp8",
        "As torch casts: over float32, to the nearest, ties to even, with subnormals. fp16, bf16 and e5m2 overflow to "
        "Inf; e4m3fn saturates: beyond 464 everything becomes 448, where ml_dtypes gives NaN.",
    ),
    ("int8 absmax", "s = max |x| / 127, and x becomes s round(x / s), halves to even, in float64."),
    (
        "int4 / 128, / 32",
        "The same with 7 in place of 127, and an s for each group of 128 or 32 neighbours in a row (the last one of a "
        "row may have fewer). This takes a pass over the values; so does every cast of a wider type than 16 bits.",
    ),
    ("to zero", "Finite elements that are not zero and become zero."),
)
