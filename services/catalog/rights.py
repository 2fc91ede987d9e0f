"""Who may do what to the catalogue's things, and see which of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, Uuid, any_, bindparam, or_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from chassis import scopes
from chassis.auth import roles
from chassis.tokens import Principal
from services.catalog.models import Product

COORDINATORS = ("coordinator", "operator")
ORGANISATION_ADMIN = "organisation_admin"
COORDINATING = roles(*COORDINATORS)
OFFERING = roles(*COORDINATORS, ORGANISATION_ADMIN)


async def require_coordinator(session: AsyncSession, principal: Principal, area_id: UUID) -> None:
    """Raise Forbidden unless the person coordinates the area."""
    await scopes.require(session, principal, area_id, *COORDINATORS)


async def require_offering(session: AsyncSession, principal: Principal, product: Product) -> None:
    """Raise Forbidden unless the person coordinates the product's area or administers who offers it."""
    if not administers(principal, product.organisation_id):
        await require_coordinator(session, principal, product.area_id)


def coordinates(principal: Principal | None, area_path: Sequence[UUID]) -> bool:
    """Whether the person coordinates the area at the end of the path: for what was read already."""
    held = _coordinated_areas(principal)
    return None in held or not held.isdisjoint(area_path)


def administers(principal: Principal | None, organisation_id: UUID | None) -> bool:
    """Whether the person administers this organisation."""
    if principal is None or organisation_id is None:
        return False
    return principal.has_for_organisation(organisation_id, ORGANISATION_ADMIN)


def sees(principal: Principal | None, product: Product) -> bool:
    """Whether the person may know of the product: a draft is for its author, its organisation, its coordinators."""
    if product.status != "draft":
        return True
    is_author = principal is not None and principal.person_id == product.created_by
    return is_author or administers(principal, product.organisation_id) or coordinates(principal, product.area_path)


def seen(of: ReadOnlyColumnCollection[str, Any]) -> ColumnElement[bool]:
    """`sees` as a condition on a product's columns, for the person that `seen_by` describes."""
    return or_(
        of.status != "draft",
        bindparam("everywhere", type_=Boolean),
        of.created_by == bindparam("person"),
        of.organisation_id == any_(bindparam("administered", type_=ARRAY(Uuid))),
        of.area_path.overlap(bindparam("coordinated", type_=ARRAY(Uuid))),
    )


def seen_by(principal: Principal | None) -> dict[str, object]:
    """The parameters of `seen` for this person."""
    held = _coordinated_areas(principal)
    grants = principal.grants if principal else ()
    return {
        "everywhere": None in held,
        "person": principal and principal.person_id,
        "administered": [grant.organisation_id for grant in grants if grant.role == ORGANISATION_ADMIN],
        "coordinated": list(held - {None}),
    }


def _coordinated_areas(principal: Principal | None) -> set[UUID | None]:
    """Roots of the subtrees that the person coordinates; None among them stands for everywhere."""
    grants = principal.grants if principal else ()
    return {grant.area_id for grant in grants if grant.role in COORDINATORS and grant.organisation_id is None}
