"""Addresses that a record may lead to, and those of IANA's registries that it may not."""

import pytest

from classer_core.fetching.http import is_public

SPECIAL_V4 = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 168.63.129.16 169.254.169.254 172.16.0.1
    192.0.0.1 192.0.0.9 192.0.0.10 192.0.0.192 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1
    192.175.48.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255
"""
SPECIAL_V6 = """
    :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:168.63.129.16 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::a83f:8110
    64:ff9b:1::808:808 100::1 100:0:0:1::1 2001::1 2001:20::1 2001:30::1 2001:db8::1 2002:7f00:1::
    2002:a83f:8110:: 2620:4f:8000::1 3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1
    ff02::1
"""


@pytest.mark.parametrize("address", (SPECIAL_V4 + SPECIAL_V6).split())
def test_special_purpose_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)
