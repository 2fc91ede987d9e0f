"""A token counts when it was signed with our key, our algorithm, for our audience, and is not over."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from chassis import tokens as tokens_module
from chassis.errors import Unauthenticated, Unavailable
from chassis.service import build_runtime
from chassis.settings import Settings
from chassis.tokens import (
    ACCESS_TOKEN_S,
    CLOCK_SKEW_S,
    GATEWAY_CLOCK_SKEW_S,
    SERVICE_TOKEN_S,
    Grant,
    Signer,
    Verifier,
    generate_key,
    verify_service_token,
)
from chassis.world import World
from tests.chassis.toy import SERVICE
from tests.harness import Clock, Databases, Person, run_service

PEM = generate_key()
SIGNER = Signer(PEM)
PUBLIC = SIGNER.public_keys()["keys"][0]
KID = PUBLIC["kid"]
PERSON, SESSION = uuid4(), uuid4()


def claims(now: datetime, **changes: Any) -> dict[str, Any]:
    made = {
        "iss": "linli-members",
        "aud": "linli",
        "sub": str(PERSON),
        "sid": str(SESSION),
        "iat": now.timestamp(),
        "exp": int(now.timestamp()) + ACCESS_TOKEN_S,
        "roles": [{"role": "operator"}],
    }
    return {name: value for name, value in (made | changes).items() if value is not ...}


def signed(content: Mapping[str, Any], key: Any = None, alg: str = "ES256", kid: object = KID) -> str:
    header = {"alg": alg, "kid": kid} if kid is not None else {"alg": alg}
    return jwt.encode(header, dict(content), key or ECKey.import_key(PEM), algorithms=[alg])


def part(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def mac(content: Mapping[str, Any], secret: bytes) -> str:
    """Signed by whoever knows the secret, here: our public key."""
    text = f"{part({'alg': 'HS256', 'kid': KID})}.{part(content)}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), 'sha256'))}"


def forged(now: datetime) -> dict[str, str]:
    """Everything that somebody without our key could send, and what another use of our key signed."""
    good = signed(claims(now))
    head, body, signature = good.split(".")
    public_pem = ECKey.import_key(PUBLIC).as_pem(private=False)
    rsa = RSAKey.generate_key(2048)
    past, future = now - timedelta(seconds=600), now + timedelta(seconds=60)
    made = {
        "empty": "",
        "one part": "abc",
        "five parts": "a.b.c.d.e",
        "no base64": "!!.!!.!!",
        "not ASCII": "ä.ö.ü",
        "header is a list": f"{part([1])}.{body}.{signature}",
        "header is a number": f"{part(3)}.{body}.{signature}",
        "header is no UTF-8": f"{part(bytes([255, 254]))}.{body}.{signature}",
        "header is deep": f"{part(b'[' * 5000)}.{body}.{signature}",
        "too long": good + "a" * 9000,
        "no signature": f"{head}.{body}.",
        "other signature": f"{head}.{body}.{part(b'x' * 64)}",
        "zero signature": f"{head}.{body}.{part(bytes(64))}",
        "alg none": f"{part({'alg': 'none', 'kid': KID})}.{body}.",
        "alg none with a signature": f"{part({'alg': 'none', 'kid': KID})}.{body}.{signature}",
        "HS256 with our public key": mac(claims(now), public_pem),
        "RS256": signed(claims(now), rsa, "RS256"),
        "another key, our kid": signed(claims(now), ECKey.generate_key("P-256")),
        "another key and its kid": signed(claims(now), ECKey.generate_key("P-256"), kid="theirs"),
        "key in the header": jwt.encode(
            {"alg": "ES256", "kid": KID, "jwk": (other := ECKey.generate_key("P-256")).as_dict(private=False)},
            claims(now),
            other,
        ),
        "no kid": signed(claims(now), kid=None),
        "kid of a path": signed(claims(now), kid="../../dev/null"),
        "kid of a file": signed(claims(now), kid="file:///dev/null"),
        "kid of an address": signed(claims(now), kid="https://elsewhere/keys.json"),
        "kid of a statement": signed(claims(now), kid=f"{KID}' OR '1'='1"),
        "another audience": signed(claims(now, aud="linli-members")),
        "several audiences": signed(claims(now, aud=["linli"])),
        "another issuer": signed(claims(now, iss="linli-gateway")),
        "expired": signed(claims(past)),
        "of the future": signed(claims(future)),
        "not yet good": signed(claims(now, nbf=now.timestamp() + 60)),
        "good from no time on": signed(claims(now, nbf="now")),
        "without end": signed(claims(now, exp=...)),
        "without start": signed(claims(now, iat=...)),
        "without session": signed(claims(now, sid=...)),
        "subject is no id": signed(claims(now, sub="1")),
        "roles are text": signed(claims(now, roles="operator")),
        "no claims": signed({}),
        "a service token": SIGNER.service_token("linli-members", "contacts", now),
    }
    for name, alg in {"no text": 1, "a list": ["ES256"], "an object": {}, "null": None, "unknown": "ES999"}.items():
        made[f"alg is {name}"] = f"{part({'alg': alg, 'kid': KID})}.{body}.{signature}"
    for name in ("jku", "x5u"):
        header = {"alg": "ES256", "kid": KID, name: "https://elsewhere/keys.json"}
        made[f"keys at an address, {name}"] = jwt.encode(header, claims(now), ECKey.generate_key("P-256"))
    for name in ("crit", "b64", "zip"):
        made[f"header with {name}"] = f"{part({'alg': 'ES256', 'kid': KID, name: [name]})}.{body}.{signature}"
    for name, kid in {"a number": 1, "a list": [], "null": None}.items():
        made[f"kid is {name}"] = f"{part({'alg': 'ES256', 'kid': kid})}.{body}.{signature}"
    return made


class KeySource:
    """Members' published keys, and how often they were asked for."""

    def __init__(self, *signers: Signer) -> None:
        self.keys = {"keys": [key for signer in signers for key in signer.public_keys()["keys"]]}
        self.asked = 0
        self.down = False

    async def fetch(self) -> Mapping[str, Any]:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.down:
            raise Unavailable()
        return self.keys


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("name", sorted(forged(Clock()())))
async def test_a_forged_token_is_refused(clock: Clock, name: str) -> None:
    verifier = Verifier(KeySource(SIGNER).fetch, clock)
    await verifier.verify(signed(claims(clock())))
    with pytest.raises(Unauthenticated):
        await verifier.verify(forged(clock())[name])


