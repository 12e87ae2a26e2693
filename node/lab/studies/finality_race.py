"""The race for a reversal on the real chain code: headers, links, difficulty, tree, final chain; puzzles alone are drawn."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from random import Random

import numpy as np
import numpy.typing as npt

from consensus.proof_of_work.block_tree import BlockIndex, BlockTree, genesis_link, header_fault, next_link, next_target
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.header import Header, header_id
from consensus.proof_of_work.packed_headers import FinalChain
from consensus.proof_of_work.puzzle import NONCE_BYTES, TARGET_BYTES, work_of
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.steps import Verdict, genesis_step
from consensus.types import DIGEST_BYTES, KEY_BYTES, SIGNATURE_BYTES, Height, NetworkId
from node.lab.studies.finality_theory import best_attack, counted_share

ATTEMPTS_PER_INTERVAL = 1 << 20
"""Of all peers together: so many that the work of a block, a whole number, is as exact as is needed."""

START_MS = 1_800_000_000_000

SETTLING_BLOCKS = 60
"""Two of the usual half-lives: the difficulty swings as it does later, before the attack begins."""


class AttackStrategy(StrEnum):
    """What the attacker does; the text is for tables."""

    RESTARTING = "starts again whenever it falls behind"
    """Its blocks are dated on schedule, so that all weigh the same; it publishes once it has more of them."""
    EARLY = "dates its blocks early, and gives up when starting again is better"
    """The strongest that we know."""


@dataclass(frozen=True, slots=True)
class Race:
    """One kind of race, in values that JSON holds."""

    share: float
    """The attacker's part of all work."""
    depth: int
    strategy: AttackStrategy
    stale_share: float = 0.0
    """Of the honest blocks, the part that comes too late to be built on."""
    half_life_blocks: int = 30
    interval_ms: int = 500

    @property
    def rules(self) -> ProofOfWorkRules:
        """The difficulty starts where the honest work that counts finds a block an interval."""
        honest = (1 - self.share) * (1 - self.stale_share)
        return ProofOfWorkRules(
            block_interval_ms=self.interval_ms,
            start_attempts=round(ATTEMPTS_PER_INTERVAL * honest),
            puzzle_memory_kib=8,
            half_life_blocks=self.half_life_blocks,
            finality_depth=self.depth,
            contest_depth=1,
            future_limit_ms=5_000,
        )


@dataclass(frozen=True, slots=True)
class Reversal:
    """How a race ended."""

    blocks: int
    """By which the main chain had grown since the attack began."""
    seconds: float
    attempts: int


class RaceTrack:
    """Runs races of one kind."""

    def __init__(self, race: Race) -> None:
        self.race = race
        self._rules = race.rules

    def run(self, seed: int) -> Reversal:
        """To the reversal."""
        return _Run(self.race, self._rules, self._goes_on, Random(seed)).until_reversal()

    @cached_property
    def _goes_on(self) -> npt.NDArray[np.bool_] | None:
        if self.race.strategy is AttackStrategy.RESTARTING:
            return None
        share = counted_share(self.race.share, self.race.stale_share)
        return best_attack(share, self.race.depth, self.race.half_life_blocks).goes_on


