"""The routes of orders, one module per topic."""
