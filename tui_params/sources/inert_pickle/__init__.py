"""Reads pickles without importing a class or running any code."""
