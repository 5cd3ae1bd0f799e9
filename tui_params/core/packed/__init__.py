"""Packed weights as what they mean: which tensors are one quantised weight, and how its values are restored."""
