"""The module tree as arrays, its visible rows, and the orders in which they can stand."""
