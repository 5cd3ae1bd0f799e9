"""Spectra: the singular values of a matrix, the first of them at once, and what follows from them."""
