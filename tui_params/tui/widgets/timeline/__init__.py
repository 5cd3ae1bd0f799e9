"""The timeline of a run: its rows, and the page of the tensor at the cursor."""
