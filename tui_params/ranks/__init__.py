"""Several processes that read one source together: the ranks of a torchrun job, or processes that this one starts."""
