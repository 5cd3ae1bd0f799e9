"""The reader of safetensors files, and what can be wrong with them."""
