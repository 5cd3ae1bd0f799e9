"""What is counted of many elements: decoding, exact sums, tables of patterns, and the figures that follow."""