class _Run:
    def __init__(self, race: Race, rules: ProofOfWorkRules, goes_on: npt.NDArray[np.bool_] | None, random: Random) -> None:
        self._race, self._rules, self._goes_on, self._random = race, rules, goes_on, random
        self._network_id = NetworkId(random.randbytes(DIGEST_BYTES))
        root = genesis_link(genesis_step(self._network_id))
        self._chain = Chain(FinalChain(root), BlockTree(root, rules.contest_depths, random.randbytes(DIGEST_BYTES)))
        self._now_ms = float(START_MS)
        per_ms = ATTEMPTS_PER_INTERVAL / race.interval_ms
        self._honest_per_ms, self._own_per_ms = per_ms * (1 - race.share), per_ms * race.share
        self._own: list[Header] = []
        """The attacker's branch, which nobody else has seen."""
        self._tip = self._fork = root
        self._head_header: Header | None = None

    def until_reversal(self) -> Reversal:
        while self._head.height < SETTLING_BLOCKS:
            self._now_ms += self._random.expovariate(self._honest_per_ms / self._work_on(self._head))
            self._find_honest_block()
        begun_at, begun_ms, attempts = self._head.height, self._now_ms, 1
        self._start_again()
        while not self._has_won():
            if self._is_hopeless():
                attempts += 1
                self._start_again()
            self._find_next()
        assert self._is_undone(), "what outweighs the head from below the final block undoes it"
        return Reversal(self._head.height - begun_at, (self._now_ms - begun_ms) / 1000, attempts)

    @property
    def _head(self) -> BlockIndex:
        return self._chain.tree.head

    def _work_on(self, parent: BlockIndex) -> int:
        return work_of(next_target(parent, self._rules))

    def _find_next(self) -> None:
        """Whoever is first: attempts are independent, so both wait exponentially long."""
        honest = self._honest_per_ms / self._work_on(self._head)
        own = self._own_per_ms / self._work_on(self._tip)
        self._now_ms += self._random.expovariate(honest + own)
        if self._random.random() * (honest + own) < honest:
            self._find_honest_block()
        else:
            header = self._header(self._tip, self._own_time_ms())
            self._own.append(header)
            self._tip = self._follow(self._tip, header)

    def _own_time_ms(self) -> int:
        """As early as allowed, or an interval after the parent: never ahead of the clock, as its branch grows slower."""
        if self._race.strategy is AttackStrategy.EARLY:
            return self._tip.next_time_min
        return max(self._tip.next_time_min, self._tip.time_ms + self._race.interval_ms)

    def _find_honest_block(self) -> None:
        tree = self._chain.tree
        is_stale = self._head.height > self._chain.final.height and self._random.random() < self._race.stale_share
        parent = tree.link(self._head.parent) if is_stale else self._head
        assert parent is not None, "the head lies above the root"
        header = self._header(parent, max(parent.next_time_min, round(self._now_ms)))
        link, head = self._follow(parent, header), self._head
        if tree.insert(link):
            tree.give_body(link.id)
            tree.judge(link.id, Verdict.GOOD)
        if is_stale and tree.head is link and self._fork is head:
            self._takes_along(parent)
        self._head_header = header if tree.head is link else self._head_header
        final = Height(self._head.height - self._rules.finality_depth)
        if final > tree.root.height:
            self._chain.finalise(final)

    def _takes_along(self, parent: BlockIndex) -> None:
        """The lot has put a sibling in place of the block that the attacker builds on: to it, that is a block more."""
        assert self._head_header is not None, "a block that was beaten was the head"
        self._own.insert(0, self._head_header)
        self._fork = parent

    def _header(self, parent: BlockIndex, time_ms: int) -> Header:
        return Header(
            parent=parent.id,
            height=parent.height + 1,
            time_ms=time_ms,
            leader=bytes(KEY_BYTES),
            target=next_target(parent, self._rules).to_bytes(TARGET_BYTES, "big"),
            body=self._random.randbytes(DIGEST_BYTES),
            nonce=bytes(NONCE_BYTES),
            signature=bytes(SIGNATURE_BYTES),
        )

    def _follow(self, parent: BlockIndex, header: Header) -> BlockIndex:
        fault = header_fault(parent, header, self._rules)
        assert fault is None, f"a header against the rules: {fault}"
        return next_link(parent, header_id(self._network_id, header), header, self._rules)

    def _start_again(self) -> None:
        self._own, self._tip, self._fork = [], self._head, self._head

    @property
    def _counts(self) -> tuple[int, int]:
        """Blocks of the main chain since the fork, and own ones."""
        return self._head.height - self._fork.height, len(self._own)

    def _is_hopeless(self) -> bool:
        honest, own = self._counts
        if self._goes_on is None:
            return own < honest
        horizon, most = (size - 1 for size in self._goes_on.shape)
        return not self._goes_on[min(honest, horizon), min(own, most)]

    def _has_won(self) -> bool:
        honest, own = self._counts
        has_more = self._tip.work > self._head.work and (self._goes_on is not None or own > honest)
        return has_more and self._fork.height < self._chain.final.height

    def _is_undone(self) -> bool:
        """The attacker publishes: the chain follows its headers from the fork, and the last one has more work than the head."""
        for header in self._own:
            parent = self._chain.parent_of(header)
            assert parent is not None, "each header follows one that is known"
            assert parent.fork_height == self._fork.height, "the branch leaves the main chain where it began"
            self._chain.extend(parent, self._follow(parent.link, header), ())
        rival = self._chain.ahead.heaviest_rival
        return rival is not None and rival.tip.id == self._tip.id and rival.tip.work > self._head.work


def races_of(race: Race, seeds: Iterator[int]) -> Iterator[Reversal]:
    """One race for each seed."""
    track = RaceTrack(race)
    return (track.run(seed) for seed in seeds)
