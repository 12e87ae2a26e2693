"""Whose outsiders they are, and where they go."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random

from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.types import NetworkId
from node.common.address import Address
from node.lab.faults.fault import Values


@dataclass(frozen=True, slots=True)
class NetworkSituation:
    """One faulty peer of one network."""

    network_id: NetworkId
    rules: tuple[tuple[str, str], ...]
    """The (field, value) pairs of the network file, as a handshake tells them."""
    targets: Callable[[], Sequence[Address]]
    """Where other peers listen, as far as is known now."""
    random: Random
    """Where keys and choices come from."""
    work_rules: ProofOfWorkRules | None = None
    """Of a proof of work."""
    sources: tuple[str, ...] = ()
    """Addresses of its own that its outsiders dial from, by lot; none: the system chooses."""


Attack = Callable[[], Coroutine[None, None, None]]
"""Goes on until it is cancelled."""

MakeAttack = Callable[[Values, NetworkSituation], Attack]
