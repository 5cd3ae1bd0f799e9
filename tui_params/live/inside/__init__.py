"""What runs in the model's own process: torch and the standard library only."""
