"""Contributions between blocks: ours and others' go the same way, from signature to assessment to everybody."""

from consensus.budget import Spending
from consensus.contribution import Contribution, contribution_digest, is_authentic, sign_contribution
from consensus.encoding import encode
from consensus.faults import Accusation, Offence
from consensus.proof_of_work.block_tree import Standing
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.messages import ContributionMessage
from consensus.proof_of_work.peers import PeerRecord
from consensus.proof_of_work.pool import Held, Pool, Pooled
from consensus.proof_of_work.staging import Staging
from consensus.protocol import Accuse, Assess, Assessed, Broadcast, Effect, Refuse, Submitted, Verdict
from consensus.signing import Signer
from consensus.types import Digest, Instant, NetworkId, PeerId, StepId

BASES_BACK = 2
"""Contributions for blocks this far below the head are kept: reorganisations are seldom deeper."""

_UNDECIDED = (Standing.BODILESS, Standing.UNCHECKED)

Effects = tuple[Effect, ...]


class Gossip:
    """Fills the pool; `sign` is the signer of `identity`."""

    def __init__(self, network_id: NetworkId, identity: PeerId, sign: Signer, chain: Chain, staging: Staging) -> None:
        self._network_id = network_id
        self._identity = identity
        self._sign = sign
        self._chain = chain
        self._staging = staging
        self.pool = Pool()

    def submit(self, submitted: Submitted) -> Effects:
        """What our own learner has found."""
        if not self._is_base(submitted.base):
            return ()
        contribution = sign_contribution(self._network_id, self._identity, submitted.base, submitted.payload, self._sign)
        return self._assess(contribution_digest(self._network_id, contribution), contribution, None)

    def take(self, peer: PeerId, record: PeerRecord, contribution: Contribution, now: Instant) -> Effects:
        """What a peer has sent."""
        digest = contribution_digest(self._network_id, contribution)
        if digest in self.pool:
            return ()
        spending = record.contributions.spend(now)
        if spending is Spending.FLOODING:
            return (Refuse(peer, Offence.FLOODING, "contributions"),)
        if spending is Spending.OVERDRAWN:
            return ()
        if not is_authentic(self._network_id, contribution):
            detail = f"contribution {digest.hex()[:8]} is not signed by its author"
            return (Refuse(peer, Offence.WRONG_SIGNATURE, detail),)
        if self._is_base(StepId(contribution.base)):
            return self._assess(digest, contribution, peer)
        if self._may_become_base(StepId(contribution.base)):
            self.pool.hold(Held(digest, contribution, peer))
        return ()

    def assessed(self, answer: Assessed) -> Effects:
        """The learner's answer: what is good and new goes to everybody."""
        pooled = self.pool.settle(answer.contribution, is_good=answer.verdict is Verdict.GOOD)
        if pooled is None:
            return ()
        if answer.verdict is not Verdict.GOOD:
            return self._blame(answer, pooled)
        return (Broadcast(encode(ContributionMessage(pooled.contribution))),) if answer.is_useful else ()

    def base_checked(self, base: StepId) -> Effects:
        """A block is checked: contributions for it that came before can be assessed."""
        effects: Effects = ()
        for held in self.pool.take_held(base):
            if self._is_base(base):
                effects += self._assess(held.digest, held.contribution, held.source)
        return effects

    def head_moved(self) -> None:
        """Forget what is of no use on top of the new head."""
        tree = self._chain.tree
        bases = tuple(link.id for link in tree.links() if self._is_base(link.id))
        held = tuple(link.id for link in tree.links() if tree.standing(link.id) in _UNDECIDED)
        self.pool.keep_bases(bases, held + self._staging.ids())

    def _is_base(self, base: StepId) -> bool:
        tree = self._chain.tree
        link = tree.link(base)
        return link is not None and tree.is_checked(base) and link.height >= tree.head.height - BASES_BACK

    def _may_become_base(self, base: StepId) -> bool:
        return self._chain.tree.standing(base) in _UNDECIDED or self._staging.get(base) is not None

    def _assess(self, digest: Digest, contribution: Contribution, source: PeerId | None) -> Effects:
        is_added = self.pool.add(digest, contribution, source)
        return (Assess(digest, contribution),) if is_added else ()

    def _blame(self, answer: Assessed, pooled: Pooled) -> Effects:
        """Honest measurements may differ by rounding: only what the learner can put into words is held against the author."""
        author = PeerId(pooled.contribution.author)
        if author == self._identity or not answer.detail:
            return ()
        offence = Offence.FALSE_CLAIM if answer.verdict is Verdict.CONTESTED else Offence.INVALID_STEP
        accuse = Accuse(Accusation(author, offence, answer.detail, encode(pooled.contribution)))
        if pooled.source == author:
            return accuse, Refuse(author, offence, answer.detail)
        return (accuse,)
