"""The rules of what is wrong with a tensor or a checkpoint, and the check that applies them."""
