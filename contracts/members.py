"""Facts that members tells: areas, organisations, centres, people, registrations, memberships, roles, sign-in.

No fact carries a phone number, a code or a person's name.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from contracts.event import Event


class AreaChanged(Event, type="linli.members.area_changed.v1", key="area_id"):
    """An area was added to the tree, renamed, or closed. `path` runs from the root to the area itself."""

    area_id: UUID
    parent_id: UUID | None
    path: list[UUID]
    level: str
    name: str
    name_en: str | None
    timezone: str
    active: bool


class OrganisationRegistered(Event, type="linli.members.organisation_registered.v1", key="organisation_id"):
    """An organisation (branch, company, social organisation, government unit, merchant) is on record."""

    organisation_id: UUID
    area_id: UUID
    kind: str
    name: str


class CentreOpened(Event, type="linli.members.centre_opened.v1", key="centre_id"):
    """A centre of an area is open; rewards are collected there."""

    centre_id: UUID
    area_id: UUID
    name: str
    address: str


class PersonRegistered(Event, type="linli.members.person_registered.v1", key="person_id"):
    """A person has an account; `locale` is the language they are written to in."""

    person_id: UUID
    locale: str


class PersonChanged(Event, type="linli.members.person_changed.v1", key="person_id"):
    """A person chose another language."""

    person_id: UUID
    locale: str


class PersonErased(Event, type="linli.members.person_erased.v1", key="person_id"):
    """A person is no longer known: what is held about them goes, their tokens are refused, what they had open ends."""

    person_id: UUID


class RegistrationChanged(Event, type="linli.members.registration_changed.v1", key="registration_id"):
    """A person or an organisation registered with an area (报到), or left it.

    `organisation_id` is the registered organisation, or the unit that a person named when registering.
    """

    registration_id: UUID
    subject: Literal["person", "organisation"]
    person_id: UUID | None
    organisation_id: UUID | None
    area_id: UUID
    status: Literal["active", "left"]


class MembershipRequested(Event, type="linli.members.membership_requested.v1", key="membership_id"):
    """A person asked to join an organisation."""

    membership_id: UUID
    organisation_id: UUID
    person_id: UUID


class MembershipConfirmed(Event, type="linli.members.membership_confirmed.v1", key="membership_id"):
    """The organisation confirmed the person as its member."""

    membership_id: UUID
    organisation_id: UUID
    person_id: UUID


class RoleGranted(Event, type="linli.members.role_granted.v1", key="role_id"):
    """A person holds a role, within an area's subtree, within an organisation, or everywhere."""

    role_id: UUID
    person_id: UUID
    role: str
    area_id: UUID | None
    organisation_id: UUID | None


class RoleRevoked(Event, type="linli.members.role_revoked.v1", key="role_id"):
    """A person lost a role: tokens signed for them before this fact are refused."""

    role_id: UUID
    person_id: UUID
    role: str


class SignedOut(Event, type="linli.members.signed_out.v1", key="session_id"):
    """A sign-in ended: every token of that session is refused."""

    session_id: UUID
    person_id: UUID


class SignInChallenged(Event, type="linli.members.sign_in_challenged.v1", key="challenge_id"):
    """Somebody asked for a sign-in code; who sends it asks members for contact and code."""

    challenge_id: UUID
