"""Strangers who behave, listen, and name none but each other: whoever is connected to them alone sees what they show."""

from node.common.address import Address
from node.lab.faults.network.connection_attack import Visit
from node.lab.faults.network.doors import Doors, door, name_doors
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import UnauthenticatedClient, stranger_at


def eclipsing(situation: NetworkSituation) -> Visit:
    """Each stranger takes a place, and opens a door of its own where it waits for the other side's dial.

    To be eclipsed is to have none but the attacker's connections, inbound and outbound. Source: Heilman, Kendler, Zohar,
    Goldberg, "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", USENIX Security 2015.
    """
    doors: Doors = {}

    async def visit(target: Address) -> None:
        async with stranger_at(target, situation) as stranger, door(stranger, doors, stay) as port:
            await _stay(stranger, doors, port)

    async def stay(stranger: UnauthenticatedClient) -> None:
        await _stay(stranger, doors, 0)

    return visit


async def _stay(stranger: UnauthenticatedClient, doors: Doors, port: int) -> None:
    """Behave, and name the strangers' doors to whoever asks. Raises ChannelClosedError, FrameError."""
    if await stranger.shake_hands(listening_port=port):
        await name_doors(stranger, doors)