async def test_over_http_too_every_forged_token_is_a_401(databases: Databases, clock: Clock) -> None:
    async with run_service(SERVICE, databases) as toy:
        answers = {}
        for name, token in forged(toy.clock()).items():
            headers = {b"Authorization": b"Bearer " + token.encode("utf-8")}
            answers[name] = (await toy.client.get("/api/v1/secret", headers=headers)).status_code
        assert answers == dict.fromkeys(answers, 401)
        for header in ("Basic abc", "Bearer", "bearer ", "Token x", "Bearer a b"):
            assert (await toy.client.get("/api/v1/secret", headers={"Authorization": header})).status_code == 401


async def test_a_good_token_names_person_session_and_roles(clock: Clock) -> None:
    area, organisation = uuid4(), uuid4()
    grants = [Grant(role="coordinator", area_id=area), Grant(role="organisation_admin", organisation_id=organisation)]
    verifier = Verifier(KeySource(SIGNER).fetch, clock)
    principal = await verifier.verify(SIGNER.access_token(PERSON, SESSION, grants, clock()))
    assert (principal.person_id, principal.session_id, list(principal.grants)) == (PERSON, SESSION, grants)
    assert principal.issued_at == clock()
    assert principal.has("member", "coordinator")
    assert not principal.has("operator")
    assert principal.has_for_organisation(organisation, "organisation_admin")
    assert not principal.has_for_organisation(area, "coordinator")


async def test_a_token_that_is_kept_expires_all_the_same(clock: Clock) -> None:
    verifier = Verifier(KeySource(SIGNER).fetch, clock)
    token = SIGNER.access_token(PERSON, SESSION, [], clock())
    await verifier.verify(token)
    clock.advance(seconds=ACCESS_TOKEN_S + CLOCK_SKEW_S - 1)
    await verifier.verify(token)
    clock.advance(seconds=1)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await verifier.verify(token)


async def test_clocks_may_differ_a_little(clock: Clock) -> None:
    verifier = Verifier(KeySource(SIGNER).fetch, clock)
    await verifier.verify(signed(claims(clock() + timedelta(seconds=CLOCK_SKEW_S))))
    with pytest.raises(Unauthenticated):
        await verifier.verify(signed(claims(clock() + timedelta(seconds=CLOCK_SKEW_S + 1))))


@pytest.mark.parametrize("off_s", [-GATEWAY_CLOCK_SKEW_S, GATEWAY_CLOCK_SKEW_S])
async def test_a_gateway_whose_clock_is_five_minutes_off_verifies_and_is_verified(clock: Clock, off_s: int) -> None:
    gateway_clock = Clock(clock() + timedelta(seconds=off_s))
    about_to_end = signed(claims(clock(), exp=int(clock().timestamp()) + 1))
    await Verifier(KeySource(SIGNER).fetch, gateway_clock, GATEWAY_CLOCK_SKEW_S).verify(about_to_end)
    with pytest.raises(Unauthenticated):  # the control: with the patience of a service
        await Verifier(KeySource(SIGNER).fetch, gateway_clock).verify(about_to_end)
    lookup = SIGNER.service_token("gateway", "names", gateway_clock())
    assert verify_service_token(lookup, {"gateway": SIGNER.public_keys()}, "names", clock()) == "gateway"


async def test_an_unknown_kid_asks_for_the_keys_but_not_again_and_again(clock: Clock) -> None:
    source = KeySource(SIGNER)
    verifier = Verifier(source.fetch, clock)
    await verifier.verify(signed(claims(clock())))
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await verifier.verify(signed(claims(clock()), kid=f"made-up-{number}"))
    assert source.asked == 1


