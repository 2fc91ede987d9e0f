"""Which services there are, for those that deal with all of them: standalone, the set-up, the generators."""

from __future__ import annotations

from services.catalog.app import SERVICE as CATALOG
from services.members.app import SERVICE as MEMBERS
from services.notify.app import SERVICE as NOTIFY
from services.orders.app import SERVICE as ORDERS
from services.points.app import SERVICE as POINTS

SERVICES = (MEMBERS, CATALOG, ORDERS, POINTS, NOTIFY)
