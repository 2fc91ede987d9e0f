"""Roles: who may do what where. A token carries the roles that were held when it was signed."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.audit import note
from chassis.db import world_of
from chassis.errors import Forbidden, InvalidInput, NotFound
from chassis.outbox import emit
from chassis.tokens import Grant, Principal
from contracts.members import RoleGranted, RoleRevoked
from services.members.areas import existing_area
from services.members.models import Area, Organisation, Person, Role
from services.members.organisations import existing_organisation
from services.members.refusals import LastOperator, TooManyRoles
from services.members.turns import take_turn

# What fits into a token with room to spare (chassis.tokens.TOKEN_MAX_CHARACTERS).
ROLES_MAX = 40
SCOPE_FIELD = {
    "organisation_admin": "organisation_id",
    "coordinator": "area_id",
    "merchant": "area_id",
    "device": "area_id",
}
# What a coordinator may grant and revoke within their own subtree; an operator may with every role.
COORDINATOR_GRANTS = frozenset({"organisation_admin", "merchant", "device"})


async def grant_role(
    session: AsyncSession,
    principal: Principal,
    *,
    person_id: UUID,
    role: str,
    area_id: UUID | None,
    organisation_id: UUID | None,
) -> tuple[Role, bool]:
    """Give somebody a role; the one they hold if it is the same. True: it is new."""
    _require_scope(role, area_id, organisation_id)
    if await session.get(Person, person_id) is None:
        raise InvalidInput(("body.person_id", "exists", {"thing": "person"}))
    await _require_grantor(session, principal, role, await _area_of(session, area_id, organisation_id))
    held, is_new = await hold_role(session, person_id, role, area_id=area_id, organisation_id=organisation_id)
    if is_new:
        scope = {"role": role, "area_id": area_id, "organisation_id": organisation_id}
        note(session, principal.person_id, "grant_role", person_id, **scope)
    return held, is_new


async def hold_role(
    session: AsyncSession,
    person_id: UUID,
    role: str,
    *,
    area_id: UUID | None = None,
    organisation_id: UUID | None = None,
) -> tuple[Role, bool]:
    """The role, new (True) unless it is held; TooManyRoles beyond `ROLES_MAX`. It does not ask who grants it."""
    await take_turn(session, "roles", person_id)
    held = (await session.scalars(select(Role).where(Role.person_id == person_id, Role.revoked_at.is_(None)))).all()
    for known in held:
        if (known.role, known.area_id, known.organisation_id) == (role, area_id, organisation_id):
            return known, False
    if len(held) >= ROLES_MAX:
        raise TooManyRoles(most=ROLES_MAX)
    world = world_of(session)
    scope = {"area_id": area_id, "organisation_id": organisation_id}
    granted = Role(id=world.new_id(), person_id=person_id, role=role, granted_at=world.now(), version=1, **scope)
    session.add(granted)
    emit(session, RoleGranted(role_id=granted.id, person_id=person_id, role=role, **scope), sequence=granted.version)
    return granted, True


async def revoke_role(session: AsyncSession, principal: Principal, role_id: UUID) -> None:
    """Take a role away: tokens signed before are refused once the fact has arrived. LastOperator keeps one."""
    await take_turn(session, "revocations")
    role = await session.get(Role, role_id, with_for_update=True)
    if role is None or role.revoked_at is not None:
        raise NotFound()
    await _require_grantor(session, principal, role.role, await _area_of(session, role.area_id, role.organisation_id))
    if role.role == "operator" and await _operators(session) == 1:
        raise LastOperator()
    # From here on no token is signed with this role; those signed before are older than the fact that refuses them.
    await session.execute(select(Person.id).where(Person.id == role.person_id).with_for_update())
    role.revoked_at = world_of(session).now()
    role.version += 1
    emit(session, RoleRevoked(role_id=role.id, person_id=role.person_id, role=role.role), sequence=role.version)
    note(session, principal.person_id, "revoke_role", role.person_id, role=role.role, role_id=role.id)


async def require_another_operator(session: AsyncSession, person_id: UUID) -> None:
    """Raise LastOperator for the only operator there is; until this transaction ends, no other one is revoked."""
    await take_turn(session, "revocations")
    operators = select(Role.person_id).where(Role.role == "operator", Role.revoked_at.is_(None))
    if (await session.scalars(operators)).all() == [person_id]:
        raise LastOperator()


async def keep_roles(session: AsyncSession, person_id: UUID) -> None:
    """Until this transaction ends, nobody takes a role from the person: what a token says holds when it is signed."""
    await session.execute(select(Person.id).where(Person.id == person_id).with_for_update(read=True))


async def grants_of(session: AsyncSession, person_id: UUID) -> list[Grant]:
    """The roles somebody holds, as a token carries them."""
    return [
        Grant(role=role.role, area_id=role.area_id, organisation_id=role.organisation_id)
        for role in await roles_of(session, person_id)
    ]


async def roles_of(session: AsyncSession, person_id: UUID) -> list[Role]:
    """The roles somebody holds."""
    held = select(Role).where(Role.person_id == person_id, Role.revoked_at.is_(None)).order_by(Role.id)
    return list((await session.scalars(held)).all())


async def list_roles(
    session: AsyncSession, principal: Principal, *, person_id: UUID | None, before: UUID | None, limit: int
) -> list[Role]:
    """Roles held, newest first: all of them for an operator, for a coordinator those within their subtrees."""
    query = select(Role).where(Role.revoked_at.is_(None)).order_by(Role.id.desc()).limit(limit)
    if person_id is not None:
        query = query.where(Role.person_id == person_id)
    if before is not None:
        query = query.where(Role.id < before)
    if not principal.has("operator"):
        roots = [grant.area_id for grant in principal.grants if grant.role == "coordinator" and grant.area_id]
        mine = select(Area.id).where(Area.path.overlap(roots))
        units = select(Organisation.id).where(Organisation.area_id.in_(mine))
        query = query.where(or_(Role.area_id.in_(mine), Role.organisation_id.in_(units)))
    return list((await session.scalars(query)).all())


def _require_scope(role: str, area_id: UUID | None, organisation_id: UUID | None) -> None:
    given = {"area_id": area_id, "organisation_id": organisation_id}
    needed = SCOPE_FIELD.get(role)
    errors: list[tuple[str, str, Mapping[str, object]]] = [
        (f"body.{field}", "extra_forbidden", {}) for field, value in given.items() if value and field != needed
    ]
    if needed and given[needed] is None:
        errors.append((f"body.{needed}", "missing", {}))
    if errors:
        raise InvalidInput(*errors)


async def _area_of(session: AsyncSession, area_id: UUID | None, organisation_id: UUID | None) -> UUID | None:
    if organisation_id is not None:
        return (await existing_organisation(session, organisation_id)).area_id
    return None if area_id is None else (await existing_area(session, area_id)).id


async def _require_grantor(session: AsyncSession, principal: Principal, role: str, area_id: UUID | None) -> None:
    if principal.has("operator"):
        return
    if role not in COORDINATOR_GRANTS or area_id is None:
        raise Forbidden()
    await scopes.require(session, principal, area_id, "coordinator")


async def _operators(session: AsyncSession) -> int:
    held = select(func.count()).select_from(Role).where(Role.role == "operator", Role.revoked_at.is_(None))
    return await session.scalar(held) or 0
