"""Where a peer listens: a host and a port, and how people write the two."""

from typing import NamedTuple

from node.common.errors import NodeError

PORT_MAX = 65_535


class Address(NamedTuple):
    """Where a peer can be reached. Port 0, for listening only, lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, port_min: int = 1) -> Address:
    """Reads HOST:PORT, or [HOST]:PORT for an IPv6 address. Raises NodeError naming what is wrong."""
    host, separator, port_text = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    if not separator or not host or (":" in host and not is_bracketed) or not set(host).isdisjoint(" /@[]"):
        raise NodeError(f"{text!r} is not an address", "write HOST:PORT, like 10.0.0.5:7600 or [fe80::1]:7600")
    if not (port_text.isascii() and port_text.isdigit() and port_min <= int(port_text[:6]) <= PORT_MAX):
        raise NodeError(f"{text!r}: port {port_text!r} is not a whole number from {port_min} to {PORT_MAX}", None)
    return Address(host, int(port_text))
