"""The filter language: what a query may ask for, and how it is answered."""
