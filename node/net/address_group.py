"""Which addresses one person can have at little cost: they count together, wherever outsiders are counted."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

GROUP_BITS_IPV4 = 24
"""What is rented or routed as one: an attacker has one such net more often than addresses spread over many."""

GROUP_BITS_IPV6 = 48
"""What a customer gets who asks for it, at no cost (RFC 6177; tunnel brokers too): 65,536 of the nets below."""

SITE_BITS_IPV6 = 64
"""The least that one customer is given: within it every machine has as many addresses as it likes."""


def group_of(host: str) -> str | None:
    """The subnet that an address counts with: its IPv4 /24 or its IPv6 /48, as text; None on this machine, and for a name.

    A private IPv4 address is a group of its own: a local network is one subnet, and its machines have no other. Peers on one
    machine share its loopback address: whoever counts them has to tell them apart by their keys.
    """
    address = _ip_address(host)
    if address is None or address.is_loopback:
        return None
    if isinstance(address, IPv4Address):
        return str(address) if address.is_private else _network(address, GROUP_BITS_IPV4)
    return _network(address, GROUP_BITS_IPV6)


def site_of(host: str) -> str | None:
    """Who is blamed for what an address has done: that IPv4 address alone, or the IPv6 /64; None on this machine."""
    address = _ip_address(host)
    if address is None or address.is_loopback:
        return None
    return str(address) if isinstance(address, IPv4Address) else _network(address, SITE_BITS_IPV6)


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    """An IPv6 address that only stands for an IPv4 one is that: mapped (RFC 4291), 6to4 (RFC 3056) or Teredo (RFC 4380)."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo is not None else address)


def _network(address: IPv4Address | IPv6Address, bits: int) -> str:
    return str(ip_network((address, bits), strict=False))
