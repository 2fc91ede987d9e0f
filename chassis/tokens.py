"""Access and service tokens: JWTs signed with ES256 and nothing else, by a key of ours, for one audience.

Members signs access tokens of people and devices; gateway and notify each sign service tokens for their one look-up at
members. The verifier never takes algorithm or key from the token: `kid` only chooses among our own published keys.
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from pydantic import BaseModel, Field, SecretStr, ValidationError

from chassis.errors import Unauthenticated, Unavailable
from chassis.settings import BadSetting, required

ALGORITHMS = ["ES256"]
ACCESS_TOKEN_S = 300
SERVICE_TOKEN_S = 60
CLOCK_SKEW_S = 5
# Of a process without a database, whose clock nothing sets right: the gateway, which signs and verifies.
GATEWAY_CLOCK_SKEW_S = 300
TOKEN_MAX_CHARACTERS = 8192
VERIFIED_MAX = 20_000
KEYS_REFRESH_S = 10.0
# A key source that failed is asked again after this time.
KEYS_RETRY_S = 1.0

ISSUER = "linli-members"
AUDIENCE = "linli"
LOOKUP_AUDIENCE = "linli-members"


class Grant(BaseModel):
    """A role and where it holds: in an area's subtree, in an organisation, or (neither given) everywhere."""

    role: str
    area_id: UUID | None = None
    organisation_id: UUID | None = None


# The last second of the year 9999, which a datetime can still hold.
TIME_MAX_S = 253_402_300_799


class _AccessClaims(BaseModel):
    iss: Literal["linli-members"]
    aud: Literal["linli"]
    sub: UUID
    sid: UUID
    iat: float = Field(ge=0, le=TIME_MAX_S)
    exp: float = Field(ge=0, le=TIME_MAX_S)
    # We give none; a token of ours that says it is not to be taken yet is not.
    nbf: float = Field(default=0, ge=0, le=TIME_MAX_S)
    roles: list[Grant] = Field(max_length=200)


class _ServiceClaims(BaseModel):
    iss: str
    aud: Literal["linli-members"]
    scope: str
    exp: float = Field(ge=0, le=TIME_MAX_S)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a person (or a device) in one sign-in, with the roles the token carries."""

    person_id: UUID
    session_id: UUID
    grants: tuple[Grant, ...]
    issued_at: datetime
    expires_at: datetime

    def has(self, *roles: str) -> bool:
        """Whether the person holds one of the roles anywhere."""
        return any(grant.role in roles for grant in self.grants)

    def has_for_organisation(self, organisation_id: UUID, role: str) -> bool:
        """Whether the person holds the role within this organisation."""
        return any(grant.role == role and grant.organisation_id == organisation_id for grant in self.grants)


def generate_key() -> str:
    """A new ES256 private key, PEM."""
    return ECKey.generate_key("P-256").as_pem(private=True).decode()


class Signer:
    """Signs with one private key; `public_keys` is what verifiers need."""

    def __init__(self, private_pem: str) -> None:
        key = ECKey.import_key(private_pem)
        self._kid = key.thumbprint()
        self._key = ECKey.import_key(private_pem, {"kid": self._kid, "use": "sig", "alg": "ES256"})

    def public_keys(self) -> dict[str, Any]:
        """The JSON Web Key Set (RFC 7517) with the public half."""
        return {"keys": [self._key.as_dict(private=False)]}

    def access_token(self, person_id: UUID, session_id: UUID, grants: Sequence[Grant], now: datetime) -> str:
        """A token of `ACCESS_TOKEN_S` seconds for a person's session."""
        return self._sign(
            {
                "iss": ISSUER,
                "aud": AUDIENCE,
                "sub": str(person_id),
                "sid": str(session_id),
                "iat": now.timestamp(),
                "exp": int((now + timedelta(seconds=ACCESS_TOKEN_S)).timestamp()),
                "roles": [grant.model_dump(mode="json", exclude_none=True) for grant in grants],
            }
        )

    def service_token(self, service: str, scope: str, now: datetime) -> str:
        """A token of `SERVICE_TOKEN_S` seconds with which a service makes its look-up at members."""
        expires = int((now + timedelta(seconds=SERVICE_TOKEN_S)).timestamp())
        return self._sign({"iss": service, "aud": LOOKUP_AUDIENCE, "scope": scope, "exp": expires})

    def _sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "ES256", "kid": self._kid}, claims, self._key, algorithms=ALGORITHMS)


