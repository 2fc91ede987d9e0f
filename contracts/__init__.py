"""What the services agree on: the facts they tell one another, and nothing else.

One module per producer. A fact never changes its meaning: a new meaning is a new version beside the old one, and
`golden/` keeps one JSON file per version that every later release must still read.
"""
