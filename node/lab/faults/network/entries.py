"""The faults below all messages by name."""

from node.lab.faults.fault import Family, Fault, FaultParameter, Values
from node.lab.faults.network.situation import Attack, MakeAttack, NetworkSituation
from node.rules.network_rules import Consensus

_KEYS = "as many keys as it likes"
_SOCKETS = "as many connections as it likes"

_STRANGERS = FaultParameter("strangers", 4, 1, 1_000, is_whole=True)
_ASKERS = FaultParameter("strangers", 8, 1, 1_000, is_whole=True)
"""As many as one subnet may have at a door."""
_CONNECTIONS = FaultParameter("strangers", 50, 1, 10_000, is_whole=True)
_CROWD = FaultParameter("strangers", 100, 1, 1_000, is_whole=True)
"""More than the places of one peer, inbound and outbound."""


def _entry(
    name: str, description: str, powers: str, strangers: FaultParameter, consensus: Consensus | None = None
) -> Fault[MakeAttack]:
    def make(values: Values, situation: NetworkSituation) -> Attack:
        from node.lab.faults.network.attacks import make_attack  # noqa: PLC0415 - aiohttp is for those who attack

        return make_attack(name, int(values["strangers"]), situation)

    return Fault(name, Family.NETWORK, description, powers, make, (strangers,), consensus)


NETWORK_FAULTS: tuple[Fault[MakeAttack], ...] = (
    _entry("malformed-frames", "its `strangers` send frames that are wrong in every way", _KEYS, _STRANGERS),
    _entry("oversized-frames", "its `strangers` send more than a frame may hold", _KEYS, _STRANGERS),
    _entry("message-flood", "its `strangers` ask without end", _KEYS, _STRANGERS),
    _entry("costly-questions", "its `strangers` ask within their budgets for all that is costly to answer", _KEYS, _ASKERS),
    _entry("first-relay", "its `strangers` bring every message first, and are over their budgets", _KEYS, _STRANGERS),
    _entry(
        "fresh-keys",
        "its `strangers` send blocks without work, and come back under a new key each time",
        _KEYS,
        _STRANGERS,
        Consensus.PROOF_OF_WORK,
    ),
    _entry("handshake-replay", "its `strangers` repeat the bytes of an earlier handshake", _KEYS, _STRANGERS),
    _entry("borrowed-name", "its `strangers` say others' hellos, and each dialler's own", _KEYS, _STRANGERS),
    _entry("foreign-network", "its `strangers` come from another network", _KEYS, _STRANGERS),
    _entry("address-poisoning", "its `strangers` name addresses where nobody is", _KEYS, _STRANGERS),
    _entry("eclipse", "its `strangers` take the places of a peer, listen too, and name none but each other", _KEYS, _CROWD),
    _entry("crowd", "its `strangers` take the places of a peer, and do nothing", _KEYS, _CROWD),
    _entry("connection-flood", "its `strangers` connect, and are gone", _SOCKETS, _CONNECTIONS),
    _entry("malformed-requests", "its `strangers` write requests that are none", _SOCKETS, _STRANGERS),
    _entry("slow-loris", "its `strangers` take for ever to say hello", _SOCKETS, _CONNECTIONS),
)
"""In the order in which they are shown."""
