"""Exact statistics of many elements: decoding, sums, tables of bit patterns, and the figures made of them."""
