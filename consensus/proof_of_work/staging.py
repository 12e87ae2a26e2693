"""Headers that look right and wait for their puzzle to be verified: a cheap check has passed, the costly one has not."""

from collections import Counter
from dataclasses import dataclass

from consensus.proof_of_work.header import Body, Header
from consensus.proof_of_work.link import Link
from consensus.types import Height, PeerId, StepId

STAGED_MAX = 1_024
"""Ten seconds of one core's verifying; 32 MB in the worst case, when all come with the largest body."""

STAGED_PER_PEER_MAX = 384
"""Three answers of 128 headers."""

VERIFY_IN_FLIGHT_MAX = 32
"""A third of a second of one core; more would delay the check of a live block."""

VERIFY_IN_FLIGHT_PER_PEER_MAX = 8
"""So that a peer that sends many headers does not keep the others waiting."""


@dataclass(slots=True)
class Staged:
    """One header that waits, and what came with it."""

    link: Link
    header: Header
    body: Body | None
    source: PeerId
    body_source: PeerId
    """Who has sent the body: not always who has sent the header."""
    fork_height: Height | None
    """For a branch that leaves the main chain below the final block: where it does."""
    is_verified: bool = False


class Staging:
    """Staged headers in order of arrival, parents before children."""

    def __init__(self) -> None:
        self._staged: dict[StepId, Staged] = {}
        self._in_flight: dict[StepId, PeerId] = {}
        self._counts: Counter[PeerId] = Counter()

    def __len__(self) -> int:
        return len(self._staged)

    @property
    def height_max(self) -> int:
        """Of the highest staged header, or 0."""
        return max((staged.link.height for staged in self._staged.values()), default=0)

    @property
    def work_max(self) -> int:
        """Of the heaviest staged header, or 0."""
        return max((staged.link.work for staged in self._staged.values()), default=0)

    def get(self, step: StepId) -> Staged | None:
        """The staged header of this id."""
        return self._staged.get(step)

    def ids(self) -> tuple[StepId, ...]:
        """Of all staged headers."""
        return tuple(self._staged)

    def count_from(self, peer: PeerId) -> int:
        """How many the peer has sent."""
        return self._counts[peer]

    def add(self, staged: Staged) -> bool:
        """Let it wait; False when there is no room, for all or for its source."""
        if len(self._staged) >= STAGED_MAX or self.count_from(staged.source) >= STAGED_PER_PEER_MAX:
            return False
        self._staged[staged.link.id] = staged
        self._counts[staged.source] += 1
        return True

    def start_verifying(self) -> tuple[Staged, ...]:
        """Those to verify now, within the bounds; they count as in flight until `answered`."""
        if not self._staged:
            return ()
        started = []
        flying = list(self._in_flight.values())
        for step, staged in self._staged.items():
            if len(flying) >= VERIFY_IN_FLIGHT_MAX:
                break
            if self._waits_for_a_turn(step, staged) and flying.count(staged.source) < VERIFY_IN_FLIGHT_PER_PEER_MAX:
                self._in_flight[step] = staged.source
                flying.append(staged.source)
                started.append(staged)
        return tuple(started)

    def answered(self, step: StepId) -> Staged | None:
        """Its puzzle was computed; None when it is no longer wanted."""
        self._in_flight.pop(step, None)
        return self._staged.get(step)

    def remove(self, step: StepId) -> None:
        """It has moved on."""
        source = self._staged.pop(step).source
        self._counts[source] -= 1
        if self._counts[source] == 0:
            del self._counts[source]

    def children(self, step: StepId) -> tuple[Staged, ...]:
        """The staged headers that name it as parent."""
        return tuple(staged for staged in self._staged.values() if staged.link.parent == step)

    def discard(self, step: StepId) -> None:
        """Forget it, and all on top of it."""
        doomed = [step]
        for known in doomed:
            doomed.extend(child.link.id for child in self.children(known))
            self.remove(known)

    def _waits_for_a_turn(self, step: StepId, staged: Staged) -> bool:
        return not staged.is_verified and step not in self._in_flight
