"""What all peers of a network over sockets have in common, and know of each other."""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.encoding import Signer
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.types import NetworkId, PeerId
from node.lab.scenarios.toy_tasks import toy_task
from node.lab.simulation.peer import FirstRequests
from node.lab.simulation.population import Population
from node.net.network_interface import NetSettings
from node.rules.conversion import proof_of_work_rules
from node.rules.network_rules import rule_fields
from node.runtime.composition import payload_bytes_max, state_bytes_max
from node.runtime.connected import outbound_target


@dataclass(frozen=True, slots=True)
class SimulatedWorld:
    """The same for everybody, honest or not."""

    network_id: NetworkId
    members: tuple[PeerId, ...]
    rules: tuple[tuple[str, str], ...]
    """The (field, value) pairs of the network file."""
    work_rules: ProofOfWorkRules | None
    """Of a proof of work."""
    outbound_target: int
    state_bytes_max: int
    payload_bytes_max: int
    sign_as: Callable[[PeerId], Signer]
    given: tuple[tuple[int, ...], ...]
    """By number: the peers whose addresses each was given, by number."""
    first_requests: FirstRequests
    settings: NetSettings
    """The real node's own, but for addresses."""


def ground_of(population: Population) -> SimulatedWorld:
    """As the real node would have it."""
    members, layout = len(population.members), toy_task(population.scenario.task).layout
    return SimulatedWorld(
        network_id=population.network_id,
        members=population.members,
        rules=rule_fields(population.rules),
        work_rules=None if population.is_ordered else proof_of_work_rules(population.rules),
        outbound_target=outbound_target(members),
        state_bytes_max=state_bytes_max(population.rules, members, layout),
        payload_bytes_max=payload_bytes_max(population.rules, layout),
        sign_as=population.sign_as,
        given=_given(population),
        first_requests=population.first_requests,
        settings=NetSettings(members=frozenset(population.members)),
    )


def places_of(population: Population) -> int:
    """How many connections one peer may have."""
    ground = ground_of(population)
    return ground.settings.inbound_max + ground.outbound_target


def _given(population: Population) -> tuple[tuple[int, ...], ...]:
    """Of two that may be connected each knows where the other is."""
    number_of = {peer: number for number, peer in enumerate(population.ids)}
    given: list[list[int]] = [[] for _ in population.ids]
    for one, other in population.edges():
        given[number_of[one]].append(number_of[other])
        given[number_of[other]].append(number_of[one])
    return tuple(tuple(numbers) for numbers in given)
