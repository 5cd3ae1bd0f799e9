"""The layers of a source as a table of coloured cells."""
