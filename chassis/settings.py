"""What a deployment sets: read from `LINLI_…` environment variables, checked once at start."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ServiceName = Literal["members", "catalog", "orders", "points", "notify"]


ARRIVAL_WAIT_S = 2.0


class Settings(BaseSettings):
    """Every setting of every part; a part reads those that concern it.

    `development` makes sign-in codes readable and is refused together with an address other than loopback.
    """

    model_config = SettingsConfigDict(env_prefix="LINLI_", extra="ignore", frozen=True)

    environment: Literal["development", "production"] = "production"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    log_format: Literal["text", "json"] = "json"

    # Keys of members: contacts at rest, look-up of a phone number, signing of access tokens (PEM, ES256).
    contact_key: SecretStr | None = None
    phone_index_key: SecretStr | None = None
    token_key: SecretStr | None = None

    operator_username: str = "operator"
    operator_password: SecretStr | None = None

    # How long a request that names something not heard of yet waits for its event.
    arrival_wait_s: Annotated[float, Field(ge=0, le=10)] = ARRIVAL_WAIT_S

    otp_address_limit: str = "300/hour"
    request_limit: str = "600/10 seconds"

    @property
    def development(self) -> bool:
        return self.environment == "development"

    @model_validator(mode="after")
    def _development_stays_on_loopback(self) -> Settings:
        if self.development and self.host not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("LINLI_HOST: development mode listens on loopback only (127.0.0.1, ::1 or localhost)")
        return self
