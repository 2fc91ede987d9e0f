"""The chapters, in order. Each looks first and adds only what is missing, so that playing again changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from demo import afterwards, offers, people, places, taking_part
from demo.stage import Stage, Steps

CHAPTERS: tuple[tuple[str, Callable[[Stage, Steps], Awaitable[None]]], ...] = (
    ("Areas", places.draw_areas),
    ("Categories", places.name_categories),
    ("Organisations", places.register_organisations),
    ("Centres", places.open_centres),
    ("People", people.sign_up),
    ("Roles", people.grant_roles),
    ("Registrations", people.join_organisations),
    ("Needs", offers.post_needs),
    ("Products", offers.publish_products),
    ("Needs declined", offers.decline_needs),
    ("Sessions", offers.schedule_sessions),
    ("Rewards", offers.publish_rewards),
    ("Claims", taking_part.claim_products),
    ("Bookings", taking_part.book),
    ("Attendances", taking_part.attend),
    ("Completions", taking_part.complete),
    ("Reviews", afterwards.review),
    ("Points", afterwards.settle),
    ("Redemption", afterwards.redeem),
)
