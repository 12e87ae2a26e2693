"""The faults below all messages by name."""

from node.lab.faults.fault import Family, Fault, FaultParameter, Values
from node.lab.faults.network.situation import Attack, MakeAttack, NetworkSituation
from node.rules.network_rules import Consensus

_KEYS = "as many keys as it likes"
_SOCKETS = "as many connections as it likes"

_OUTSIDERS = FaultParameter("outsiders", 4, 1, 1_000, is_whole=True)
_ASKERS = FaultParameter("outsiders", 8, 1, 1_000, is_whole=True)
"""As many as one subnet may have at a door."""
_CONNECTIONS = FaultParameter("outsiders", 50, 1, 10_000, is_whole=True)
_CROWD = FaultParameter("outsiders", 100, 1, 1_000, is_whole=True)
"""More than the places of one peer, inbound and outbound."""


def _entry(
    name: str, description: str, powers: str, outsiders: FaultParameter, consensus: Consensus | None = None
) -> Fault[MakeAttack]:
    def make(values: Values, situation: NetworkSituation) -> Attack:
        from node.lab.faults.network.attacks import make_attack  # noqa: PLC0415 - aiohttp is for those who attack

        return make_attack(name, int(values["outsiders"]), situation)

    return Fault(name, Family.NETWORK, description, powers, make, (outsiders,), consensus)


NETWORK_FAULTS: tuple[Fault[MakeAttack], ...] = (
    _entry("malformed-frames", "its `outsiders` send frames that are wrong in every way", _KEYS, _OUTSIDERS),
    _entry("oversized-frames", "its `outsiders` send more than a frame may hold", _KEYS, _OUTSIDERS),
    _entry("message-flood", "its `outsiders` ask without end", _KEYS, _OUTSIDERS),
    _entry("costly-questions", "its `outsiders` ask within their budgets for all that is costly to answer", _KEYS, _ASKERS),
    _entry("first-relay", "its `outsiders` bring every message first, and are over their budgets", _KEYS, _OUTSIDERS),
    _entry(
        "fresh-keys",
        "its `outsiders` send blocks without work, and come back under a new key each time",
        _KEYS,
        _OUTSIDERS,
        Consensus.PROOF_OF_WORK,
    ),
    _entry("handshake-replay", "its `outsiders` repeat the bytes of an earlier handshake", _KEYS, _OUTSIDERS),
    _entry("borrowed-name", "its `outsiders` say others' hellos, and each dialler's own", _KEYS, _OUTSIDERS),
    _entry("foreign-network", "its `outsiders` come from another network", _KEYS, _OUTSIDERS),
    _entry("address-poisoning", "its `outsiders` name addresses where nobody is", _KEYS, _OUTSIDERS),
    _entry("eclipse", "its `outsiders` take the places of a peer, listen too, and name none but each other", _KEYS, _CROWD),
    _entry("crowd", "its `outsiders` take the places of a peer, and do nothing", _KEYS, _CROWD),
    _entry("connection-flood", "its `outsiders` connect, and are gone", _SOCKETS, _CONNECTIONS),
    _entry("malformed-requests", "its `outsiders` write requests that are none", _SOCKETS, _OUTSIDERS),
    _entry("slow-loris", "its `outsiders` take for ever to say hello", _SOCKETS, _CONNECTIONS),
)
"""In the order in which they are shown."""
