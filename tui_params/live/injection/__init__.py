"""Lets the explorer into a process that was not prepared for it."""
