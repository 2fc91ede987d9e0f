"""The address a request comes from: the connection's, or what a proxy that is named in the settings says of it.

X-Forwarded-For is written by whoever likes to. Only a named proxy is believed, and of the header only its right end,
which that proxy has added: the last address that is not a named proxy's itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import Scope

from chassis.settings import Network

HEADER = b"x-forwarded-for"
UNKNOWN = "unknown"
# Of IPv6 a household has this much, and whoever likes takes another address of it for each request.
IPV6_HOUSEHOLD_BITS = 64
# Reading an address takes longer than most of what the gateway does for a request, and most come again.
READ_MAX = 4096

Address = IPv4Address | IPv6Address


class Addresses:
    """Where requests come from, behind these proxies."""

    def __init__(self, proxies: Iterable[Network]) -> None:
        self._proxies = tuple(proxies)

    def of(self, scope: Scope) -> str:
        """What the limits count by: an IPv4 address, the /64 of an IPv6 address, `unknown` without a connection."""
        connected = _parse((scope.get("client") or ("", 0))[0])
        if connected is None:
            return UNKNOWN
        return _household(self._behind(connected, scope) if self._proxies else connected)

    def _behind(self, connected: Address, scope: Scope) -> Address:
        found = connected
        hops = _hops(scope)
        while self._is_proxy(found):
            further = _parse(next(hops, ""))
            if further is None:  # the proxy itself asks, or says what is no address
                break
            found = further
        return found

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


def _hops(scope: Scope) -> Iterator[str]:
    """What the header names, the last one first, over all its lines."""
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == HEADER]
    return (hop.strip() for hop in reversed(",".join(lines).split(",")))


@lru_cache(READ_MAX)
def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(READ_MAX)
def _household(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((address, IPV6_HOUSEHOLD_BITS), strict=False))
