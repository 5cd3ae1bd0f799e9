"""What lies between two sources: names, shapes, types and values."""
