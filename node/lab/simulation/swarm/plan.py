"""What a seed stands for: sizes, rules, links, who is faulty, and what befalls whom. Drawn from one stream, nothing else.

Each kind of trouble is on or off for a whole run, so that a rare kind is not drowned by the others (Groce et al.,
"Swarm Testing", ISSTA 2012).
"""

from itertools import chain
from random import Random

from consensus.proof_of_work.rules import ChainRules
from consensus.total_order.committee import faulty_max
from learning.evolution.rules import EvolutionRules, Strategy
from learning.exact import MICRO
from learning.gradient.rules import GradientRules
from node.lab.faults.catalogue import FAULTS, Family, FaultError, check_fits, parse_fault
from node.lab.scenarios.scenario import Delays, ExpectSection, Faulty, LinksSection, ProcessorSection, Scenario
from node.lab.scenarios.toy_tasks import ToyTask
from node.lab.simulation.swarm.fault_episodes import CUT_INTERVALS_MAX, EpisodeContext, Kind, Story
from node.rules.network_rules import Consensus, Learning, TotalOrderSection

BLOCK_INTERVAL_MS = 1_000
FINALITY_DEPTHS = (12, 12, 12, 12, 40)
"""A branch of the longest split stays above the shallow one; under the deep one hardly anything becomes final in a run."""

LONG_FINALITY_DEPTH = 128
"""The same where blocks come quickly: peers that are paused in turn, for ten seconds each, are a split of a hundred blocks."""

LARGE_SLOWER = 4
"""Rounds of a large committee take so many times as long."""

ORDINARY_CORE = ProcessorSection(message_us=150, byte_ns=10, signature_us=180, puzzle_us=13_000)
"""Of this project's measurements (`benchmarks/`): an Ed25519 signature is verified in 0.18 ms, an Argon2id puzzle of 8 MiB in
13 ms; a round of four members costs each loop 2.8 ms for about a dozen messages."""

TIMEOUT_MS_MAX = 2_000
"""A member's time-outs grow to this: well below the calm."""


def links_of(random: Random, is_near: bool) -> LinksSection:
    """Around the world, or in one room."""
    delay = random.choice(tuple(delay for delay in Delays if not is_near or delay is not Delays.REGIONS))
    ms_min = random.randint(1, 5 if is_near else 50)
    return LinksSection(
        delay=delay,
        ms_min=ms_min,
        ms_max=ms_min + random.randint(0, 15 if is_near else 150),
        is_ordered=random.random() < 0.7,
        silence_ms=random.choice((0, 2_000)),
        reconnect_ms=random.choice((0, 200, 1_000)),
        disk_ms=random.choice((0, 2) if is_near else (0, 2, 20)),
        answer_ms=random.choice((1, 3) if is_near else (1, 3, 20)),
    )


def processor_of(random: Random) -> ProcessorSection:
    """In half of all runs computing takes no time, so that those are as quick as they were."""
    return random.choice((ProcessorSection(), ORDINARY_CORE))


STRATEGIES = (Strategy.JOINT, Strategy.JOINT, Strategy.PLUS, Strategy.PLUS, Strategy.COMMA)


def strategy_of(seed: int, learning: Learning) -> Strategy:
    """By the seed alone, so that all else is what it was with one strategy."""
    return Random(f"swarm strategy/{seed}").choice(STRATEGIES) if learning is Learning.EVOLUTION else Strategy.PLUS


APART = (0, 0, 1_000, 10_000, 100_000)
"""Micro-units. One mutation gains some 10,000 at first: members then find another the best, and expect another head, now and
then; in nearly every generation with ten times as many, and a tenth is felt late, where steps are small."""


def apart_of(seed: int, consensus: Consensus, learning: Learning) -> int:
    """Besides rounding, how far apart members measure, who vote by what they find; by the seed alone, as above."""
    varies = consensus is Consensus.TOTAL_ORDER and learning is Learning.EVOLUTION
    return Random(f"swarm measurements/{seed}").choice(APART) if varies else 0


