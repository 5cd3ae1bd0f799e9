"""The screen inside one tensor: one place, seen through lenses."""
