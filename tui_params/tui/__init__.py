"""The terminal: Textual screens and widgets over the inspector. Never a tensor, never numpy: frozen values only."""
