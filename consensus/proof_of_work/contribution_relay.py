"""Contributions between blocks: ours and others' go the same way, from signature to assessment to everybody."""

from consensus.effects import Broadcast, Effect, Offence, PassOver, Refuse
from consensus.encoding import Signer, encode
from consensus.payload_requests import Need, PayloadRequests
from consensus.proof_of_work.author_window import AuthorWindow
from consensus.proof_of_work.block_checks import NamedPayloads, blame
from consensus.proof_of_work.block_tree import BlockStatus
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.header import attachment_counts
from consensus.proof_of_work.mempool import Assessment, AssessmentQueue, Held, Mempool, Pooled, Rank
from consensus.proof_of_work.messages import ContributionMessage
from consensus.proof_of_work.peers import PeerRecord, Peers
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.proof_of_work.validation import Validation
from consensus.protocol import Assessed, Submitted
from consensus.rate_limit import Spending
from consensus.steps import Attachment, Contribution, Verdict, contribution_digest, is_authentic, sign_contribution
from consensus.types import Digest, Instant, NetworkId, PeerId, StepId

BASES_BACK = 2
"""Contributions for blocks this far below the head are kept: reorganisations are seldom deeper."""

OWN = b"found by ourselves"
"""Names the payloads of what comes from our own learner until it is signed."""

_UNDECIDED = (BlockStatus.BODILESS, BlockStatus.UNCHECKED)

Effects = tuple[Effect, ...]


