"""The lenses: ways of seeing one tensor at one place, each a widget that knows nothing of the others."""
