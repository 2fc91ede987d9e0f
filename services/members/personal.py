"""What members holds about a person. All of it goes: with the row of `people`, the id leads to nobody."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, select

from chassis.personal import DELETE, Held, Personal
from services.members.models import Contact, Membership, Person, Registration, Role
from services.members.sign_in_models import Challenge, FamiliarAddress, RefreshToken, SignIn, StaffAccount


def _challenges(person_id: UUID) -> ColumnElement[bool]:
    phone = select(Contact.phone_index).where(Contact.person_id == person_id)
    return Challenge.phone_index.in_(phone)


def _familiar(person_id: UUID) -> ColumnElement[bool]:
    phone = select(Contact.phone_index).where(Contact.person_id == person_id)
    return FamiliarAddress.subject_index.in_(phone)


def _refresh_tokens(person_id: UUID) -> ColumnElement[bool]:
    return RefreshToken.sign_in_id.in_(select(SignIn.id).where(SignIn.person_id == person_id))


SEALED = {"phone_index", "phone_sealed", "code_sealed", "address_index"}

# What refers to another table comes before it.
PERSONAL = Personal(
    held=[
        Held(
            Challenge,
            _challenges,
            erased=DELETE,
            hidden={"phone_index", "phone_sealed", "code_sealed", "address_index"},
        ),
        # Those of a username are left: without it nobody can say whose they are, and they go within 90 days.
        Held(FamiliarAddress, _familiar, erased=DELETE, hidden={"subject_index", "address_index"}),
        Held(Contact, Contact.person_id, erased=DELETE, hidden={"phone_index", "phone_sealed"}),
        Held(RefreshToken, _refresh_tokens, erased=DELETE, hidden={"token_hash"}),
        Held(SignIn, SignIn.person_id, erased=DELETE),
        Held(StaffAccount, StaffAccount.person_id, erased=DELETE, hidden={"password_hash"}),
        Held(Registration, Registration.person_id, erased=DELETE),
        Held(Membership, Membership.person_id, erased=DELETE),
        Held(Role, Role.person_id, erased=DELETE),
        Held(Person, Person.id, erased=DELETE),
    ],
)