async def test_a_new_key_of_ours_is_found(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "KEYS_REFRESH_S", 0.0)
    source, new = KeySource(SIGNER), Signer(generate_key())
    verifier = Verifier(source.fetch, clock)
    await verifier.verify(signed(claims(clock())))
    source.keys = KeySource(SIGNER, new).keys
    await verifier.verify(new.access_token(PERSON, SESSION, [], clock()))
    await verifier.verify(signed(claims(clock())))


async def test_those_who_ask_while_the_keys_are_fetched_wait_for_them(clock: Clock) -> None:
    source = KeySource(SIGNER)
    verifier = Verifier(source.fetch, clock)
    tokens = [SIGNER.access_token(uuid4(), SESSION, [], clock()) for _ in range(20)]
    await asyncio.gather(*(verifier.verify(token) for token in tokens))
    assert source.asked == 1


async def test_while_the_keys_cannot_be_had_tokens_are_neither_good_nor_bad(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "KEYS_RETRY_S", 0.2)
    source = KeySource(SIGNER)
    source.down = True
    verifier = Verifier(source.fetch, clock)
    token = SIGNER.access_token(PERSON, SESSION, [], clock())
    outcomes = await asyncio.gather(*(verifier.verify(token) for _ in range(20)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert source.asked == 1, "a source that is down is not hammered"
    source.down = False
    await asyncio.sleep(0.2)
    await verifier.verify(token)


async def test_those_who_waited_for_a_source_that_hangs_do_not_wait_for_it_one_after_another(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_s, asked = 0.0, 0

    async def hang() -> Mapping[str, Any]:
        nonlocal passed_s, asked
        asked += 1
        await asyncio.sleep(0)  # the others come to wait
        passed_s += 2 * tokens_module.KEYS_RETRY_S
        raise Unavailable()

    monkeypatch.setattr(tokens_module, "time", SimpleNamespace(monotonic=lambda: passed_s))
    verifier = Verifier(hang, clock)
    token = SIGNER.access_token(PERSON, SESSION, [], clock())
    outcomes = await asyncio.gather(*(verifier.verify(token) for _ in range(20)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert asked == 1


@pytest.mark.parametrize("trouble", ["refused", "slow", "500", "nonsense", "no keys"])
async def test_a_key_source_in_trouble_is_a_503(databases: Databases, clock: Clock, trouble: str) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        if trouble == "refused":
            raise httpx.ConnectError("refused")
        if trouble == "slow":
            raise httpx.ReadTimeout("slow")
        if trouble == "500":
            return httpx.Response(500)
        return httpx.Response(200, text="<html>") if trouble == "nonsense" else httpx.Response(200, json={"keys": 3})

    world = World(now=clock)
    async with httpx.AsyncClient(transport=httpx.MockTransport(serve), base_url="http://members") as members:
        runtime = build_runtime(Settings(environment="development"), world, "postgresql+asyncpg://x@y/z", members)
        with pytest.raises(Unavailable):
            await runtime.verifier.verify(signed(claims(clock())))
        await runtime.db.close()


def test_a_service_token_is_good_for_its_service_its_scope_and_a_minute(clock: Clock) -> None:
    notify, gateway = Signer(generate_key()), Signer(generate_key())
    keys = {"gateway": gateway.public_keys(), "notify": notify.public_keys()}
    token = notify.service_token("notify", "contacts", clock())
    assert verify_service_token(token, keys, "contacts", clock()) == "notify"
    refused = [
        (token, keys, "names", clock()),
        (token, {"gateway": gateway.public_keys()}, "contacts", clock()),
        (token, {"notify": gateway.public_keys()}, "contacts", clock()),
        (gateway.service_token("notify", "contacts", clock()), keys, "contacts", clock()),
        (token, keys, "contacts", clock() + timedelta(seconds=SERVICE_TOKEN_S + GATEWAY_CLOCK_SKEW_S)),
        (notify.access_token(PERSON, SESSION, [], clock()), keys, "contacts", clock()),
        (token, {}, "contacts", clock()),
        *((one, keys, "contacts", clock()) for one in forged(clock()).values()),
    ]
    for arguments in refused:
        with pytest.raises(Unauthenticated):
            verify_service_token(*arguments)


async def test_the_internal_route_takes_its_service_only(databases: Databases) -> None:
    notify = Signer(generate_key())
    async with run_service(SERVICE, databases, service_keys={"notify": notify.public_keys()}) as toy:

        async def call(token: str | None) -> int:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return (await toy.client.get("/internal/contacts", headers=headers)).status_code

        assert await call(notify.service_token("notify", "contacts", toy.clock())) == 200
        assert await call(notify.service_token("notify", "names", toy.clock())) == 401
        assert await call(notify.service_token("gateway", "contacts", toy.clock())) == 401
        assert await call(Signer(generate_key()).service_token("notify", "contacts", toy.clock())) == 401
        assert await call(toy.token(Person(grants=(Grant(role="operator"),)))) == 401
        assert await call(None) == 401
        toy.clock.advance(seconds=SERVICE_TOKEN_S + GATEWAY_CLOCK_SKEW_S)
        assert await call(notify.service_token("notify", "contacts", datetime(2026, 3, 2, 8, tzinfo=UTC))) == 401