class ContributionRelay:
    """Fills the pool; `sign` is the signer of `identity`.

    Checks come in the order of their cost: what is known, whose turn it is, a voice, and only then a signature and the learner.
    """

    def __init__(
        self,
        network_id: NetworkId,
        identity: PeerId,
        sign: Signer,
        chain: Chain,
        validation: Validation,
        *,
        peers: Peers,
        wanted: PayloadRequests,
        named_payloads: NamedPayloads,
        author_window: AuthorWindow,
        rules: ProofOfWorkRules,
        rank: Rank,
    ) -> None:
        self._network_id = network_id
        self._identity = identity
        self._sign = sign
        self._chain = chain
        self._validation = validation
        self._peers = peers
        self._wanted = wanted
        self._named_payloads = named_payloads
        self._author_window = author_window
        self._rules = rules
        self._bases_back = BASES_BACK + rules.base_age_max
        self._assessments = AssessmentQueue(rank)
        self.pool = Mempool()

    def submit(self, submitted: Submitted) -> Effects:
        """What our own learner has found; we hold its attachments."""
        attachments = submitted.attachments
        if not self._is_base(submitted.base):
            return self._useless(attachments)
        contribution = sign_contribution(
            self._network_id, self._identity, submitted.base, submitted.payload, self._sign, attachments=attachments
        )
        digest = contribution_digest(self._network_id, contribution)
        if not self.pool.add(digest, contribution, None):
            return self._useless(attachments)
        self._named_payloads.name(digest, attachments)
        self._queue(digest, contribution, None)
        return ()

    def take(self, peer: PeerId, record: PeerRecord, contribution: Contribution, now: Instant) -> Effects:
        """Take in what a peer has sent."""
        spending = record.contributions.spend(now)  # known ones too: what stands in place of a signature may vary
        if spending is Spending.FLOODING:
            return Refuse(peer, Offence.FLOODING, "contributions"), PassOver()
        digest = contribution_digest(self._network_id, contribution)
        if digest in self.pool:
            self._wanted.add_source(digest, peer)
            return ()
        if spending is Spending.OVERDRAWN:
            return (PassOver(),)
        if len(contribution.attachments) > self._rules.attachments_max:
            detail = f"contribution {digest.hex()[:8]} names {attachment_counts(contribution, self._rules)}"
            return (Refuse(peer, Offence.MALFORMED, detail),)
        if not self._assessments.has_room(peer):
            return (PassOver(),)
        if self._is_base(StepId(contribution.base)):
            return self._admit(digest, contribution, peer)
        if self._may_become_base(StepId(contribution.base)) and self._is_heard(contribution, self._chain.tree.head.id):
            self.pool.hold(Held(digest, contribution, peer))
        return ()

    def on_attachments(self, digest: Digest) -> None:
        """All large payloads of a contribution are here: it can be assessed."""
        pooled = self.pool.complete(digest)
        if pooled is not None:
            self._queue(digest, pooled.contribution, pooled.source)

    def assess_more(self, now: Instant) -> Effects:
        """Ask the learner for as much as the bounds allow; called once after every input."""
        return self._assessments.start(self._is_still_wanted, now)

    def on_assessment(self, answer: Assessed, now: Instant) -> Effects:
        """The learner's answer: what is good and new goes to everybody, unless it is our own and we have no voice yet."""
        self._assessments.on_answer(answer.contribution)
        pooled = self.pool.settle(answer.contribution, is_good=answer.verdict is Verdict.GOOD and answer.is_useful)
        if pooled is None:
            return ()
        if pooled.assessment is Assessment.REFUSED:
            self._named_payloads.forget(answer.contribution)
        if answer.verdict is not Verdict.GOOD:
            return self._blame(answer, pooled, now)
        contribution = pooled.contribution
        is_told = answer.is_useful and (pooled.source is not None or self._is_heard(contribution, StepId(contribution.base)))
        return (Broadcast(encode(ContributionMessage(contribution))),) if is_told else ()

    def on_base_checked(self, base: StepId) -> Effects:
        """A block is checked: contributions for it that came before can be assessed."""
        effects: Effects = ()
        refused: dict[PeerId, None] = {}
        for held in self.pool.take_held(base):
            if self._is_base(base) and held.source not in refused:
                admitted = self._admit(held.digest, held.contribution, held.source)
                refused |= {effect.peer: None for effect in admitted if isinstance(effect, Refuse)}
                effects += admitted
        return effects

    def on_new_head(self) -> None:
        """Forget what is of no use on top of the new head."""
        tree = self._chain.tree
        bases = tuple(link.id for link in tree.links() if self._is_base(link.id))
        held = tuple(link.id for link in tree.links() if tree.status(link.id) in _UNDECIDED)
        for digest in self.pool.keep_bases(bases, held + self._validation.staged_ids()):
            self._wanted.drop(digest)
            self._named_payloads.forget(digest)
        self._assessments.keep(lambda digest: self.pool.waiting(digest) is not None)

    def _is_base(self, base: StepId) -> bool:
        tree = self._chain.tree
        link = tree.link(base)
        return link is not None and tree.is_checked(base) and link.height >= tree.head.height - self._bases_back

    def _may_become_base(self, base: StepId) -> bool:
        return self._chain.tree.status(base) in _UNDECIDED or self._validation.is_staged(base)

    def _is_heard(self, contribution: Contribution, on: StepId) -> bool:
        return self._author_window.is_heard(PeerId(contribution.author), on)

    def _admit(self, digest: Digest, contribution: Contribution, source: PeerId) -> Effects:
        """Assess it, once its large payloads are held. Its base is checked."""
        if not self._is_heard(contribution, StepId(contribution.base)):
            return ()
        if not is_authentic(self._network_id, contribution):
            detail = f"contribution {digest.hex()[:8]} is not signed by its author"
            return (Refuse(source, Offence.WRONG_SIGNATURE, detail),)
        if not contribution.attachments:
            if self.pool.add(digest, contribution, source):
                self._queue(digest, contribution, source)
        elif self.pool.add_lacking(digest, contribution, source):
            self._named_payloads.name(digest, contribution.attachments)
            self._wanted.wait(digest, contribution.attachments, source, Need.FREE)
        return ()

    def _useless(self, attachments: tuple[Attachment, ...]) -> Effects:
        """What our learner has found came too late: nobody will ever hear of its payloads."""
        self._named_payloads.name(OWN, attachments)
        self._named_payloads.forget(OWN)
        return ()

    def _queue(self, digest: Digest, contribution: Contribution, source: PeerId | None) -> None:
        gone = self._assessments.add(digest, contribution, source)
        if gone is not None:
            self._drop(gone)

    def _drop(self, digest: Digest) -> None:
        self.pool.drop(digest)
        if digest not in self.pool:
            self._named_payloads.forget(digest)

    def _is_still_wanted(self, digest: Digest) -> bool:
        """Not once its base is forgotten, nor once its author has lied: then it may come again, when it is heard again."""
        pooled = self.pool.waiting(digest)
        if pooled is None:
            return False
        contribution = pooled.contribution
        if pooled.source is None or self._is_heard(contribution, StepId(contribution.base)):
            return True
        self._drop(digest)
        return False

    def _blame(self, answer: Assessed, pooled: Pooled, now: Instant) -> Effects:
        """What the learner can put into words is held against the author, and against who has passed it on.

        Nobody passes on what it has not assessed as good. But honest measurements differ by rounding, and a claim can be placed
        between two of them: so who passes one on is refused at once only for what no rounding explains, else for repeating it.
        """
        author, source = PeerId(pooled.contribution.author), pooled.source
        if source is None or author == self._identity or not answer.detail:
            return ()
        self._author_window.silence(author)
        record = self._peers.get(source)
        is_repeated = record is not None and record.false_contributions.spend(now) is not Spending.COVERED
        is_at_fault = source == author or answer.verdict is Verdict.INVALID or answer.is_proven_lie or is_repeated
        refused = source if is_at_fault else None
        return blame(author, pooled.contribution, answer.verdict, answer.detail, refused=refused)
