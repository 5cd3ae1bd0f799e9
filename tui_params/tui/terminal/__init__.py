"""What depends on the terminal itself: bytes on the wire, key order, signals, glyphs, colours."""
