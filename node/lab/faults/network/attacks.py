"""Makes the attacks by name; imported only by a peer that attacks, since it needs aiohttp."""

from collections.abc import Callable, Mapping

from node.lab.faults.network.budgets import asking, relaying_first
from node.lab.faults.network.eclipse import borrowing_names, eclipsing
from node.lab.faults.network.frame_attacks import (
    MALFORMED,
    OVERSIZED,
    coming_from_elsewhere,
    crowding,
    dribbling,
    flooding,
    knocking,
    misbehaving_in_turn,
    misphrasing,
    poisoning_addresses,
    replaying_handshakes,
)
from node.lab.faults.network.fresh_keys import coming_under_fresh_keys
from node.lab.faults.network.situation import Attack, NetworkSituation
from node.lab.faults.network.unauthenticated_client import Visit, raid

PAUSE_SECONDS = 0.5
"""Between two visits of one outsider, and between two bytes of one who dribbles: its keys are free, its sockets are not."""

VISITS: Mapping[str, Callable[[NetworkSituation], Visit]] = {
    "malformed-frames": lambda situation: misbehaving_in_turn(MALFORMED, situation),
    "oversized-frames": lambda situation: misbehaving_in_turn(OVERSIZED, situation),
    "message-flood": flooding,
    "costly-questions": asking,
    "first-relay": relaying_first,
    "fresh-keys": coming_under_fresh_keys,
    "handshake-replay": replaying_handshakes,
    "borrowed-name": borrowing_names,
    "foreign-network": coming_from_elsewhere,
    "address-poisoning": poisoning_addresses,
    "eclipse": eclipsing,
    "crowd": crowding,
    "connection-flood": lambda _: knocking,
    "malformed-requests": lambda _: misphrasing,
    "slow-loris": lambda _: dribbling(PAUSE_SECONDS),
}


def make_attack(name: str, outsiders: int, situation: NetworkSituation) -> Attack:
    """The attack of this name, by so many outsiders at once."""
    return raid(VISITS[name](situation), situation, outsiders=outsiders, pause_seconds=PAUSE_SECONDS)
