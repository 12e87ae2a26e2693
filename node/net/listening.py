"""Whether a peer can listen where it is told to: asked before anything is made, and told in one form."""

import errno
import socket

from node.common.address import Address
from node.common.errors import NodeError

LISTEN_FIX = "choose another --listen HOST:PORT (port 0: any free one)"


def why_not_listening(address: object, error: OSError) -> str:
    """What the operating system refused, for people."""
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        reason = "the port is in use by another program or peer"
    return f"cannot listen on {address}: {reason}"


def check_listening(address: Address) -> None:
    """Take the address as the peer will, and give it back at once. Raises NodeError."""
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(place)
    except OSError as error:  # a name that nobody knows is one, too
        raise NodeError(why_not_listening(address, error), LISTEN_FIX) from error