def signer_from(secret: SecretStr | None, variable: str) -> Signer:
    """The signer with the key of a setting; BadSetting naming its variable for one that is missing or malformed."""
    pem = required(secret, variable)
    try:
        # An env file holds one line a variable: there a line break is written \\n.
        return Signer(pem.replace("\\n", "\n"))
    except Exception as error:
        # Without the cause's text: it may quote the key.
        raise BadSetting(f"{variable} is not an ES256 private key in PEM ({type(error).__name__})") from None


class Verifier:
    """Verifies access tokens against members' published keys; verified ones are kept until they expire."""

    def __init__(
        self,
        fetch_keys: Callable[[], Awaitable[Mapping[str, Any]]],
        now: Callable[[], datetime],
        clock_skew_s: float = CLOCK_SKEW_S,
    ) -> None:
        self._fetch_keys = fetch_keys
        self._now = now
        self._clock_skew_s = clock_skew_s
        self._keys: KeySet | None = None
        # By id, looked up with every new token: a key computes its id anew each time it is asked.
        self._known: frozenset[str | None] = frozenset()
        self._fetching = asyncio.Lock()
        self._next_fetch = 0.0
        self._verified: dict[str, Principal] = {}

    async def verify(self, token: str) -> Principal:
        """The principal of a valid token; Unauthenticated otherwise."""
        known = self._verified.get(token)
        if known is None:
            known = _principal(await self._claims(token))
            if len(self._verified) >= VERIFIED_MAX:
                self._verified.clear()
            self._verified[token] = known
        if known.expires_at + timedelta(seconds=self._clock_skew_s) <= self._now():
            self._verified.pop(token, None)
            raise Unauthenticated()
        return known

    async def _claims(self, token: str) -> _AccessClaims:
        keys = await self._keys_for(token)
        try:
            claims = _AccessClaims.model_validate(jwt.decode(token, keys, algorithms=ALGORITHMS).claims)
        except (JoseError, ValidationError, ValueError) as error:
            raise Unauthenticated() from error
        if max(claims.iat, claims.nbf) > self._now().timestamp() + self._clock_skew_s:
            raise Unauthenticated()
        return claims

    async def _keys_for(self, token: str) -> KeySet:
        """Our keys; asked for again when the token names one we do not know, at most every `KEYS_REFRESH_S`."""
        kid = _kid(token)
        if not self._has(kid):
            async with self._fetching:
                if not self._has(kid) and time.monotonic() >= self._next_fetch:
                    await self._fetch()
        if self._keys is None:
            raise Unavailable()
        if not self._has(kid):
            raise Unauthenticated()
        return self._keys

    async def _fetch(self) -> None:
        pause_s = KEYS_RETRY_S
        try:
            document = await self._fetch_keys()
            try:
                keys = KeySet.import_key_set(dict(document))  # type: ignore[arg-type]
                self._keys, self._known = keys, frozenset(key.kid for key in keys.keys)
            except (JoseError, ValueError, TypeError, LookupError) as error:
                raise Unavailable() from error
            pause_s = KEYS_REFRESH_S
        finally:
            # From the answer on: those who waited for it do not wait for another one each, however long it took.
            self._next_fetch = time.monotonic() + pause_s

    def _has(self, kid: str) -> bool:
        return kid in self._known


def _kid(token: str) -> str:
    if len(token) > TOKEN_MAX_CHARACTERS or token.count(".") != 2:
        raise Unauthenticated()
    try:
        head = token.split(".", 1)[0]
        header = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError) as error:
        raise Unauthenticated() from error
    kid = header.get("kid") if isinstance(header, dict) else None
    if not isinstance(kid, str):
        raise Unauthenticated()
    return kid


def _principal(claims: _AccessClaims) -> Principal:
    return Principal(
        person_id=claims.sub,
        session_id=claims.sid,
        grants=tuple(claims.roles),
        issued_at=datetime.fromtimestamp(claims.iat, UTC),
        expires_at=datetime.fromtimestamp(claims.exp, UTC),
    )


def verify_service_token(token: str, keys_of: Mapping[str, Mapping[str, Any]], scope: str, now: datetime) -> str:
    """The name of the service that signed the token for `scope`; Unauthenticated otherwise. `keys_of`: JWKS by name."""
    kid = _kid(token)
    for service, keys in keys_of.items():
        key_set = KeySet.import_key_set(dict(keys))  # type: ignore[arg-type]
        if not any(key.kid == kid for key in key_set.keys):
            continue
        try:
            claims = _ServiceClaims.model_validate(jwt.decode(token, key_set, algorithms=ALGORITHMS).claims)
        except (JoseError, ValidationError, ValueError) as error:
            raise Unauthenticated() from error
        if claims.iss == service and claims.scope == scope and claims.exp + GATEWAY_CLOCK_SKEW_S > now.timestamp():
            return service
    raise Unauthenticated()
