"""Files of NumPy: one array (NPY), or a zip of them (NPZ)."""
