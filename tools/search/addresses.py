"""Which addresses may be asked for a stranger's page: public ones only, whatever a name or a redirect says."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from tools.errors import BadValue

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""IPv6 addresses that stand for an IPv4 one (RFC 6052, RFC 8215)."""
_PORTS = frozenset({80, 443})


def is_public(address: Address) -> bool:
    """Tell whether an address is on the public Internet, through every way of writing an IPv4 one in IPv6.

    >>> [is_public(ip_address(a)) for a in ("8.8.8.8", "::ffff:127.0.0.1", "169.254.169.254")]
    [True, False, False]
    """
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _inner(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    return IPv4Address(int(address) & 0xFFFFFFFF) if any(address in net for net in _NAT64) else None


class Allowed:
    """What may be connected to: public addresses at the web's ports, and networks that the settings name.

    Args:
        networks: CIDR ranges whose pages may be read though they are private, such as a firm's own wiki.

    Raises:
        BadValue: a range can't be read.
    """

    def __init__(self, networks: Sequence[str] = ()) -> None:
        try:
            self._own = tuple(ip_network(network.strip(), strict=False) for network in networks)
        except ValueError as error:
            named = ", ".join(networks)
            raise BadValue(
                "errors.bad_setting", name="RIGFIT_SEARCH_NETWORKS", value=named, allowed="10.0.0.0/8, fd00::/8"
            ) from error

    def __call__(self, address: str, port: int) -> bool:
        """Tell whether a page may be read from there."""
        try:
            known = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        known = _inner(known) or known
        if any(known in network for network in self._own):
            return True
        return port in _PORTS and is_public(known)


def look_up(host: str, port: int) -> list[str]:
    """Return a host's addresses. Raises ``OSError`` where it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))
