"""Who is connected to whom, and how long it takes, as a scenario says it."""

from itertools import combinations
from random import Random
from typing import assert_never

from node.lab.scenarios.scenario import Delays, Scenario
from node.lab.simulation.latency import Constant, Latency, Lognormal, Regions, Uniform
from node.lab.simulation.links import Links
from node.lab.simulation.processor import Prices
from node.rules.network_rules import NetworkRules

Pair = tuple[int, int]
"""Two peers, by number."""


def links_of(scenario: Scenario, rules: NetworkRules, seed: int) -> Links:
    """What the scenario says of links, and puzzles that take a block interval for all peers together."""
    section, work, prices = scenario.links, rules.proof_of_work, scenario.processor
    attempts_per_second = 1000 * work.start_attempts / work.block_interval_ms / scenario.insiders
    return Links(
        latency=_latency(scenario, seed),
        attempts_per_second=attempts_per_second,
        answer_ms=section.answer_ms,
        slice_ms=section.slice_ms,
        is_ordered=section.is_ordered,
        uplink_kbit_s=section.uplink_kbit_s,
        silence_ms=section.silence_ms,
        reconnect_ms=section.reconnect_ms,
        disk_ms=section.disk_ms,
        prices=Prices(prices.message_us, prices.byte_ns, prices.signature_us, prices.puzzle_us),
        consensus=scenario.consensus,
        strangers_from=scenario.insiders,
    )


def edges_of(scenario: Scenario, seed: int) -> tuple[Pair, ...]:
    """Everybody with everybody, or each peer with some others that are drawn, so that all hang together."""
    peers, count = range(scenario.peers), scenario.links.neighbours
    if not count:
        return tuple(combinations(peers, 2))
    random = Random(f"{seed}/edges")
    pairs: dict[Pair, None] = {}
    for peer in peers[1:]:
        dialled = {random.randrange(peer), *random.sample(peers, count)} - {peer}
        pairs.update(((min(peer, other), max(peer, other)), None) for other in sorted(dialled))
    return tuple(pairs)


def _latency(scenario: Scenario, seed: int) -> Latency:
    links = scenario.links
    match links.delay:
        case Delays.CONSTANT:
            return Constant(links.ms_min)
        case Delays.UNIFORM:
            return Uniform(links.ms_min, links.ms_max)
        case Delays.LOGNORMAL:
            return Lognormal(max(1, links.ms_min), float(links.sigma))
        case Delays.REGIONS:
            return Regions.drawn(scenario.peers, Random(f"{seed}/places"))
        case _:
            assert_never(links.delay)
