"""Files that each rank of a job saved by itself: the model that they are together."""
