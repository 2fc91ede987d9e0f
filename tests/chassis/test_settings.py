"""Settings come from variables or files, a bad one is named before anything starts, and no secret is ever told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chassis.settings import LOOPBACK, SERVICE_NAMES, BadSetting, Settings, required
from chassis.tokens import generate_key, signer_from

WORD = "geheim"
SECRETS = {
    "LINLI_DATABASE_URL": f"postgresql+asyncpg://orders:{WORD}@postgres:5432/orders",
    "LINLI_AMQP_URL": f"amqp://orders:{WORD}@rabbitmq:5672/",
    **dict.fromkeys(("LINLI_LOOKUP_KEY", "LINLI_CONTACT_KEY", "LINLI_PHONE_INDEX_KEY"), WORD),
    **dict.fromkeys(("LINLI_TOKEN_KEY", "LINLI_OPERATOR_PASSWORD"), WORD),
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("LINLI_"):
            monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this process's secrets."""
    monkeypatch.setenv("LINLI_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_without_any_setting_it_is_production_on_loopback() -> None:
    settings = Settings.read()
    assert (settings.environment, settings.host, settings.drain_s) == ("production", "127.0.0.1", 0)
    assert settings.service_urls == {name: f"http://{name}:8000" for name in SERVICE_NAMES}
    assert settings.operator_password is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", *sorted(LOOPBACK)])  # noqa: S104
@pytest.mark.parametrize("published", [False, True])
def test_development_listens_on_loopback_or_where_the_deployment_vouches_for_it(
    monkeypatch: pytest.MonkeyPatch, host: str, published: bool
) -> None:
    monkeypatch.setenv("LINLI_HOST", host)
    monkeypatch.setenv("LINLI_PUBLISHED_ON_LOOPBACK", str(published))
    assert Settings.read().host == host, "production may listen anywhere"
    monkeypatch.setenv("LINLI_ENVIRONMENT", "development")
    if published or host in LOOPBACK:
        assert Settings.read().development
    else:
        with pytest.raises(BadSetting, match=r"^LINLI_HOST: development mode listens on loopback only"):
            Settings.read()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("DRAIN_S", "-1"),
        ("ENVIRONMENT", "test"),
        ("LOG_FORMAT", "xml"),
        ("PUBLISHED_ON_LOOPBACK", "perhaps"),
        ("ARRIVAL_WAIT_S", "11"),
        ("REQUEST_LIMIT", "many"),
        ("OTP_ADDRESS_LIMIT", "0/hour"),
        ("SERVICE_URLS", "http://members:8000"),
        ("SERVICE_URLS", "[]"),
        ("SERVICE_URLS", '{"member": "http://members:8000"}'),
        ("SERVICE_URLS", '{"members": "members:8000"}'),
        ("SERVICE_URLS", '{"members": "http://members:8000/api"}'),
        ("LOOKUP_PUBLIC_KEYS", '{"gateway": 1}'),
        ("DATABASE_URL", "postgresql://orders:x@postgres/orders"),
        ("DATABASE_URL", "postgresql+asyncpg:///orders"),
        ("DATABASE_URL", "postgresql+asyncpg://orders:x@postgres:five/orders"),
        ("AMQP_URL", "rabbitmq:5672"),
        ("AMQP_URL", "http://rabbitmq:5672/"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"LINLI_{name}", value)
    with pytest.raises(BadSetting, match=rf"^LINLI_{name}\b[^;]*: [^;]+$"):
        Settings.read()


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINLI_PORT", "x")
    monkeypatch.setenv("LINLI_DRAIN_S", "x")
    with pytest.raises(BadSetting, match=r"^LINLI_PORT: .+; LINLI_DRAIN_S: "):
        Settings.read()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LINLI_HOST", "0.0.0.0"),  # noqa: S104
        ("LINLI_PORT", "x"),
        ("LINLI_DATABASE_URL", f"postgresql://orders:{WORD}@postgres/orders"),
        ("LINLI_DATABASE_URL", f"postgresql+asyncpg://orders:{WORD}/@postgres/orders"),
        ("LINLI_AMQP_URL", f"amqp://orders:{WORD}/@rabbitmq/"),
        ("LINLI_SERVICE_URLS", WORD),
    ],
)
def test_no_secret_is_told_whatever_is_wrong(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    for variable, secret in SECRETS.items():
        monkeypatch.setenv(variable, secret)
    assert WORD not in repr(Settings.read())
    monkeypatch.setenv("LINLI_ENVIRONMENT", "development")
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting) as caught:
        Settings.read()
    assert name in str(caught.value)
    assert WORD not in str(caught.value)
    assert caught.value.__suppress_context__, "a traceback would tell more"
    with pytest.raises(ValueError, match="validation error") as direct:
        Settings()
    assert WORD not in str(direct.value)


