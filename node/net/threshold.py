"""What a connection meets first: only now is it known where it comes from, and whether there is room for it."""

import asyncio
from collections.abc import Callable


class Threshold(asyncio.Protocol):
    """Hands the connection to the protocol that is made for its host, or ends it where there is none."""

    def __init__(self, protocol_for: Callable[[str], asyncio.Protocol | None]) -> None:
        self._protocol_for = protocol_for

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has been accepted."""
        peer_name = transport.get_extra_info("peername")
        protocol = self._protocol_for(peer_name[0]) if peer_name else None  # gone already, where it has no name
        if protocol is None:
            transport.close()
        else:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
