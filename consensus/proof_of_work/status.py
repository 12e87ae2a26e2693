"""What people may want to know of the chain."""

from collections import deque
from dataclasses import dataclass

from consensus.payload_requests import PayloadRequests
from consensus.proof_of_work.block_checks import BlockChecks, ChainStep
from consensus.proof_of_work.block_tree import next_target
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.contribution_relay import ContributionRelay
from consensus.proof_of_work.header_sync import HeaderSync
from consensus.proof_of_work.puzzle import work_of
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.proof_of_work.validation import Validation
from consensus.types import Height, PeerId, StepId
from consensus.wall_clock import PeerClocks

STEPS_TOLD_MAX = 64
"""A minute at one block a second: enough to compare peers of which one lags."""


@dataclass(frozen=True, slots=True)
class PowStatus:
    """What people see of a machine at one moment."""

    head: StepId
    height: Height
    final: StepId
    final_height: Height
    target: int
    """Of the next block."""
    attempts_expected: int
    """Hashes that the next block takes on average."""
    blocks_led: int
    """By us, on the main chain."""
    blocks_contested: int
    """By our measurement, since the start of the node."""
    orphans: int
    pool_size: int
    payloads_wanted: int
    """Large payloads that contributions or blocks wait for."""
    sync_target: int
    """The greatest height that a peer claims or we have headers of."""
    peers_ahead_ms: int | None
    """By how much the newest blocks of most connected peers are ahead of our wall clock; None while none was pushed."""
    steps: tuple[ChainStep, ...]
    """The newest steps of the main chain, oldest first, at most STEPS_TOLD_MAX; genesis is not among them."""
    final_steps: tuple[ChainStep, ...]
    """The newest of them that are final, which lie deeper than `steps` may reach: oldest first, as many."""


class ChainReport:
    """Remembers of the newest final blocks what the tree has forgotten, and tells people of the whole."""

    def __init__(
        self,
        identity: PeerId,
        rules: ProofOfWorkRules,
        chain: Chain,
        checks: BlockChecks,
        *,
        wanted: PayloadRequests,
        final_led: int,
    ) -> None:
        """`final_led`: blocks that we led, among those that are final by the records."""
        self._identity = identity
        self._rules = rules
        self._wanted = wanted
        self._chain = chain
        self._checks = checks
        self._final_led = final_led
        self._final_steps: deque[ChainStep] = deque(maxlen=STEPS_TOLD_MAX)

    def on_restored(self, step: ChainStep) -> None:
        """A block is final by the records."""
        self._final_steps.append(step)

    def on_final(self, step: ChainStep) -> None:
        """A block has become final."""
        self._final_steps.append(step)
        self._final_led += step.leader == self._identity

    def status(
        self, validation: Validation, relay: ContributionRelay, header_sync: HeaderSync, peer_clocks: PeerClocks
    ) -> PowStatus:
        """What people see at this moment."""
        tree = self._chain.tree
        target = next_target(tree.head, self._rules)
        path = tuple(self._checks.chain_step_of(link.id) for link in tree.path(tree.head))
        return PowStatus(
            head=tree.head.id,
            height=tree.head.height,
            final=tree.root.id,
            final_height=tree.root.height,
            target=target,
            attempts_expected=work_of(target),
            blocks_led=self._final_led + sum(step.leader == self._identity for step in path),
            blocks_contested=self._checks.contested,
            orphans=validation.orphans,
            pool_size=len(relay.pool),
            payloads_wanted=len(self._wanted),
            sync_target=header_sync.target_height(),
            peers_ahead_ms=peer_clocks.median_ms,
            steps=(*self._final_steps, *path)[-STEPS_TOLD_MAX:],
            final_steps=tuple(self._final_steps)[-STEPS_TOLD_MAX:],
        )
