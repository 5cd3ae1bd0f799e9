"""What the figures of a spectrum are: for the help of the lens, each with its formula and where it comes from."""

from __future__ import annotations

NOTES: tuple[tuple[str, str], ...] = (
    (
        "singular values",
        "s1 >= s2 >= ... of the plane that lies down, or of a kernel as out x rest. First a picture: block Krylov of"
        " 16 columns (Musco and Musco, 2015, arXiv:1504.05477); within the residual |A'A v - s^2 v| / s of each there"
        " is a singular value, but one between two of them may be missing. Then all: numpy's svd in float64; above a"
        " million elements the roots of the eigenvalues of A'A, summed in float64.",
    ),
    ("spectral norm", "s1, the most that the matrix stretches a vector."),
    ("Frobenius norm", "sqrt(sum s^2) = sqrt(sum x^2), summed over the elements."),
    ("stable rank", "sum s^2 / s1^2 (Rudelson and Vershynin, 2007, arXiv:math/0503442)."),
    ("rank", "How many s are above the floor: max(rows, columns) x 2^-52 x s1, as numpy.linalg.matrix_rank has it."),
    (
        "above its own rounding",
        "How many s are above u |A|F (1/sqrt rows + 1/sqrt columns), u = 2^-24 of float32, 2^-9 of bfloat16: about the"
        " largest s of the errors that rounding the elements to their type leaves, if these are random. A product of"
        " low rank that was stored has its rank here.",
    ),
    ("floor", "What rounding hides: that product with svd; with A'A its root in place of the factor. Below: <= floor."),
    ("participation", "(sum s^2)^2 / sum s^4: the participation ratio of the squares (Bell and Dean, 1970)."),
    ("entropy rank", "exp(-sum p ln p), p = s / sum s: the effective rank of Roy and Vetterli (EUSIPCO 2007)."),
    ("condition", "s1 / the smallest s; >= where some are lost below the floor."),
    (
        "alpha",
        "The tail of x = s^2 as a power law, density ~ x^-alpha, as weightwatcher 0.7.7 fits it (WW_powerlaw.py):"
        " x <= 1e-5 are dropped whatever the scale, so it says how many were used; for each start x_i of the tail,"
        " k values long, alpha = 1 + k / sum ln(x_j / x_i), and the least D = max |1 - (x_j / x_i)^(1 - alpha) - j / k|"
        " wins; +- is (alpha - 1) / sqrt k. Under 20 values: 1 + (k - 1) / sum. The letter on the curve is its start.",
    ),
    (
        "weightwatcher",
        "Of a convolution it takes something else: the values of all slices [:, :, i, j] as one list, each times"
        " sqrt(1/2). This is its alpha, and its stable rank, which can be more than there are rows.",
    ),
)
