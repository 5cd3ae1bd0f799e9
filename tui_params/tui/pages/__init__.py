"""The pages of the detail pane: what is shown of the row at the cursor, and what is asked for to show it."""
