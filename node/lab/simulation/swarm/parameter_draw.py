"""The links and the rules of a run, drawn: what is far away or in one room, quick or slow, deep or shallow."""

from random import Random

from consensus.proof_of_work.rules import ChainRules
from learning.evolution.rules import EvolutionRules
from learning.gradient.rules import GradientRules
from node.lab.scenarios.scenario import Delays, LinksSection, ProcessorSection
from node.rules.network_rules import Consensus, TotalOrderSection

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


def evolution_of(random: Random) -> EvolutionRules:
    """Small generations, alone or recombined."""
    return EvolutionRules(
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
