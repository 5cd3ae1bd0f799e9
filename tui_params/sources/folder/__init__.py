"""Reads a folder of checkpoint files as one source."""
