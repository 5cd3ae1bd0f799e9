"""The kinds of a source as a list, each with its figures over the layers."""
