"""The demo: plays Linli's main journey, with the reports' own names and numbers, through the public API alone."""
