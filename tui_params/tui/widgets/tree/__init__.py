"""The module tree on the left."""
