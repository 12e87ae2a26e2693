"""Contributions between blocks: ours and others' go the same way, from signature to assessment to everybody."""

from collections.abc import Callable

from consensus.attachment import LargePayload
from consensus.budget import Spending
from consensus.contribution import Contribution, contribution_digest, is_authentic, sign_contribution
from consensus.encoding import encode
from consensus.faults import Accusation, Offence
from consensus.proof_of_work.block_tree import Standing
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.messages import ContributionMessage
from consensus.proof_of_work.payloads import Payloads
from consensus.proof_of_work.peers import PeerRecord
from consensus.proof_of_work.pool import Held, Pool, Pooled
from consensus.proof_of_work.staging import Staging
from consensus.protocol import Accuse, Assess, Assessed, Broadcast, Effect, PassOver, Refuse, Submitted, Verdict
from consensus.signing import Signer
from consensus.types import Digest, Instant, NetworkId, PeerId, StepId

BASES_BACK = 2
"""Contributions for blocks this far below the head are kept: reorganisations are seldom deeper."""

_UNDECIDED = (Standing.BODILESS, Standing.UNCHECKED)

Effects = tuple[Effect, ...]

MayContribute = Callable[[PeerId, StepId], bool]
"""Whether a contribution by this author, on this checked base, is to be heard."""


class Gossip:
    """Fills the pool; `sign` is the signer of `identity`, `base_age_max` that of the rules."""

    def __init__(
        self,
        network_id: NetworkId,
        identity: PeerId,
        sign: Signer,
        chain: Chain,
        staging: Staging,
        *,
        payloads: Payloads,
        base_age_max: int,
        may_contribute: MayContribute,
    ) -> None:
        self._network_id = network_id
        self._identity = identity
        self._sign = sign
        self._chain = chain
        self._staging = staging
        self._payloads = payloads
        self._bases_back = BASES_BACK + base_age_max
        self._may_contribute = may_contribute
        self.pool = Pool()

    def submit(self, submitted: Submitted) -> Effects:
        """What our own learner has found; we hold its attachments."""
        if not self._is_base(submitted.base):
            return ()
        attachments = tuple(LargePayload(attachment.digest, attachment.length) for attachment in submitted.attachments)
        contribution = sign_contribution(
            self._network_id, self._identity, submitted.base, submitted.payload, self._sign, attachments=attachments
        )
        digest = contribution_digest(self._network_id, contribution)
        return (Assess(digest, contribution),) if self.pool.add(digest, contribution, None) else ()

    def take(self, peer: PeerId, record: PeerRecord, contribution: Contribution, now: Instant) -> Effects:
        """What a peer has sent."""
        digest = contribution_digest(self._network_id, contribution)
        if digest in self.pool:
            self._payloads.also_has(digest, peer)
            return ()
        spending = record.contributions.spend(now)
        if spending is Spending.FLOODING:
            return Refuse(peer, Offence.FLOODING, "contributions"), PassOver()
        if spending is Spending.OVERDRAWN:
            return (PassOver(),)
        if not is_authentic(self._network_id, contribution):
            detail = f"contribution {digest.hex()[:8]} is not signed by its author"
            return (Refuse(peer, Offence.WRONG_SIGNATURE, detail),)
        if self._is_base(StepId(contribution.base)):
            return self._admit(digest, contribution, peer)
        if self._may_become_base(StepId(contribution.base)):
            self.pool.hold(Held(digest, contribution, peer))
        return ()

    def payloads_came(self, digest: Digest) -> Effects:
        """All large payloads of a contribution are here: it can be assessed."""
        contribution = self.pool.complete(digest)
        return () if contribution is None else (Assess(digest, contribution),)

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
                effects += self._admit(held.digest, held.contribution, held.source)
        return effects

    def head_moved(self) -> None:
        """Forget what is of no use on top of the new head."""
        tree = self._chain.tree
        bases = tuple(link.id for link in tree.links() if self._is_base(link.id))
        held = tuple(link.id for link in tree.links() if tree.standing(link.id) in _UNDECIDED)
        for digest in self.pool.keep_bases(bases, held + self._staging.ids()):
            self._payloads.drop(digest)

    def _is_base(self, base: StepId) -> bool:
        tree = self._chain.tree
        link = tree.link(base)
        return link is not None and tree.is_checked(base) and link.height >= tree.head.height - self._bases_back

    def _may_become_base(self, base: StepId) -> bool:
        return self._chain.tree.standing(base) in _UNDECIDED or self._staging.get(base) is not None

    def _admit(self, digest: Digest, contribution: Contribution, source: PeerId) -> Effects:
        """Assess it, once its large payloads are held."""
        if not self._may_contribute(PeerId(contribution.author), StepId(contribution.base)):
            return ()
        if self._payloads.are_held(contribution.attachments):
            return (Assess(digest, contribution),) if self.pool.add(digest, contribution, source) else ()
        if self.pool.add_lacking(digest, contribution, source):
            self._payloads.wait(digest, contribution.attachments, source, is_block=False)
        return ()

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
