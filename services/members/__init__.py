"""Members: who is here, where, and what they may do.

Owns areas (the grid tree), organisations, centres, people and their contacts (encrypted), registrations (双报到),
memberships, roles, sign-in challenges, staff passwords and sign-ins with their refresh tokens.

Emits the facts of `contracts.members`. Consumes nothing of the other services.

It alone signs access tokens, and answers two look-ups: the contact of a challenge or a person (for notify), and
display names (for the gateway).
"""
