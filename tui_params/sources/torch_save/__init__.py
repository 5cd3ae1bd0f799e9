"""The readers of files that torch.save, torch.jit.save and torch.export.save wrote; they need no torch."""
