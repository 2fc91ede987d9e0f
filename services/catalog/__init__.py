"""The catalogue: what is needed, what is offered, when it takes place, what can be had for points.

Owns category schemes, needs and their triage, products, sessions, rewards, the search over them, and the public
counters.

Emits `NeedPosted`, `NeedAccepted`, `NeedDeclined`, `NeedFulfilled`, `ProductPublished`, `ProductChanged`,
`ProductWithdrawn`, `SessionScheduled`, `SessionChanged`, `SessionCancelled`, `RewardPublished`.

Consumes the facts of claims, bookings, attendances and reviews (counters, fulfilled needs, completed products), and
`OrganisationRegistered` and `CentreOpened` (names to show, ids to check).
"""
