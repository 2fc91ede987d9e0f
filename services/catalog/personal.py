"""What the catalogue holds about a person: the words of their needs, and ids."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, and_

from chassis.personal import DELETE, STAYS, Held, Personal
from services.catalog.copies import AttendanceSeen
from services.catalog.models import Need, Product
from services.catalog.search import vector


def _needs_without_product(person_id: UUID) -> ColumnElement[bool]:
    return and_(Need.person_id == person_id, Need.product_id.is_(None))


def _needs_with_product(person_id: UUID) -> ColumnElement[bool]:
    return and_(Need.person_id == person_id, Need.product_id.is_not(None))


PERSONAL = Personal(
    held=[
        # Nothing came of it, and nobody is there to want it.
        Held(Need, _needs_without_product, erased=DELETE, hidden={"search"}),
        Held(
            Need,
            _needs_with_product,
            erased={"title": "", "body": "", "place": None, "search": vector("")},
            hidden={"search"},
        ),
        # Offered in somebody's service, for their area or organisation: theirs it is not.
        Held(Product, Product.created_by, erased=STAYS, hidden={"search"}),
        Held(AttendanceSeen, AttendanceSeen.person_id, erased=STAYS),
    ],
)