def evolution_of(random: Random, strategy: Strategy) -> EvolutionRules:
    """Small generations, alone or recombined."""
    return EvolutionRules(
        strategy=strategy,
        offspring=16,
        recipe_length_max=random.choice((1, 4)),
        step_size="0.05",
        step_size_factor="0.99",
        step_size_floor="0.005",
    )


def gradient_of(random: Random, consensus: Consensus) -> GradientRules:
    """Any rule that the order allows."""
    scored = ("scored",) if consensus is Consensus.TOTAL_ORDER else ()
    return GradientRules(
        rule=random.choice(("robust", "robust", "mean", "kardam", "buffered", "dampened", *scored)),
        learning_rate="0.1",
        momentum="0.5",
        minibatch_size=4,
        staleness_max=random.choice((10, 30)),
        workers_window=16,
        shards="whole",
    )


def proof_of_work_of(random: Random, seed: int, interval_ms: int) -> ChainRules:
    """A block a second, or quicker ones; the depths differ: by the seed alone, so that all else is what it was at one depth."""
    depth = Random(f"swarm depth/{seed}").choice(FINALITY_DEPTHS)
    return ChainRules(
        block_interval_ms=interval_ms,
        start_attempts=100,
        puzzle_memory_kib=8,
        half_life_blocks=random.choice((10, 30)),
        finality_depth=depth if interval_ms >= BLOCK_INTERVAL_MS else LONG_FINALITY_DEPTH,
        contest_depth=random.choice((2, 4)),
        future_limit_ms=5_000,
    )


def total_order_of(random: Random, is_near: bool, is_large: bool, has_payloads: bool) -> TotalOrderSection:
    """Many members take slower rounds: a round costs as many messages as the square of their number.

    Whoever is far from all others has large payloads two round trips later, and its blocks as many rounds: they are ordered
    where rounds are as deep as by default.
    """
    interval_ms = random.choice((20, 30) if is_near else (30, 50, 100)) * (LARGE_SLOWER if is_large else 1)
    depth = random.choice((5, 10, 30))
    depth = depth if is_near or not has_payloads else TotalOrderSection().gc_depth
    return TotalOrderSection(gc_depth=depth, round_interval_ms=interval_ms, delta_ms_max=TIMEOUT_MS_MAX)


STORM_S, BRIEF_STORM_S = 20, 12
"""So long troubles come."""

CALM_S, BRIEF_CALM_S = 25, 12
"""So long nothing is broken, and everybody has to move on: several times the longest time-out, and a dozen blocks."""

SIZES = (4, 4, 4, 5, 6, 7, 7, 7, 8, 10, 13)
"""Small networks come to the rare paths sooner, and cost less."""

LARGE_SIZES = (16, 25, 40)

LONG_CHANCE = 0.03
"""Of a run in which somebody joins a chain that is long: some hundred blocks, or a thousand commits."""

LONG_STORM_S, LONG_INTERVAL_MS, LONG_PEERS = 40, 150, 6
"""Cheap ones: few peers, quick blocks. Of those that are there from the start fewer than a third lie, though two come late."""

LONG_KINDS = (Kind.PAUSE, Kind.RESET)
"""What may befall them besides; the chain is the trouble."""

LIARS_TO_NEWCOMERS = (
    "cheap-rivals",
    "cheap-rivals:bodies=1",
    "false-commits",
    "endless-join",
    "withhold-body",
    "withhold-payload",
    "withhold-payload:share=0.6,silent=0",
    "late-parts",
    "unanswering",
    "mute",
)
"""Who lies to somebody who joins late."""

BEHIND_MAX = 6
"""Heights at the end of the calm: who is about to change to a longer branch is behind by those that it has yet to check."""

LIED_TO_CHANCE = 0.5
"""Of the liars, where somebody joins late, to be such."""

OUTSIDERS = (0, 0, 0, 0, 0, 0, 1, 2)
"""How many there are besides those who have a part."""

FAULTS_OF_OUTSIDERS = ("workless-headers", "header-flood", "orphan-flood", "contribution-flood", "asking")
"""What somebody without work and membership can do."""

