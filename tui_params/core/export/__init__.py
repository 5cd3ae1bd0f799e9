"""What the user asks to take along: names of files, their contents in pieces, and the writing."""
