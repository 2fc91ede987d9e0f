"""The routes of members, one module per topic."""
