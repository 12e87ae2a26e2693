"""What a seed stands for: sizes, rules, links, who is faulty, and what befalls whom. Drawn from one stream, nothing else.

Each kind of trouble is on or off for a whole run, so that a rare kind is not drowned by the others (Groce et al.,
"Swarm Testing", ISSTA 2012).
"""

from random import Random

from node.faults.catalogue import FAULTS, Family, FaultError, check_fits, parse_fault
from node.network_file import (
    Consensus,
    EvolutionSection,
    GradientSection,
    Learning,
    ProofOfWorkSection,
    TotalOrderSection,
)
from node.simulation.scenario import Delays, ExpectSection, Faulty, LinksSection, Scenario
from node.simulation.swarm.troubles import CUT_INTERVALS_MAX, Ground, Kind, Story
from node.simulation.toy_tasks import ToyTask

STORM_S = 20
"""So long troubles come."""

CALM_S = 25
"""So long nothing is broken, and everybody has to move on: several times the longest time-out, and two dozen blocks."""

BLOCK_INTERVAL_MS = 1_000
FINALITY_DEPTH = 12

SIZES = (4, 4, 4, 5, 6, 7, 7, 7, 8, 10, 13)
"""Small networks come to the rare paths sooner, and cost less."""

LARGE_SIZES = (16, 25, 40)

LARGE_CHANCE = 0.02

KIND_CHANCE = 0.35
"""Of each kind of trouble to be on: about five of them are."""

TIMEOUT_MS_MAX = 2_000
"""A member's time-outs grow to this: well below the calm."""


def scenario_of(seed: int, storm_s: int = STORM_S, calm_s: int = CALM_S) -> Scenario:
    """The run of this seed; a shorter one where time is short."""
    random = Random(f"swarm/{seed}")
    consensus, learning = random.choice(tuple(Consensus)), random.choice(tuple(Learning))
    peers = random.choice(LARGE_SIZES if random.random() < LARGE_CHANCE else SIZES)
    tolerated = (peers - 1) // 3  # under proof of work: of the work, as all peers have as much
    faulty = _faulty(random, peers, tolerated, fitting_faults(consensus, learning))
    ground = Ground(
        peers=peers,
        faulty=tuple(number for entry in faulty for number in entry.peers),
        tolerated=tolerated,
        cut_ms_max=CUT_INTERVALS_MAX * BLOCK_INTERVAL_MS if consensus is Consensus.PROOF_OF_WORK else 10_000,
        clock_ms_max=2_000,
        storm_ms=storm_s * 1000,
    )
    kinds = tuple(kind for kind in Kind if random.random() < KIND_CHANCE)
    return Scenario(
        name=f"swarm seed {seed}",
        consensus=consensus,
        learning=learning,
        peers=peers,
        duration_s=storm_s + calm_s,
        task=ToyTask.SPHERE if learning is Learning.EVOLUTION else ToyTask.QUADRATIC,
        snapshot_behind=random.choice((0, 40)),
        links=_links(random),
        expect=_expected(consensus, learning, peers, calm_s),
        evolution=_evolution(random),
        gradient=_gradient(random),
        proof_of_work=_proof_of_work(random),
        total_order=_total_order(random),
        events=Story(random, ground).told(kinds),
        faulty=faulty,
    )


def title_of(scenario: Scenario) -> str:
    """For people, on one line."""
    kinds = dict.fromkeys(event.kind.value for event in scenario.events)
    faults = dict.fromkeys(f"{len(entry.peers)} x {entry.fault}" for entry in scenario.faulty)
    troubles = ", ".join((*faults, *kinds)) or "calm"
    return f"{scenario.peers} peers, {scenario.consensus}, {scenario.learning}: {troubles}"


def fitting_faults(consensus: Consensus, learning: Learning) -> tuple[str, ...]:
    """The names of all faults that a network of this mode has something for, in the catalogue's order.

    Those below all messages are left out: here connections have no frames.
    """
    names = []
    for fault in (fault for fault in FAULTS if fault.family is not Family.NETWORK):
        try:
            check_fits(parse_fault(fault.name), consensus, learning)
        except FaultError:
            continue
        names.append(fault.name)
    return tuple(names)


def _faulty(random: Random, peers: int, tolerated: int, faults: tuple[str, ...]) -> tuple[Faulty, ...]:
    """In half of all runs: as many as are tolerated, or fewer; mostly all with one fault, as if they were one."""
    if tolerated == 0 or random.random() < 0.5:
        return ()
    numbers = sorted(random.sample(range(peers), random.randint(1, tolerated)))
    common, is_mixed = random.choice(faults), random.random() < 0.3
    if not is_mixed:
        return (Faulty(common, tuple(numbers)),)
    return tuple(Faulty(random.choice(faults), (number,)) for number in numbers)


def _expected(consensus: Consensus, learning: Learning, peers: int, calm_s: int) -> ExpectSection:
    """Far below what a calm network makes, far above nothing.

    Under a total order gradients move the model many times a second, and each member tells of its head once in as many versions
    as there are members.
    """
    if consensus is Consensus.TOTAL_ORDER and learning is Learning.GRADIENT:
        return ExpectSection(calm_s=calm_s, heights_min=1, behind_max=4 * peers)
    return ExpectSection(calm_s=calm_s, heights_min=3, behind_max=4)


def _links(random: Random) -> LinksSection:
    delay = random.choice(tuple(Delays))
    ms_min = random.randint(1, 50)
    return LinksSection(
        delay=delay,
        ms_min=ms_min,
        ms_max=ms_min + random.randint(0, 150),
        is_ordered=random.random() < 0.7,
        silence_ms=random.choice((0, 2_000)),
        reconnect_ms=random.choice((0, 200, 1_000)),
        disk_ms=random.choice((0, 2, 20)),
        answer_ms=random.choice((1, 3, 20)),
    )


def _evolution(random: Random) -> EvolutionSection:
    return EvolutionSection(
        offspring=16,
        recipe_length_max=random.choice((1, 4)),
        step_size="0.05",
        step_size_factor="0.99",
        step_size_floor="0.005",
    )


def _gradient(random: Random) -> GradientSection:
    return GradientSection(
        rule=random.choice(("robust", "robust", "mean", "kardam", "buffered", "dampened")),
        learning_rate="0.1",
        momentum="0.5",
        minibatch_size=4,
        staleness_max=random.choice((10, 30)),
        workers_window=16,
        shards="whole",
    )


def _proof_of_work(random: Random) -> ProofOfWorkSection:
    return ProofOfWorkSection(
        block_interval_ms=BLOCK_INTERVAL_MS,
        start_attempts=100,
        puzzle_memory_kib=8,
        half_life_blocks=random.choice((10, 30)),
        finality_depth=FINALITY_DEPTH,
        contest_depth=random.choice((2, 4)),
        future_limit_ms=5_000,
    )


def _total_order(random: Random) -> TotalOrderSection:
    return TotalOrderSection(
        gc_depth=random.choice((5, 10, 30)), round_interval_ms=random.choice((30, 50, 100)), delta_ms_max=TIMEOUT_MS_MAX
    )
