"""Comparing two sources: names, shapes, element types and values."""
