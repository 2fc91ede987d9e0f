"""Routes of points."""
