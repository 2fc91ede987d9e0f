"""The metadata that every table of orders belongs to."""

from __future__ import annotations

from sqlalchemy.orm import DeclarativeBase

from chassis.tables import service_metadata


class Base(DeclarativeBase):
    """What every model of orders derives from."""

    metadata = service_metadata()
