"""Blocks and payloads that some, or all, do not get."""

from consensus.effects import Broadcast, Send
from consensus.encoding import encode
from consensus.proof_of_work import messages as work
from consensus.protocol import Input
from consensus.types import Instant, PeerId
from node.lab.faults.consensus.interceptor import Audience, Effects, OwnBlockReader, ReplicaSituation
from node.lab.faults.consensus.withheld_parts import Serving
from node.runtime.coupling import OuterEffect


class WithholdBlock:
    """Keeps its own blocks from a share of the peers, asked or not; those find them only at others.

    Selective sending, against which DAG protocols fetch from whoever names a block (Keidar, Kokoris-Kogias, Naor, Spiegelman,
    "All You Need is DAG", PODC 2021). Powers: picks its victims.
    """

    def __init__(self, share: float, own_blocks: OwnBlockReader) -> None:
        self._victims = Audience(share)
        self._own_blocks = own_blocks

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        self._victims.note(event)
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """Nothing with a block of ours in it to a victim."""
        said: list[OuterEffect] = []
        for effect in effects:
            match effect:
                case Broadcast(message) if self._own_blocks.carried(message):
                    said += [Send(peer, message) for peer in self._victims.connected(chosen=False)]
                case Send(peer, message) if self._victims.is_chosen(peer) and self._own_blocks.carried(message):
                    pass
                case _:
                    said.append(effect)
        return tuple(said)


class WithholdBody:
    """Shows the headers of the blocks that it has led, and gives their bodies to nobody. For proof of work only.

    Data withholding (Al-Bassam, Sonnino, Buterin, "Fraud and Data Availability Proofs", arXiv 1809.09044). Powers: own work.
    """

    def __init__(self, identity: PeerId) -> None:
        self._identity = identity

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """No block of ours; answers without them. Tips and headers tell of them all the same."""
        said: list[OuterEffect] = []
        for effect in effects:
            match effect:
                case Broadcast(message) if self._without_own(message) != message:
                    pass
                case Send(peer, message):
                    left = self._without_own(message)
                    said += [Send(peer, left)] if left is not None else []
                case _:
                    said.append(effect)
        return tuple(said)

    def _without_own(self, message: bytes) -> bytes | None:
        match work.MESSAGE_CODEC.decode(message):
            case work.BlockMessage(block) if block.header.leader == self._identity:
                return None
            case work.Blocks(blocks):
                return encode(work.Blocks(tuple(block for block in blocks if block.header.leader != self._identity)))
            case _:
                return message


class SilentLeader:
    """Does not send the blocks that it leads, and answers who asks for them: it wastes its turns, and nobody else's.

    Under total order these are its blocks of the rounds that it leads; under proof of work all its blocks. Source: the crash of
    leaders alone, the worst silence for protocols with leaders (Spiegelman, Arun, Gelashvili, Li, "Shoal", FC 2024). Powers:
    none.
    """

    def __init__(self, situation: ReplicaSituation) -> None:
        self._own_blocks = situation.own_blocks
        self._situation = situation

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """All but the blocks of its turns."""
        return tuple(effect for effect in effects if not self._is_of_turn(effect))

    def _is_of_turn(self, effect: OuterEffect) -> bool:
        if not isinstance(effect, Send | Broadcast):
            return False
        number = self._own_blocks.pushed(effect.message)
        return number is not None and self._leads(number)

    def _leads(self, number: int) -> bool:
        situation = self._situation
        return not situation.members or situation.committee.leader_of(number) == situation.index


class WithholdPayload:
    """Names large payloads, and keeps them and all states from a share of the others, or for as long as it can.

    Data withholding (Al-Bassam, Sonnino, Buterin, "Fraud and Data Availability Proofs", arXiv 1809.09044). Powers: picks its
    victims.
    """

    def __init__(self, share: float, answer: Serving) -> None:
        """`answer`: what the victims are told, or when."""
        self._victims = Audience(share)
        self._answer = answer

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        self._victims.note(event)
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """Everything."""
        return effects

    def serving(self, peer: PeerId) -> Serving:
        """Only who is no victim is given all at once."""
        return self._answer if self._victims.is_chosen(peer) else Serving.GIVES
