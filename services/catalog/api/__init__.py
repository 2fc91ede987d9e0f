"""The catalogue's routes, one module per topic."""
