"""Where a request comes from, when everybody may write what they like into X-Forwarded-For."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import httpx
import pytest
from starlette.types import Scope

from chassis.settings import BadSetting, Settings
from gateway.address import Addresses
from tests.chassis.parts import must_fail
from tests.doors import door

PROXY, OTHER_PROXY, CLIENT, MALLORY = "10.0.0.2", "192.0.2.9", "203.0.113.7", "198.51.100.66"
NAMED = ("10.0.0.0/28", OTHER_PROXY)


def seen(connected: str, *forwarded: str, proxies: Sequence[str] = NAMED) -> str:
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    scope: Scope = {"client": (connected, 4711), "headers": headers}
    return Addresses([ip_network(proxy) for proxy in proxies]).of(scope)


@pytest.mark.parametrize(
    ("connected", "forwarded", "expected"),
    [
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"{MALLORY}, {CLIENT}"], CLIENT),
        (PROXY, [MALLORY, CLIENT], CLIENT),
        (PROXY, [f"{MALLORY},{CLIENT}, {OTHER_PROXY} ,10.0.0.3"], CLIENT),
        (PROXY, [], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, [f"{CLIENT}, nobody"], PROXY),
        (PROXY, ["10.0.0.3"], "10.0.0.3"),
        (PROXY, [f"\xff{CLIENT}"], PROXY),
        (CLIENT, [MALLORY], CLIENT),
        (CLIENT, [], CLIENT),
        (f"::ffff:{PROXY}", [f"::ffff:{CLIENT}"], CLIENT),
        (PROXY, ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", [], "2001:db8:1:2::/64"),
        ("nobody", [CLIENT], "unknown"),
    ],
)
def test_it_is_the_last_address_that_no_named_proxy_has(connected: str, forwarded: list[str], expected: str) -> None:
    assert seen(connected, *forwarded) == expected


def test_without_a_named_proxy_it_is_the_connection_s_whatever_the_header_says() -> None:
    assert seen(PROXY, CLIENT, proxies=()) == PROXY
    assert Addresses([]).of({"client": None, "headers": []}) == "unknown"


class Believing(Addresses):
    """The control's: it takes the first address, as so many do."""

    def of(self, scope: Scope) -> str:
        found = [value.decode() for name, value in scope["headers"] if name == b"x-forwarded-for"]
        return found[0].split(",")[0] if found else super().of(scope)


async def holds_the_limit(connected: str, forwarded: str) -> None:
    """Ten requests at most a minute from one address, which says that it is another one each time."""
    app = door({}, request_limit="10/minute", proxies=NAMED)
    transport = httpx.ASGITransport(app, client=(connected, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        statuses = [
            (await client.get("/api/v1/things", headers={"X-Forwarded-For": forwarded.format(number)})).status_code
            for number in range(30)
        ]
    assert statuses.count(429) == 20


@pytest.mark.parametrize(
    ("connected", "forwarded"), [(CLIENT, "198.51.100.{}"), (PROXY, "198.51.100.{}, " + CLIENT), (PROXY, "{}.nobody")]
)
async def test_rotating_the_header_changes_nothing(connected: str, forwarded: str) -> None:
    await holds_the_limit(connected, forwarded)


async def test_control_a_gateway_that_believes_it_is_deceived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.Addresses", Believing)
    await must_fail(holds_the_limit, CLIENT, "198.51.100.{}")


async def test_behind_a_named_proxy_everybody_has_a_limit_of_their_own() -> None:
    await must_fail(holds_the_limit, PROXY, "198.51.100.{}")


def test_proxies_are_addresses_and_networks_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINLI_PROXIES", "10.0.0.0/28, 192.0.2.9,2001:db8::/32")
    assert [str(network) for network in Settings.read().proxies] == ["10.0.0.0/28", "192.0.2.9/32", "2001:db8::/32"]
    monkeypatch.setenv("LINLI_PROXIES", "10.0.0.0/28,proxy.example")
    with pytest.raises(BadSetting, match=r"LINLI_PROXIES\.1"):
        Settings.read()
