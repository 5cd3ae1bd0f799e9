"""Bytes of local files: handles, ranges, strided elements, the directory of a zip."""
