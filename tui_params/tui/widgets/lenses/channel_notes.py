"""What the lens Channels shows, for the help."""

from __future__ import annotations

NOTES: tuple[tuple[str, str], ...] = (
    (
        "rows, columns",
        "Of a matrix its own; of three dimensions (a stack of matrices) the rows of all matrices; of a convolution the "
        "outputs (dimension 0) and the inputs (dimension 1). All from one pass over every element.",
    ),
    (
        "max |x|, RMS, mean",
        "Over the finite elements: the largest magnitude, sqrt(sum x² / n), sum x / n; the sums are those of float64.",
    ),
    ("o dead", "Holds zeros only."),
    (
        "^ outlier",
        "Its largest magnitude is more than 20 times the median of all (outlier_ratio in config.json), among 8 or "
        "more: the rule of check.",
    ),
    (". faint", "A row of an embedding below 1/100 of the median of the largest magnitudes: the rule of check."),
    ("! NaN", "Has NaN or an infinity."),
    (
        "worst first",
        "Not finite, dead, outlier, faint; then by the distance from the median (of logarithms, for max |x| and RMS).",
    ),
    (
        "token",
        "From tokenizer.json, vocab.json or vocab.txt beside the file, read as JSON or text; for embeddings and output "
        "layers with as many rows as there are tokens, or more.",
    ),
)
