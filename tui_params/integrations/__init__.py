"""Callbacks for libraries that own the training loop. Each module imports its library; nothing here imports them."""
