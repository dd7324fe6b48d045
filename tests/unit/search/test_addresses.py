"""Strangers' pages are read from public addresses only, however an address is written."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import BadValue
from tools.search.addresses import Allowed, is_public

PRIVATE = (
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "255.255.255.255", "224.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "ff02::1", "198.18.0.1", "",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    assert not Allowed()(address, 80)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_public_ones_are_allowed_at_the_webs_ports_alone(address: str) -> None:
    assert Allowed()(address, 443)
    assert Allowed()(address, 80)
    assert not Allowed()(address, 22)
    assert not Allowed()(address, 6379)


def test_a_network_of_the_settings_is_allowed_at_any_port() -> None:
    allowed = Allowed(["10.1.0.0/16"])
    assert allowed("10.1.2.3", 8080)
    assert allowed("::ffff:10.1.2.3", 8080)
    assert not allowed("10.2.0.1", 80)


def test_a_network_that_is_none_is_said() -> None:
    with pytest.raises(BadValue) as error:
        Allowed(["home"])
    assert error.value.params["name"] == "RIGFIT_SEARCH_NETWORKS"


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_as_public_in_every_way_of_writing_it(number: int) -> None:
    plain = is_public(ip_address(number))
    mapped = ip_address((0xFFFF << 32) | number)
    translated = ip_address((0x64FF9B << 96) | number)
    assert is_public(mapped) is plain
    assert is_public(translated) is plain
