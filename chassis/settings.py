"""What a deployment sets: read from `LINLI_…` environment variables, checked once at start.

Each can be a file instead, of the variable's name in small letters in the folder `LINLI_SECRETS_DIR`: that is how
containers are handed their secrets. A variable goes before the file; an empty one counts as not set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

ServiceName = Literal["members", "catalog", "orders", "points", "notify"]
SERVICE_NAMES: tuple[ServiceName, ...] = get_args(ServiceName)
SERVICE_URLS: Mapping[ServiceName, str] = {name: f"http://{name}:8000" for name in SERVICE_NAMES}

ARRIVAL_WAIT_S = 2.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
SECRETS_DIR = "LINLI_SECRETS_DIR"
LOOPBACK_ONLY = (
    "LINLI_HOST: development mode listens on loopback only (127.0.0.1, ::1 or localhost), "
    "or is published there only (LINLI_PUBLISHED_ON_LOOPBACK)"
)


class BadSetting(ValueError):
    """A setting is missing or malformed: the message names its variable, and never tells its value."""


def _url_of(*schemes: str) -> AfterValidator:
    """A secret that is a URL of one of these schemes."""

    def check(secret: SecretStr) -> SecretStr:
        try:
            url = urlsplit(secret.get_secret_value())
            well_formed = url.scheme in schemes and bool(url.netloc) and url.port != 0
        except ValueError:  # its text may quote the password
            well_formed = False
        if not well_formed:
            raise ValueError(f"expected a URL like {schemes[0]}://user:password@host/name")
        return secret

    return AfterValidator(check)


def _read_json(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("expected an object in JSON") from None


def _read_list(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _with_the_others(given: dict[ServiceName, str]) -> dict[ServiceName, str]:
    return {**SERVICE_URLS, **given}


JSON = (NoDecode, BeforeValidator(_read_json))
Secret = Annotated[SecretStr, Field(min_length=1)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^/?#]+$")]
Network = IPv4Network | IPv6Network
Rate = Annotated[str, Field(pattern=r"^[1-9]\d*/([1-9]\d* )?(second|minute|hour|day)s?$")]


class Settings(BaseSettings):
    """Every setting of every part; a part reads those that concern it.

    `development` makes sign-in codes readable and is refused together with an address other than loopback.
    """

    model_config = SettingsConfigDict(
        env_prefix="LINLI_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    environment: Literal["development", "production"] = "production"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    # The deployment's word that `host`, though not loopback, is reached from the machine's loopback only.
    published_on_loopback: bool = False
    # Where it answers `GET /metrics`, for Prometheus; nowhere without it.
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    # How long a process that was told to stop goes on answering, so that whoever routes to it notices.
    drain_s: Annotated[float, Field(ge=0, le=60)] = 0
    log_format: Literal["text", "json"] = "json"

    # A service that runs by itself: its database (application role), the broker, and where the services answer.
    database_url: Annotated[Secret, _url_of("postgresql+asyncpg")] | None = None
    # How long a process that starts waits for its database. One that ends at once is started again ever more slowly.
    database_wait_s: Annotated[float, Field(ge=0, le=600)] = 30
    amqp_url: Annotated[Secret, _url_of("amqp", "amqps")] | None = None
    service_urls: Annotated[dict[ServiceName, HttpUrl], *JSON, AfterValidator(_with_the_others)] = Field(
        default_factory=lambda: dict(SERVICE_URLS)
    )
    # Who looks something up at members signs with a key of its own (PEM, ES256); members knows the public halves.
    lookup_key: Secret | None = None
    lookup_public_keys: Annotated[dict[str, dict[str, Any]], *JSON] = Field(default_factory=dict)

    # Keys of members: contacts at rest (several while they are rotated, the newest first), look-up of a phone number,
    # signing of access tokens (PEM, ES256).
    contact_key: Secret | None = None
    phone_index_key: Secret | None = None
    token_key: Secret | None = None

    operator_username: str = "operator"
    operator_password: Secret | None = None

    # How long a request that names something not heard of yet waits for its event.
    arrival_wait_s: Annotated[float, Field(ge=0, le=10)] = ARRIVAL_WAIT_S

    # The addresses or networks of proxies before the gateway, separated by commas: what they say of a request's address
    # (X-Forwarded-For) is believed, and nobody else's word for it.
    proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_read_list)] = ()
    # Where several copies of the gateway count together; without it each counts for itself.
    redis_url: Annotated[Secret, _url_of("redis", "rediss")] | None = None
    otp_address_limit: Rate = "300/hour"
    request_limit: Rate = "600/10 seconds"

    @property
    def development(self) -> bool:
        return self.environment == "development"

    @classmethod
    def read(cls, given: Mapping[str, object] | None = None) -> Self:
        """The settings of this process, `given` before all; BadSetting naming what is wrong."""
        folder = os.environ.get(SECRETS_DIR)
        if folder and not Path(folder).is_dir():
            raise BadSetting(f"{SECRETS_DIR}: there is no folder {folder}")
        try:
            return cls(_secrets_dir=folder or None, **dict(given or {}))  # type: ignore[arg-type]
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise BadSetting("; ".join(_named(one["loc"], one["msg"]) for one in found)) from None
        except SettingsError as error:  # a file that is there and cannot be read; the cause's text may quote it
            raise BadSetting(f"{SECRETS_DIR}: {error} ({type(error.__cause__).__name__})") from None

    @model_validator(mode="after")
    def _development_stays_on_loopback(self) -> Self:
        if self.development and self.host not in LOOPBACK and not self.published_on_loopback:
            raise ValueError(LOOPBACK_ONLY)
        return self


def _named(where: tuple[int | str, ...], what: str) -> str:
    what = what.removeprefix("Value error, ")
    if not where:
        return what
    return ".".join([f"LINLI_{where[0]}".upper(), *map(str, where[1:])]) + f": {what}"


def required(secret: SecretStr | None, name: str) -> str:
    """The setting's value; BadSetting naming it where there is none."""
    if secret is None:
        raise BadSetting(f"{name} is not set")
    return secret.get_secret_value()
