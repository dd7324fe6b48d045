"""Which addresses the gateway may send requests to."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_NEAR = tuple(
    ip_network(network)
    for network in (
        "127.0.0.0/8",
        "::1/128",
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # RFC 6598: carriers' and VPNs' own addresses
        "fc00::/7",  # RFC 4193
    )
)
"""This machine and private networks. Link-local is not among them: 169.254.169.254 hands out a cloud's secrets."""


def is_near(address: str) -> bool:
    """Tell whether an IP address lies on this machine or in a private network."""
    try:
        ip: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return any(ip.version == network.version and ip in network for network in _NEAR)


def is_ip(host: str) -> bool:
    """Tell whether a host is written as an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class NearResolver(AbstractResolver):
    """Looks names up and drops every answer that is not near, at each connection anew: a name may move."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return a name's near addresses.

        Raises:
            OSError: there are none.
        """
        found = [at for at in await self._inner.resolve(host, port, family) if is_near(at["host"])]
        if not found:
            raise OSError(f"{host} has no address on this machine or in a private network")
        return found

    async def close(self) -> None:
        """Let go of the inner resolver."""
        await self._inner.close()
