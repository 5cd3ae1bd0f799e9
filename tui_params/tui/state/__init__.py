"""What the screens know, as plain values: marks, grouped findings, the sort, the search."""
