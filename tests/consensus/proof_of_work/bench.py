"""One machine on a test bench: it is fed by hand, and its puzzles and checks are answered at once or by hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from consensus.effects import (
    Accuse,
    Check,
    Effect,
    FetchAttachment,
    Offence,
    Record,
    Refuse,
    ReleaseAttachments,
    Send,
    VerifyPuzzle,
)
from consensus.encoding import encode
from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.messages import MESSAGE_CODEC, BlockMessage, Message
from consensus.proof_of_work.puzzle import is_solved
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.protocol import AttachmentHeld, Checked, Input, PeerJoined, PuzzleVerified, Received, Submitted
from consensus.steps import Step, Verdict
from consensus.types import Digest, Instant, PeerId
from tests.consensus.proof_of_work.forge import NETWORK, RULES, START_MS, Forged, person
from tests.consensus.proof_of_work.network import Records

T = TypeVar("T")

PEER, OTHER = person("peer"), person("other")


@dataclass(frozen=True)
class Answer:
    """A verdict and what comes with it."""

    verdict: Verdict = Verdict.GOOD
    is_proven_lie: bool = False
    detail: str = ""


class Bench:
    """Two peers are connected. `solves` answers puzzles, `judge` checks; None leaves them open."""

    def __init__(
        self,
        rules: ProofOfWorkRules = RULES,
        judge: Callable[[Step], Answer] | None = lambda step: Answer(),
        *,
        verifies: bool = True,
        is_leading: bool = False,
        records: Records | None = None,
    ) -> None:
        self.rules = rules
        self.judge = judge
        self.verifies = verifies
        self.now = Instant(START_MS + 1_000_000)
        self.records = records or Records()
        self.me = person("me")
        self.machine = ProofOfWork(
            rules=rules,
            network_id=NETWORK,
            identity=self.me.id,
            sign=self.me.sign,
            seed=b"",
            records=self.records.rows(),
            archive=self.records,
            is_leading=is_leading,
        )
        self.held: dict[Digest, None] = {}
        self.released: list[tuple[Digest, bool]] = []
        """Payloads that nothing undecided names any more, and whether a final block did."""
        self.machine.start(self.now)
        for peer in (PEER, OTHER):
            self.feed(PeerJoined(peer.id))

    def feed(self, event: Input) -> tuple[Effect, ...]:
        """All effects, those of the answers included; what a replica does with the payloads that it holds is done here."""
        match event:
            case AttachmentHeld(digest):
                self.held[digest] = None
            case Submitted(attachments=attachments):
                self.held.update((attachment.digest, None) for attachment in attachments)
        effects = list(self.machine.handle(event, self.now))
        shown: list[Effect] = []
        for effect in effects:
            answer = self._answer(effect)
            if answer is not None:
                effects.extend(self.machine.handle(answer, self.now))
            if not isinstance(answer, AttachmentHeld) and not isinstance(effect, ReleaseAttachments):
                shown.append(effect)
        return tuple(shown)

    def receive(self, message: Message, peer: PeerId = PEER.id) -> tuple[Effect, ...]:
        return self.feed(Received(peer, encode(message)))

    def push(self, *blocks: Forged, peer: PeerId = PEER.id) -> tuple[Effect, ...]:
        """Blocks as a peer would push them."""
        effects: tuple[Effect, ...] = ()
        for forged in blocks:
            effects += self.receive(BlockMessage(forged.block), peer)
        return effects

    def _answer(self, effect: Effect) -> Input | None:
        match effect:
            case Record():
                self.records.write(effect)
            case FetchAttachment(digest) if digest in self.held:
                return AttachmentHeld(digest)
            case ReleaseAttachments(digests, were_accepted):
                self.released += [(digest, were_accepted) for digest in digests]
                for digest in digests if not were_accepted else ():
                    self.held.pop(digest, None)
            case VerifyPuzzle(step, prefix, nonce, target) if self.verifies:
                return PuzzleVerified(step, is_solved(prefix, nonce, target, self.rules.puzzle_memory_kib))
            case Check(step) if self.judge is not None:
                answer = self.judge(step)
                return Checked(step.id, answer.verdict, answer.is_proven_lie, answer.detail)
        return None


def refusals(effects: tuple[Effect, ...]) -> list[tuple[PeerId, Offence]]:
    return [(effect.peer, effect.offence) for effect in effects if isinstance(effect, Refuse)]


def accusations(effects: tuple[Effect, ...]) -> list[tuple[PeerId, Offence]]:
    return [(effect.accusation.accused, effect.accusation.offence) for effect in effects if isinstance(effect, Accuse)]


def of_type(effects: tuple[Effect, ...], wanted: type[T]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, wanted)]


def sent(effects: tuple[Effect, ...], wanted: type) -> list[tuple[PeerId, Message]]:
    """The messages of one type that were sent, and to whom."""
    pairs = [(effect.peer, MESSAGE_CODEC.decode(effect.message)) for effect in effects if isinstance(effect, Send)]
    return [(peer, message) for peer, message in pairs if isinstance(message, wanted)]
