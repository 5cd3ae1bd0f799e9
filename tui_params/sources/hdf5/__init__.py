"""HDF5 files: Keras weights, and any other tree of datasets."""
