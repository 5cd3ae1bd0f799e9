"""The filter language: its terms, and how they select tensors."""
