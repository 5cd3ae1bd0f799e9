"""Checkpoints of DeepSpeed, as the model that the files of all ranks are together."""
