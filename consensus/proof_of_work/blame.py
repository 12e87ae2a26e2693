"""What a learner finds wrong is held against who signed it, a block as well as a contribution."""

from consensus.contribution import Contribution
from consensus.effects import Accuse, Effect, Refuse
from consensus.encoding import encode
from consensus.evidence import Accusation, Offence
from consensus.proof_of_work.header import Block
from consensus.steps import Verdict
from consensus.types import PeerId


def blame(
    author: PeerId, signed: Contribution | Block, verdict: Verdict, detail: str, *, refused: PeerId | None
) -> tuple[Effect, ...]:
    """Accuse the author by what it has signed, and refuse the peer that has brought it, if that is at fault, too."""
    offence = Offence.INVALID_STEP if verdict is Verdict.INVALID else Offence.FALSE_CLAIM
    accuse = Accuse(Accusation(author, offence, detail, encode(signed)))
    return (accuse,) if refused is None else (accuse, Refuse(refused, offence, detail))
