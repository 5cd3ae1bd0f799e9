"""Reading safetensors, and what is wrong with their headers."""
