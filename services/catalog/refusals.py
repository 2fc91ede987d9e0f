"""What the catalogue refuses."""

from __future__ import annotations

from chassis.errors import Refusal


class NeedDecided(Refusal):
    """409: the need has been accepted or declined already."""

    type = "need_decided"


class ProductNotPublished(Refusal):
    """409: what was asked for needs a product that is published."""

    type = "product_not_published"


class SessionIsCancelled(Refusal):
    """409: a cancelled session cannot be changed."""

    type = "session_is_cancelled"