LARGE_CHANCE = 0.02

NEAR_PEERS_MAX, NEAR_CHANCE = 5, 0.6
"""Small networks may stand in one room: only there do so many commits pass in one run that who is late starts from a
checkpoint."""

KIND_CHANCE = 0.35
"""Of each kind of trouble to be on: about five of them are."""

FAVOURED = {
    "contested-claim": 2,
    "contested-claim:beyond=0": 8,
    "equivocate": 3,
    "mimic:noise=0": 3,
    "forgotten-payload:after=5": 4,
    "withhold-payload": 3,
    "withhold-payload:share=0.6,silent=0": 1,
}
"""The only ones that lead to some rare paths, and how many times more often each is drawn than any other."""


def scenario_of(seed: int, *, is_brief: bool = False) -> Scenario:
    """The run of this seed. `is_brief`: another one, that takes half the time."""
    storm_s, calm_s = (BRIEF_STORM_S, BRIEF_CALM_S) if is_brief else (STORM_S, CALM_S)
    random = Random(f"swarm/{seed}")
    consensus, learning = random.choice(tuple(Consensus)), random.choice(tuple(Learning))
    strategy = strategy_of(seed, learning)
    is_long = random.random() < LONG_CHANCE
    if is_long:
        storm_s = LONG_STORM_S
    interval_ms = LONG_INTERVAL_MS if is_long else BLOCK_INTERVAL_MS
    peers = random.choice(LARGE_SIZES if random.random() < LARGE_CHANCE else SIZES)
    peers = LONG_PEERS if is_long else peers
    if is_brief and consensus is Consensus.TOTAL_ORDER:
        peers = min(peers, max(SIZES))  # all tell all: 25 members cost as much as a dozen other runs
    is_near = is_long or (peers <= NEAR_PEERS_MAX and random.random() < NEAR_CHANCE)
    tolerated = faulty_max(peers)  # under proof of work: of the work, as all peers have as much
    favoured = (times * (fault,) for fault, times in FAVOURED.items() if _fits(fault, consensus, learning, strategy))
    faults = (*fitting_faults(consensus, learning, strategy), *chain.from_iterable(favoured))
    kinds = tuple(kind for kind in Kind if random.random() < KIND_CHANCE)
    if consensus is Consensus.PROOF_OF_WORK and Kind.LATE in kinds:
        kinds = tuple(kind for kind in kinds if kind is not Kind.CLOCK_JUMP)  # one of two that are there is half of the work
    if is_long:
        kinds = (Kind.LATE, *(kind for kind in kinds if kind in LONG_KINDS))
    is_newcomer_lied_to = is_long or (Kind.LATE in kinds and random.random() < LIED_TO_CHANCE)
    faulty = _faulty(random, peers, tolerated, of_newcomers(consensus, learning, strategy) if is_newcomer_lied_to else faults)
    outsiders = _outsiders(random, peers, consensus, learning, strategy)
    ground = EpisodeContext(
        peers=peers,
        faulty=tuple(number for entry in faulty for number in entry.peers),
        tolerated=tolerated,
        faults=faults,
        cut_ms_max=CUT_INTERVALS_MAX * interval_ms if consensus is Consensus.PROOF_OF_WORK else 10_000,
        clock_ms_max=2_000,
        storm_ms=storm_s * 1000,
    )
    return Scenario(
        name=f"swarm seed {seed}",
        consensus=consensus,
        learning=learning,
        peers=peers + sum(len(entry.peers) for entry in outsiders),
        outsiders=sum(len(entry.peers) for entry in outsiders),
        duration_s=storm_s + calm_s,
        task=ToyTask.SPHERE if learning is Learning.EVOLUTION else ToyTask.QUADRATIC,
        snapshot_behind=random.choice((0, 10, 40)),
        is_retention_tight=seed % 2 == 0,
        measured_apart=random.choice((0, 1, 2)) + apart_of(seed, consensus, learning),
        links=links_of(random, is_near),
        processor=processor_of(random),
        expect=_expected(consensus, learning, peers, calm_s, is_long=is_long, is_near=is_near),
        evolution=evolution_of(random, strategy),
        gradient=gradient_of(random, consensus),
        proof_of_work=proof_of_work_of(random, seed, interval_ms),
        total_order=total_order_of(random, is_near, peers > max(SIZES), learning is Learning.GRADIENT),
        events=Story(random, ground).told(kinds),
        faulty=(*faulty, *outsiders),
    )


