"""A pickle machine that imports no class and runs no code."""
