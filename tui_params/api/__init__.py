"""The three doors of the library: opening, checking, comparing."""
