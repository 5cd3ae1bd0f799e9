"""How values come out of a source: one tensor, one sweep over all, one window."""
