"""The screen that shows how each tensor of a run moves from checkpoint to checkpoint."""
