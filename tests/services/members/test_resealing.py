"""Contacts under another key: read with both, sealed again with the new one, after which the old one may go."""

from __future__ import annotations

import base64
import os
import random
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from chassis.settings import BadSetting
from chassis.world import World
from services.members import resealing
from services.members.models import Contact
from services.members.people import phone_of
from services.members.resealing import reseal_contacts
from services.members.vault import Unreadable, Vault, read_keys
from tests.harness import Databases
from tests.services.members.conftest import KEYS, Members, run_members, settings_with

PHONES = [f"1380000010{number}" for number in range(5)]


def fresh_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def vault(members: Members, *keys: str) -> Vault:
    given = read_keys(SecretStr("\n".join(keys)), "LINLI_CONTACT_KEY")
    return Vault(given, base64.urlsafe_b64decode(KEYS["phone_index_key"]), members.runtime.world.random)


async def phones(members: Members, opener: Vault) -> list[str]:
    async with members.db.transaction() as session:
        people = (await session.scalars(select(Contact.person_id))).all()
        return sorted([str(await phone_of(session, opener, person)) for person in people])


async def test_a_new_key_seals_what_the_old_one_did(members: Members, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resealing, "BATCH_MAX", 2)
    for phone in PHONES:
        await members.sign_in(phone)
    old, new = KEYS["contact_key"], fresh_key()
    assert await phones(members, vault(members, new, old)) == PHONES
    with pytest.raises(Unreadable):
        await phones(members, vault(members, new))

    await reseal_contacts(members.db, vault(members, new, old))
    assert await phones(members, vault(members, new)) == PHONES
    with pytest.raises(Unreadable):
        await phones(members, vault(members, old))


async def test_who_had_an_account_signs_in_to_it_under_the_new_key(databases: Databases) -> None:
    async with run_members(databases) as before:
        ann = await before.sign_in(PHONES[0])
        two = f"{fresh_key()}\n{KEYS['contact_key']}"
        settings = settings_with({**KEYS, "contact_key": two})
        world = World(now=before.clock, random=random.Random(2))
        async with run_members(databases, settings=settings, database_url=before.db.url, world=world) as after:
            again = await after.sign_in(PHONES[0])
    assert again["person_id"] == ann["person_id"]


@pytest.mark.parametrize("given", ["", " ", "abc", "%%%", f"{'A' * 43}= short"])
def test_a_key_that_is_none_is_named(given: Any) -> None:
    with pytest.raises(BadSetting, match="LINLI_CONTACT_KEY"):
        read_keys(SecretStr(given), "LINLI_CONTACT_KEY")
