"""Looks at tensors of a model that trains at every step, and says when something becomes of them."""
