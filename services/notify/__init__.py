"""Owns messages (each person's inbox), their templates and deliveries, and each person's live stream.

Emits MessageDelivered and MessageFailed. Consumes sign-in challenges, people's languages, and every fact that somebody
should hear of: needs, claims, bookings, attendance, points, redemptions, memberships, roles.
No contact and no sign-in code is kept here: both are asked of members when a message is sent. (The development
sandbox keeps the texts it was given, and exists in development mode only.)
"""