def test_a_file_is_read_without_its_last_line_break_and_a_variable_goes_before_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, secret in SECRETS.items():
        (folder / variable.lower()).write_text(f"{secret}\n", encoding="utf-8")
    (folder / "linli_lookup_public_keys").write_text(json.dumps({"gateway": {"keys": []}}) + "\n", encoding="utf-8")
    settings = Settings.read()
    assert required(settings.database_url, "x") == SECRETS["LINLI_DATABASE_URL"]
    assert required(settings.contact_key, "x") == WORD
    assert settings.lookup_public_keys == {"gateway": {"keys": []}}
    monkeypatch.setenv("LINLI_CONTACT_KEY", "of the variable")
    monkeypatch.setenv("LINLI_TOKEN_KEY", "")
    settings = Settings.read()
    assert required(settings.contact_key, "x") == "of the variable"
    assert required(settings.token_key, "x") == WORD, "an empty variable counts as not set"
    assert required(Settings.read({"contact_key": "given"}).contact_key, "x") == "given"


def test_a_file_that_says_nothing_or_cannot_be_read_is_named_and_so_is_a_missing_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "linli_token_key").write_text("\n", encoding="utf-8")
    with pytest.raises(BadSetting, match=r"^LINLI_TOKEN_KEY: "):
        Settings.read()
    (folder / "linli_token_key").write_bytes(b"\xff")
    with pytest.raises(BadSetting, match=r'^LINLI_SECRETS_DIR: .*"token_key".*UnicodeDecodeError'):
        Settings.read()
    monkeypatch.setenv("LINLI_SECRETS_DIR", str(folder / "nowhere"))
    with pytest.raises(BadSetting, match=r"^LINLI_SECRETS_DIR: there is no folder .*nowhere"):
        Settings.read()


def test_services_that_are_not_named_are_where_they_always_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINLI_SERVICE_URLS", '{"members": "http://127.0.0.1:9001", "notify": "https://notify.example"}')
    assert Settings.read().service_urls == {
        "members": "http://127.0.0.1:9001",
        "catalog": "http://catalog:8000",
        "orders": "http://orders:8000",
        "points": "http://points:8000",
        "notify": "https://notify.example",
    }


def test_a_key_that_is_missing_or_none_is_named_and_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSetting, match=r"^LINLI_LOOKUP_KEY is not set$"):
        signer_from(Settings.read().lookup_key, "LINLI_LOOKUP_KEY")
    monkeypatch.setenv("LINLI_LOOKUP_KEY", WORD)
    with pytest.raises(BadSetting, match=r"^LINLI_LOOKUP_KEY is not an ES256 private key") as caught:
        signer_from(Settings.read().lookup_key, "LINLI_LOOKUP_KEY")
    assert WORD not in str(caught.value)
    pem = generate_key()
    monkeypatch.setenv("LINLI_LOOKUP_KEY", pem.replace("\n", "\\n"))
    on_one_line = signer_from(Settings.read().lookup_key, "LINLI_LOOKUP_KEY")
    monkeypatch.setenv("LINLI_LOOKUP_KEY", pem)
    assert on_one_line.public_keys() == signer_from(Settings.read().lookup_key, "LINLI_LOOKUP_KEY").public_keys()
