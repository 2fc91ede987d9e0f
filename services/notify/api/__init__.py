"""Routes of notify, one file per topic."""
