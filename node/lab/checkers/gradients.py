"""Total order: of one author's gradients on one model, a history accepts one (docs/protocol.md, gradients in the order)."""

from learning.gradient.ledger import decode_submission
from learning.learner import AuthoredPayload, DeliverRequest, GradientsReport
from node.lab.checkers.finding import Finding, Seen
from node.runtime.coupling import AskLearner

Place = tuple[bytes, int]
"""A delivery, and the number of an item in it: the same at everybody, and in all incarnations."""


class AcceptedOnce:
    """Learners that score slates judge no delivery item by item; of those nothing is read here."""

    name = "one gradient of an author on one model is accepted"
    reads = (DeliverRequest, GradientsReport)

    def __init__(self) -> None:
        self._items: dict[bytes, tuple[AuthoredPayload, ...]] = {}
        """By delivery."""
        self._accepted: dict[tuple[bytes, int], tuple[Place, Seen]] = {}
        """By author and base."""

    def see(self, seen: Seen) -> Finding | None:
        """A delivery, or what became of each of its items."""
        match seen.event:
            case AskLearner(DeliverRequest(delivered)):
                self._items.setdefault(delivered.id, delivered.items)
            case GradientsReport(step, _, judged):
                items = self._items.get(step, ())
                if [item.author for item in items] == [one.author for one in judged]:
                    accepted = (place for place, one in enumerate(judged) if one.is_accepted)
                    return next(filter(None, (self._repetition(items[place], (step, place), seen) for place in accepted)), None)
        return None

    def _repetition(self, item: AuthoredPayload, place: Place, seen: Seen) -> Finding | None:
        submission = decode_submission(item.payload)
        if submission is None:
            return Finding(self.name, f"{item.digest.hex()[:8]} is accepted and is no gradient", (seen,))
        first, earlier = self._accepted.setdefault((item.author, submission.base), (place, seen))
        if first == place:
            return None
        detail = f"two gradients of {item.author.hex()[:8]} on version {submission.base} are accepted"
        return Finding(self.name, detail, (earlier, seen))
