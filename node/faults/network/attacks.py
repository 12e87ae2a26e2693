"""Makes the attacks by name; imported only by a peer that attacks, since it needs aiohttp."""

from collections.abc import Callable, Mapping

from node.faults.network.connections import dribbling, knocking
from node.faults.network.eclipse import eclipsing
from node.faults.network.raid import Visit, raid
from node.faults.network.situation import Attack, NetworkSituation
from node.faults.network.visits import (
    MALFORMED,
    OVERSIZED,
    coming_from_elsewhere,
    crowding,
    flooding,
    misbehaving_in_turn,
    poisoning_addresses,
    replaying_handshakes,
)

PAUSE_SECONDS = 0.5
"""Between two visits of one stranger, and between two bytes of one who dribbles: its keys are free, its sockets are not."""

VISITS: Mapping[str, Callable[[NetworkSituation], Visit]] = {
    "malformed-frames": lambda situation: misbehaving_in_turn(MALFORMED, situation),
    "oversized-frames": lambda situation: misbehaving_in_turn(OVERSIZED, situation),
    "message-flood": flooding,
    "handshake-replay": replaying_handshakes,
    "foreign-network": coming_from_elsewhere,
    "address-poisoning": poisoning_addresses,
    "eclipse": eclipsing,
    "crowd": crowding,
    "connection-flood": lambda _: knocking,
    "slow-loris": lambda _: dribbling(PAUSE_SECONDS),
}


def make_attack(name: str, strangers: int, situation: NetworkSituation) -> Attack:
    """The attack of this name, by so many strangers at once."""
    return raid(VISITS[name](situation), situation, strangers=strangers, pause_seconds=PAUSE_SECONDS)
