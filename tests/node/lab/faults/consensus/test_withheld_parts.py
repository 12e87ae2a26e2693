import pytest

from consensus.types import PeerId
from node.lab.faults.consensus.withheld_parts import LATE_SECONDS, Serving, WithheldParts, Withholding
from node.net.parts import GivePart
from node.net.wire import GetPart, Part

VICTIM, OTHER = PeerId(b"v" * 32), PeerId(b"o" * 32)
QUESTION = GetPart(b"d" * 32, 3)
HELD = Part(QUESTION.digest, QUESTION.offset, 9, b"de")


class Honest:
    def answer(self, peer: PeerId, question: GetPart, give: GivePart) -> None:
        give(Part(question.digest, question.offset, HELD.total, HELD.content))


@pytest.mark.parametrize(
    ("serving", "given", "given_late"),
    [
        (Serving.GIVES, [HELD], []),
        (Serving.DENIES, [Part(QUESTION.digest, QUESTION.offset, 0, b"")], []),
        (Serving.SILENT, [], []),
        (Serving.LATE, [], [HELD]),
    ],
)
def test_a_victim_is_answered_as_the_fault_says_and_others_as_by_an_honest_peer(serving, given, given_late) -> None:
    withholding = Withholding()
    withholding.follow(lambda peer: serving if peer == VICTIM else Serving.GIVES)
    to_victim: list[Part] = []
    to_other: list[Part] = []
    waiting: list = []
    server = WithheldParts(Honest(), withholding.serving_of, lambda seconds, action: waiting.append((seconds, action)))
    server.answer(VICTIM, QUESTION, to_victim.append)
    server.answer(OTHER, QUESTION, to_other.append)
    assert (to_victim, to_other) == (given, [HELD])
    assert [seconds for seconds, _ in waiting] == [LATE_SECONDS] * len(given_late)
    for _, action in waiting:
        action()
    assert to_victim == given + given_late
