"""How far the adapters of a source move the weights that they are for."""
