"""What members answers with."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from chassis.i18n import Locale
from chassis.tokens import ACCESS_TOKEN_S
from services.members.areas import Level
from services.members.organisations import OrganisationKind
from services.members.registrations import RegistrationKind
from services.members.sign_ins import Tokens

RoleName = Literal["organisation_admin", "coordinator", "merchant", "operator", "device"]


class RowView(BaseModel):
    """A view that is read from a row's columns of the same names."""

    model_config = ConfigDict(from_attributes=True)


class AreaView(RowView):
    """`path` runs from the root to the area itself."""

    id: UUID
    parent_id: UUID | None
    path: list[UUID]
    level: Level
    name: str
    name_en: str | None
    timezone: str
    active: bool


class OrganisationView(RowView):
    """An organisation and the area it is at home in."""

    id: UUID
    area_id: UUID
    name: str
    name_en: str | None
    kind: OrganisationKind


class CentreView(RowView):
    """A centre and the area it serves."""

    id: UUID
    area_id: UUID
    name: str
    name_en: str | None
    address: str


class RegistrationView(RowView):
    """`organisation_id` is the registered organisation, or the unit that the person named."""

    id: UUID
    subject: Literal["person", "organisation"]
    person_id: UUID | None
    organisation_id: UUID | None
    area_id: UUID
    kind: RegistrationKind
    status: Literal["active", "left"]
    registered_at: datetime


class RegistrationCountView(BaseModel):
    """How many are registered in the area's subtree."""

    area_id: UUID
    people: int
    organisations: int


class MembershipView(RowView):
    """What a person is to an organisation."""

    id: UUID
    organisation_id: UUID
    person_id: UUID
    status: Literal["requested", "confirmed"]
    requested_at: datetime
    confirmed_at: datetime | None


class OrganisationMemberView(MembershipView):
    """A membership as the organisation sees it."""

    display_name: str


class RoleView(RowView):
    """A role that is held: in an area's subtree, in an organisation, or (neither given) everywhere."""

    id: UUID
    person_id: UUID
    role: RoleName
    area_id: UUID | None
    organisation_id: UUID | None
    granted_at: datetime


class MeView(BaseModel):
    """Oneself; the phone is masked even here."""

    id: UUID
    display_name: str
    phone: str | None
    locale: Locale
    registrations: list[RegistrationView]
    memberships: list[MembershipView]
    roles: list[RoleView]
    version: int


class PersonView(BaseModel):
    """An account."""

    person_id: UUID
    display_name: str


class StaffView(BaseModel):
    """An account with a password."""

    person_id: UUID
    username: str


class ChallengeView(BaseModel):
    """`expires_in` counts seconds."""

    challenge_id: UUID
    expires_in: int


class SignedInView(BaseModel):
    """`expires_in` counts the seconds of the access token; the refresh token is used once, for the next pair."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    refresh_token: str
    expires_in: int = ACCESS_TOKEN_S
    person_id: UUID

    @classmethod
    def of(cls, tokens: Tokens) -> SignedInView:
        return cls(access_token=tokens.access_token, refresh_token=tokens.refresh_token, person_id=tokens.person_id)
