"""The inner loops of every read: by numpy, and as machine code that numba compiled once."""
