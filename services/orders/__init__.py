"""Owns claims and their leases, bookings and waiting lists, attendance, reviews and redemptions: the only place where
capacity and stock are decided, from its own copies of what is offered.

Emits claim accepted, signed, progressed, completed, released; booking placed, confirmed, waitlisted, cancelled;
attendance recorded, voided; review posted; redemption requested, confirmed, refused, cancelled, collected.

Consumes products, sessions, rewards (catalog); areas, centres, registrations, memberships (members); holds (points).
"""