def of_newcomers(consensus: Consensus, learning: Learning, strategy: Strategy) -> tuple[str, ...]:
    """The faults that lie to newcomers, of those that fit."""
    return tuple(fault for fault in LIARS_TO_NEWCOMERS if _fits(fault, consensus, learning, strategy))


def title_of(scenario: Scenario) -> str:
    """For people, on one line."""
    kinds = dict.fromkeys(timed.event.kind for timed in scenario.events)
    faults = dict.fromkeys(f"{len(entry.peers)} x {entry.fault}" for entry in scenario.faulty)
    troubles = ", ".join((*faults, *kinds)) or "calm"
    learning = scenario.evolution.strategy if scenario.learning is Learning.EVOLUTION else scenario.learning
    apart = scenario.measured_apart
    measured = f", measured {apart / MICRO:g} apart" if apart >= min(filter(None, APART)) else ""
    return f"{scenario.peers} peers, {scenario.consensus}, {learning}{measured}: {troubles}"


def fitting_faults(consensus: Consensus, learning: Learning, strategy: Strategy) -> tuple[str, ...]:
    """The names of all faults that a network of this mode has something for, in the catalogue's order.

    Those below all messages are left out: here connections have no frames.
    """
    names = (fault.name for fault in FAULTS if fault.family is not Family.NETWORK)
    return tuple(name for name in names if _fits(name, consensus, learning, strategy))


def _fits(fault: str, consensus: Consensus, learning: Learning, strategy: Strategy) -> bool:
    try:
        check_fits(parse_fault(fault), consensus, learning, strategy)
    except FaultError:
        return False
    return True


def _faulty(random: Random, peers: int, tolerated: int, faults: tuple[str, ...]) -> tuple[Faulty, ...]:
    """In half of all runs: as many as are tolerated, or fewer; mostly all with one fault, as if they were one."""
    if tolerated == 0 or random.random() < 0.5:
        return ()
    numbers = sorted(random.sample(range(peers), random.randint(1, tolerated)))
    drawn = random.choices(faults, k=len(numbers))
    if random.random() < 0.7:
        return (Faulty(drawn[0], tuple(numbers)),)
    return tuple(Faulty(fault, (number,)) for fault, number in zip(drawn, numbers, strict=True))


def _outsiders(random: Random, peers: int, consensus: Consensus, learning: Learning, strategy: Strategy) -> tuple[Faulty, ...]:
    """Besides those who have a part: all of one kind."""
    numbers = tuple(range(peers, peers + random.choice(OUTSIDERS)))
    fault = random.choice([fault for fault in FAULTS_OF_OUTSIDERS if _fits(fault, consensus, learning, strategy)])
    return (Faulty(fault, numbers),) if numbers else ()


def _expected(
    consensus: Consensus, learning: Learning, peers: int, calm_s: int, *, is_long: bool, is_near: bool
) -> ExpectSection:
    """Far below what a calm network makes, far above nothing.

    In a brief calm there may be little: a peer that has contested a block waits for four more, and where messages cross the
    world, members decide once in four seconds when one of them is silent. Under a total order gradients move the model many
    times a second: who is far from all others has each of them two round trips later.
    """
    behind_max = 2 * BEHIND_MAX if is_long else BEHIND_MAX
    if consensus is Consensus.TOTAL_ORDER and learning is Learning.GRADIENT:
        return ExpectSection(calm_s=calm_s, heights_min=1, behind_max=behind_max * peers * (1 if is_near else 2))
    return ExpectSection(calm_s=calm_s, heights_min=1 if calm_s < CALM_S else 3, behind_max=behind_max)
