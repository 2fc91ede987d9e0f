"""The route by which operators see how one service is: what waits in its database, and its own figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from fastapi import Request
from pydantic import BaseModel

from chassis.api import Api, Db
from chassis.auth import roles
from chassis.figures import Figure, measure


class ServiceStatusView(BaseModel):
    """`outbox_rows`: facts not yet sent, the oldest of them `outbox_age_s` old; `retries_waiting`: events that failed
    and are tried again; `bus_trouble`: the bus is there, and this copy of the service can make no use of it."""

    service: str
    outbox_rows: int
    outbox_age_s: float
    retries_waiting: int
    dead_letters: int
    bus_trouble: bool
    figures: dict[str, int]


def status_api(service_name: str, figures: Sequence[Figure]) -> Api:
    """One service's route; its path names it, since the gateway knows an operation by its path."""
    api = Api("status")

    @api.get(f"/services/{service_name}/status", policy=roles("operator"))
    async def get_status(request: Request, db: Db) -> ServiceStatusView:
        """How the service is, as the copy that answers sees it."""
        trouble = request.app.state.bus.trouble() is not None
        return ServiceStatusView(service=service_name, bus_trouble=trouble, **asdict(await measure(db, figures)))

    return api
