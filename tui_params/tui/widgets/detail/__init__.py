"""The detail pane on the right."""
