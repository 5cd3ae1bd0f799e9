"""GGUF, the format of llama.cpp: metadata, tensors in plain types, and tensors in blocks that share scales."""
