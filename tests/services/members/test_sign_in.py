"""Signing in by code and by password, refreshing, signing out."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import func, select, text

from chassis.settings import BadSetting
from chassis.world import World
from contracts.members import PersonRegistered, RoleGranted, SignedOut, SignInChallenged
from services.members.app import SERVICE
from services.members.challenges import FAMILIAR_MAX, STRANGE_MAX, STRANGERS_MAX, Caps, wait_after
from services.members.familiar import FAMILIAR_FOR
from services.members.housekeeping import forget_old_sign_in_data
from services.members.keys import generate_keys
from services.members.parts import build_parts
from services.members.passwords import NOBODYS_HASH
from services.members.sign_in_models import (
    AddressTries,
    Challenge,
    FamiliarAddress,
    PasswordTries,
    RefreshToken,
    SignIn,
    StaffAccount,
)
from services.members.tries import ADDRESS_TRIES_MAX, STRANGERS_TRIES_MAX
from tests.chassis.parts import must_fail
from tests.harness import Databases, Person
from tests.services.members.conftest import KEYS, OPERATOR_PASSWORD, Members, run_members, settings_with

PHONE = "13812345678"


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06d}"


def refused(answer: httpx.Response, status: int, kind: str) -> None:
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:linli:problem:{kind}"), answer.text


async def test_the_first_sign_in_makes_the_account_and_the_next_finds_it(members: Members):
    first, second = await members.sign_in(PHONE), await members.sign_in("+86" + PHONE)
    assert first["person_id"] == second["person_id"]
    assert first["token_type"] == "Bearer"
    assert first["expires_in"] == 300
    registered = [fact.person_id for fact in await members.emitted(PersonRegistered)]
    assert registered == [UUID(first["person_id"])]
    me = await members.bearer("GET", "/me", first["access_token"])
    assert me.json()["phone"] == "138****5678"
    assert me.json()["display_name"].startswith("居民")
    assert me.json()["display_name"][2:] not in PHONE


async def test_two_first_sign_ins_with_one_phone_at_once_make_one_account(members: Members):
    codes = [await members.code_for(PHONE) for _ in range(4)]
    answers = await asyncio.gather(
        *(members.post("/auth/token", json={"challenge_id": challenge, "code": code}) for challenge, code in codes)
    )
    assert len({answer.json()["person_id"] for answer in answers}) == 1
    assert len(await members.emitted(PersonRegistered)) == 1


async def test_the_fact_of_a_challenge_carries_its_id_only(members: Members):
    answer = await members.post("/auth/otp", json={"phone": PHONE})
    assert answer.status_code == 202
    assert answer.json() == {"challenge_id": answer.json()["challenge_id"], "expires_in": 300}
    [fact] = await members.emitted(SignInChallenged)
    assert fact.model_dump(mode="json") == {"challenge_id": answer.json()["challenge_id"]}


async def test_a_code_is_good_once(members: Members):
    challenge, code = await members.code_for(PHONE)
    body = {"challenge_id": challenge, "code": code}
    answers = await asyncio.gather(*(members.post("/auth/token", json=body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]
    refused(await members.look_up(f"/internal/challenges/{challenge}", "challenges"), 404, "not_found")


async def test_a_code_expires(members: Members):
    challenge, code = await members.code_for(PHONE)
    members.clock.advance(seconds=301)
    refused(await members.post("/auth/token", json={"challenge_id": challenge, "code": code}), 401, "wrong_code")


async def test_after_five_wrong_attempts_even_at_once_the_right_code_is_refused(members: Members):
    challenge, code = await members.code_for(PHONE)
    wrong = {"challenge_id": challenge, "code": other_than(code)}
    for answer in await asyncio.gather(*(members.post("/auth/token", json=wrong) for _ in range(5))):
        refused(answer, 401, "wrong_code")
    refused(await members.post("/auth/token", json={**wrong, "code": code}), 401, "wrong_code")


async def test_after_four_wrong_attempts_the_right_code_is_taken(members: Members):
    challenge, code = await members.code_for(PHONE)
    for _ in range(4):
        await members.post("/auth/token", json={"challenge_id": challenge, "code": other_than(code)})
    answer = await members.post("/auth/token", json={"challenge_id": challenge, "code": code})
    assert answer.status_code == 200


async def test_an_unknown_challenge_is_refused_like_a_wrong_code(members: Members):
    refused(await members.post("/auth/token", json={"challenge_id": str(uuid4()), "code": "123456"}), 401, "wrong_code")


async def test_a_phone_is_sent_five_codes_in_ten_minutes_exactly_also_at_once(members: Members):
    answers = await asyncio.gather(*(members.post("/auth/otp", json={"phone": PHONE}) for _ in range(9)))
    assert sorted(answer.status_code for answer in answers) == [202] * 5 + [429] * 4
    limited = next(answer for answer in answers if answer.status_code == 429)
    refused(limited, 429, "too_many_codes")
    assert limited.headers["Retry-After"] == "600"
    assert (await members.post("/auth/otp", json={"phone": "13900000000"})).status_code == 202
    members.clock.advance(seconds=600)
    assert (await members.post("/auth/otp", json={"phone": PHONE})).status_code == 202


@given(
    st.lists(st.integers(0, 200_000), max_size=120),
    st.integers(0, 300),
    st.sampled_from([FAMILIAR_MAX, STRANGE_MAX, STRANGERS_MAX]),
)
def test_within_no_window_are_there_more_codes_than_its_cap(steps: list[int], pause_s: int, caps: Caps):
    sent: list[datetime] = []
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for step in steps:
        now += timedelta(seconds=step % (pause_s + 1))
        wait = wait_after(sent[::-1], now, caps)
        if not wait:
            sent.append(now)
        else:
            assert not wait_after(sent[::-1], now + wait, caps)
    for most, span in caps:
        assert all(later - earlier >= span for earlier, later in zip(sent, sent[most:], strict=False))


async def test_what_is_no_phone_is_refused_by_field(members: Members):
    for phone in (
        "",
        "1381234567",
        "12812345678",
        "+1234567",
        "138 1234 5678",
        "１３８１２３４５６７８",
        "+86\0",
        13812345678,
        None,
    ):
        answer = await members.post("/auth/otp", json={"phone": phone})
        refused(answer, 422, "invalid_input")
        assert answer.json()["errors"][0]["field"] == "body.phone"


async def test_exactly_one_pair_of_credentials_is_asked_for(members: Members):
    for body, field in (
        ({}, "body"),
        ({"code": "123456"}, "body.challenge_id"),
        ({"username": "operator"}, "body.password"),
        ({"challenge_id": str(uuid4()), "code": "123456", "username": "operator", "password": "x"}, "body"),
        ({"challenge_id": str(uuid4()), "username": "operator"}, "body"),
        ({"challenge_id": str(uuid4()), "code": "12345"}, "body.code"),
        ({"challenge_id": "x", "code": "123456"}, "body.challenge_id"),
        ({"username": "operator", "password": "x", "admin": True}, "body.admin"),
        ({"username": "a\x00b", "password": "x"}, "body.username"),
    ):
        answer = await members.post("/auth/token", json=body)
        refused(answer, 422, "invalid_input")
        assert answer.json()["errors"][0]["field"] == field


async def test_staff_sign_in_with_a_password_whatever_the_case_of_the_username(staffed: Members):
    answer = await staffed.post("/auth/token", json={"username": "Operator", "password": OPERATOR_PASSWORD})
    assert answer.status_code == 200
    [granted] = await staffed.emitted(RoleGranted)
    assert answer.json()["person_id"] == str(granted.person_id)
    principal = await staffed.runtime.verifier.verify(answer.json()["access_token"])
    assert principal.has("operator")


async def test_wrong_password_and_unknown_username_are_refused_alike(staffed: Members):
    for password, status in (("wrong", 401), ("x" * 200, 401), ("\ud800", 422)):
        bodies = [json.dumps({"username": name, "password": password}) for name in ("operator", "nobody")]
        as_json = {"Content-Type": "application/json"}
        known, unknown = [await staffed.post("/auth/token", content=body, headers=as_json) for body in bodies]
        assert known.status_code == unknown.status_code == status
        assert known.json() == unknown.json()


@pytest.mark.parametrize("username", ["operator", "nobody"])
async def test_a_username_is_tried_ten_times_in_a_quarter_of_an_hour_also_at_once(staffed: Members, username: str):
    wrong = {"username": username, "password": "wrong"}
    answers = await asyncio.gather(*(staffed.post("/auth/token", json=wrong) for _ in range(13)))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 3
    limited = await staffed.post("/auth/token", json={"username": username, "password": OPERATOR_PASSWORD})
    refused(limited, 429, "too_many_tries")
    assert limited.headers["Retry-After"] == "900"
    staffed.clock.advance(seconds=900)
    right = await staffed.post("/auth/token", json={"username": username, "password": OPERATOR_PASSWORD})
    assert right.status_code == (200 if username == "operator" else 401)


def from_(number: int | str) -> dict[str, str]:
    """What the gateway says of where a request comes from."""
    return {"X-Client-Address": f"192.0.2.{number}"}


async def try_password(staffed: Members, password: str, number: int | str, username: str = "operator") -> int:
    body = {"username": username, "password": password}
    answer = await staffed.post("/auth/token", json=body, headers=from_(number))
    return int(answer.status_code)


async def attack_password(staffed: Members, addresses: int) -> list[int]:
    """Wrong passwords from as many addresses, as often as each of them may, and once more."""
    tries = [number for number in range(addresses) for _ in range(ADDRESS_TRIES_MAX + 1)]
    return [await try_password(staffed, "wrong", number) for number in tries]


async def is_not_locked_out(staffed: Members, at: str) -> None:
    """Somebody signs in, is attacked from everywhere, and signs in again at this address."""
    assert await try_password(staffed, OPERATOR_PASSWORD, "home") == 200
    statuses = await attack_password(staffed, 7)
    assert statuses.count(401) == STRANGERS_TRIES_MAX, "strangers together have a cap"
    assert await try_password(staffed, OPERATOR_PASSWORD, "elsewhere") == 429
    assert await try_password(staffed, OPERATOR_PASSWORD, at) == 200


async def test_nobody_is_locked_out_by_strangers_at_an_address_they_signed_in_from(quick: Members):
    await is_not_locked_out(quick, "home")


async def test_control_at_an_address_that_is_not_familiar_they_are(quick: Members):
    await must_fail(is_not_locked_out, quick, "new")


async def test_one_address_locks_only_itself_out(quick: Members):
    assert (await attack_password(quick, 1)).count(429) == 1
    assert await try_password(quick, OPERATOR_PASSWORD, "elsewhere") == 200
    assert await try_password(quick, OPERATOR_PASSWORD, 0) == 429


async def test_a_familiar_address_has_a_cap_too_and_is_forgotten_after_a_while(quick: Members):
    assert await try_password(quick, OPERATOR_PASSWORD, "home") == 200
    statuses = [await try_password(quick, "wrong", "home") for _ in range(ADDRESS_TRIES_MAX + 2)]
    assert statuses == [401] * ADDRESS_TRIES_MAX + [429] * 2
    quick.clock.advance(seconds=FAMILIAR_FOR.total_seconds())
    await attack_password(quick, 7)
    assert await try_password(quick, OPERATOR_PASSWORD, "home") == 429


async def test_what_is_done_to_a_username_that_does_not_exist_shows_no_difference(quick: Members):
    async def statuses(username: str) -> list[int]:
        numbers = [number for number in range(6) for _ in range(ADDRESS_TRIES_MAX + 1)]
        return [await try_password(quick, "wrong", number, username) for number in numbers]

    assert await statuses("operator") == await statuses("nobody")


async def ask_for_codes(members: Members, number: int | str, count: int) -> list[int]:
    body = {"phone": PHONE}
    asked = [await members.post("/auth/otp", json=body, headers=from_(number)) for _ in range(count)]
    return [answer.status_code for answer in asked]


async def gets_a_code(members: Members, at: str) -> None:
    """Somebody has signed in at home; strangers have codes sent to the phone; it gets another one at this address."""
    challenge, code = await members.code_for(PHONE, headers=from_("home"))
    body = {"challenge_id": challenge, "code": code}
    assert (await members.post("/auth/token", json=body, headers=from_("home"))).status_code == 200
    statuses = [status for number in range(4) for status in await ask_for_codes(members, number, 6)]
    # The first one at home was a stranger's, too.
    assert statuses.count(202) == STRANGERS_MAX[0][0] - 1
    assert await ask_for_codes(members, "elsewhere", 1) == [429]
    assert await ask_for_codes(members, at, 1) == [202]


async def test_nobody_is_kept_from_a_code_by_strangers_at_an_address_they_signed_in_from(members: Members):
    await gets_a_code(members, "home")
    familiar = await ask_for_codes(members, "home", 12)
    assert familiar.count(202) == FAMILIAR_MAX[0][0] - 2, "the two before count"


async def test_control_at_an_address_that_is_not_familiar_they_are_kept_from_it(members: Members):
    await must_fail(gets_a_code, members, "new")


async def test_one_address_leaves_codes_for_another(members: Members):
    assert (await ask_for_codes(members, 1, 7)).count(202) == STRANGE_MAX[0][0]
    assert await ask_for_codes(members, 2, 1) == [202]


async def test_no_address_is_readable_in_the_database(members: Members):
    await ask_for_codes(members, 77, 1)
    await members.post("/auth/token", json={"username": "x", "password": "y"}, headers=from_(77))
    async with members.db.transaction() as session:
        for table in (Challenge, AddressTries, PasswordTries, FamiliarAddress):
            rows = (await session.execute(text(f"SELECT t::text FROM {table.__tablename__} t"))).scalars()  # noqa: S608
            assert all("192.0.2" not in row and b"192.0.2".hex() not in row for row in rows)


async def test_many_right_sign_ins_at_once_are_no_wrong_tries(staffed: Members):
    right = {"username": "operator", "password": OPERATOR_PASSWORD}
    answers = await asyncio.gather(*(staffed.post("/auth/token", json=right) for _ in range(14)))
    assert {answer.status_code for answer in answers} == {200}


async def test_a_refresh_token_is_exchanged_for_the_next_pair(members: Members):
    first = await members.sign_in(PHONE)
    answer = await members.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert answer.status_code == 200
    assert answer.json().keys() == first.keys()
    assert answer.json()["person_id"] == first["person_id"]
    assert answer.json()["refresh_token"] != first["refresh_token"]
    sessions = [
        (await members.runtime.verifier.verify(tokens["access_token"])).session_id for tokens in (first, answer.json())
    ]
    assert sessions[0] == sessions[1]


async def test_a_used_refresh_token_ends_the_sign_in_and_no_other(members: Members):
    other, first = await members.sign_in(PHONE), await members.sign_in(PHONE)
    second = (await members.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})).json()
    for token in (first["refresh_token"], second["refresh_token"], first["refresh_token"]):
        refused(await members.post("/auth/refresh", json={"refresh_token": token}), 401, "sign_in_ended")
    [fact] = await members.emitted(SignedOut)
    assert str(fact.person_id) == first["person_id"]
    assert (await members.post("/auth/refresh", json={"refresh_token": other["refresh_token"]})).status_code == 200


async def test_of_two_uses_at_once_one_is_answered_and_the_sign_in_ends(members: Members):
    first = await members.sign_in(PHONE)
    body = {"refresh_token": first["refresh_token"]}
    answers = await asyncio.gather(*(members.post("/auth/refresh", json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    assert len(await members.emitted(SignedOut)) == 1


async def test_of_many_uses_at_once_at_two_copies_one_is_answered_and_the_whole_sign_in_ends(databases: Databases):
    url = await databases.fresh(SERVICE)
    async with run_members(databases, database_url=url) as one, run_members(databases, database_url=url) as other:
        body = {"refresh_token": (await one.sign_in(PHONE))["refresh_token"]}
        uses = (copy.post("/auth/refresh", json=body) for _ in range(10) for copy in (one, other))
        answers = await asyncio.gather(*uses)
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19
        [newest] = [answer.json()["refresh_token"] for answer in answers if answer.status_code == 200]
        for copy in (one, other):
            refused(await copy.post("/auth/refresh", json={"refresh_token": newest}), 401, "sign_in_ended")
        assert len(await one.emitted(SignedOut)) == 1


async def test_an_unknown_or_expired_refresh_token_is_refused(members: Members):
    refused(await members.post("/auth/refresh", json={"refresh_token": "made-up"}), 401, "sign_in_ended")
    first = await members.sign_in(PHONE)
    members.clock.advance(days=30)
    answer = await members.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
    refused(answer, 401, "sign_in_ended")


async def test_a_sign_out_ends_its_own_sign_in_only(members: Members):
    other, mine = await members.sign_in(PHONE), await members.sign_in(PHONE)
    assert (await members.bearer("POST", "/auth/logout", mine["access_token"])).status_code == 204
    envelopes = await members.envelopes(SignedOut)
    assert len(envelopes) == 1
    refused(await members.post("/auth/refresh", json={"refresh_token": mine["refresh_token"]}), 401, "sign_in_ended")
    await members.deliver(*envelopes, *envelopes)
    refused(await members.bearer("GET", "/me", mine["access_token"]), 401, "unauthenticated")
    assert (await members.bearer("GET", "/me", other["access_token"])).status_code == 200
    assert (await members.post("/auth/refresh", json={"refresh_token": other["refresh_token"]})).status_code == 200


async def test_signing_out_twice_is_one_fact_and_a_stranger_to_it_needs_a_token(members: Members):
    mine = await members.sign_in(PHONE)
    for _ in range(2):
        assert (await members.bearer("POST", "/auth/logout", mine["access_token"])).status_code == 204
    assert len(await members.emitted(SignedOut)) == 1
    refused(await members.post("/auth/logout"), 401, "unauthenticated")
    assert (await members.post("/auth/logout", person=Person())).status_code == 204


async def test_signing_in_is_possible_with_an_expired_token_in_the_header(members: Members):
    expired = (await members.sign_in(PHONE))["access_token"]
    members.clock.advance(hours=1)
    assert (await members.bearer("POST", "/auth/otp", expired, json={"phone": PHONE})).status_code == 202


async def test_the_public_keys_have_no_private_part(members: Members):
    answer = await members.get("/.well-known/jwks.json")
    [key] = answer.json()["keys"]
    assert key["kty"] == "EC"
    assert key["alg"] == "ES256"
    assert "d" not in key
    assert "max-age" in answer.headers["Cache-Control"]


async def test_copies_that_start_together_make_one_operator(databases: Databases):
    url = await databases.fresh(SERVICE)
    settings = settings_with(KEYS, operator_password=OPERATOR_PASSWORD)
    copies = [run_members(databases, database_url=url, settings=settings) for _ in range(3)]
    running = await asyncio.gather(*(copy.__aenter__() for copy in copies))
    try:
        async with running[0].db.transaction() as session:
            assert await session.scalar(select(func.count()).select_from(StaffAccount)) == 1
        assert len(await running[0].emitted(RoleGranted)) == 1
    finally:
        for copy in copies:
            await copy.__aexit__(None, None, None)


def test_the_hash_verified_for_nobody_costs_what_every_other_does():
    assert not Argon2Hasher().check_needs_rehash(NOBODYS_HASH)


@pytest.mark.parametrize("setting", ["contact_key", "phone_index_key", "token_key"])
@pytest.mark.parametrize("value", [None, "short", "c2hvcnQ="])
def test_a_missing_or_bad_key_is_named_and_not_quoted(setting: str, value: str | None):
    keys = {**generate_keys(), setting: value}
    settings = settings_with({name: key for name, key in keys.items() if key})
    with pytest.raises(BadSetting, match=f"LINLI_{setting.upper()}") as caught:
        build_parts(settings, World())
    assert value is None or value not in str(caught.value)


async def test_a_token_key_on_one_line_is_read(databases: Databases):
    keys = generate_keys()
    keys["token_key"] = keys["token_key"].replace("\n", "\\n")
    async with run_members(databases, settings=settings_with(keys)) as members:
        assert (await members.get("/.well-known/jwks.json")).status_code == 200


async def test_what_nothing_can_come_of_is_forgotten(members: Members):
    await members.sign_in(PHONE)
    await members.post("/auth/token", json={"username": "nobody", "password": "x"})

    async def counts() -> list[int | None]:
        async with members.db.transaction() as session:
            await forget_old_sign_in_data(session, members.clock())
            tables = (Challenge, PasswordTries, AddressTries, SignIn, RefreshToken, FamiliarAddress)
            return [await session.scalar(select(func.count()).select_from(table)) for table in tables]

    assert await counts() == [1, 1, 1, 1, 1, 1]
    members.clock.advance(days=3)
    assert await counts() == [0, 0, 0, 1, 1, 1]
    members.clock.advance(days=28)
    assert await counts() == [0, 0, 0, 0, 0, 1]
    members.clock.advance(days=90)
    assert await counts() == [0, 0, 0, 0, 0, 0]
