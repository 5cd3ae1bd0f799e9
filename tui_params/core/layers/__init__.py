"""The tensors of a model by layer and kind: where each stands, one figure of each, and which stand out."""
