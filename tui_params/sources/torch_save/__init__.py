"""Reading what `torch.save` and `torch.export` wrote, without torch."""
