"""Packed weights as what they mean: which tensors are one quantised weight, and how its values are restored."""

UNTOLD = "packed, but its values cannot be told"
"""How the note about a packed tensor begins of which the files do not say enough; the reason follows."""
