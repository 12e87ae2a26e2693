"""Addresses that one person can have at little cost count together."""

import pytest

from node.net.address_group import group_of, site_of


@pytest.mark.parametrize(
    ("host", "group", "site"),
    [
        ("203.0.114.7", "203.0.114.0/24", "203.0.114.7"),
        ("::ffff:203.0.114.9", "203.0.114.0/24", "203.0.114.9"),
        ("2a00:1450:4001:80b::200e", "2a00:1450:4001::/48", "2a00:1450:4001:80b::/64"),
        ("2a00:1450:4001:80b:ffff::1", "2a00:1450:4001::/48", "2a00:1450:4001:80b::/64"),
        ("2002:cb00:7207:1::1", "203.0.114.0/24", "203.0.114.7"),
        ("fe80::1%eth0", "fe80::/48", "fe80::/64"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("192.168.1.20", "192.168.1.20", "192.168.1.20"),
        ("127.0.0.9", None, None),
        ("::1", None, None),
        ("::ffff:127.0.0.1", None, None),
        ("localhost", None, None),
    ],
)
def test_an_address_has_one_group_and_one_site(host: str, group: str | None, site: str | None) -> None:
    assert (group_of(host), site_of(host)) == (group, site)


def test_one_customer_of_ipv6_is_one_group_however_many_addresses_it_uses() -> None:
    assert len({group_of(f"2a00:1:2:3::{number:x}") for number in range(100)}) == 1
    assert len({group_of(f"2a00:1:2:{number:x}::1") for number in range(100)}) == 1
    assert len({group_of(f"2a00:1:{number:x}::1") for number in range(100)}) == 100
