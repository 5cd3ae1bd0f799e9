"""Bytes of local files: open handles, a peek at the content, strided elements, the directory of a zip."""
